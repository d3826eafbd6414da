// Package wire makes lines longer and worse than they are: what enters a wire comes
// out of it later, or never. Kernels without netem need it.
//
// Its one idea: a wire is one direction and one network device. Whatever the kernel
// sends out of the device, the wire holds and then writes back into the same device.
// Who leads which frames there and where those go that come back is the kernel's
// business (tc), so a wire looks into no frame and knows no address.
package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"
)

// maxFrame is an Ethernet frame with room for a tag or two; devices without offloads
// get no larger ones.
const maxFrame = 2048

// Wires are the wires of one network namespace, by the names of their devices.
type Wires struct {
	// Open makes the device: each Read is one frame that was sent out of it, each
	// Write one that it receives. Close ends a Read that waits.
	Open func(device string) (io.ReadWriteCloser, error)
	// Sleep sleeps to the tenth of a millisecond: time.Sleep may take one more.
	Sleep func(time.Duration)

	mu    sync.Mutex
	wires map[string]*wire
}

// Set makes the wire, or changes it under way, or, with the zero Setting, gives out at
// once what it holds and removes it with its device.
func (ws *Wires) Set(device string, s Setting) error {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w, there := ws.wires[device]
	switch {
	case s == Setting{}:
		delete(ws.wires, device)
		if there {
			return w.end()
		}
		return nil
	case there && !w.dead():
		w.queue.set(s)
		return nil
	case there:
		_ = w.end() // its device was taken away and is made anew
	}
	w, err := ws.lay(device, s)
	if err != nil {
		return err
	}
	if ws.wires == nil {
		ws.wires = map[string]*wire{}
	}
	ws.wires[device] = w
	return nil
}

// Close removes every wire.
func (ws *Wires) Close() error {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	var all error
	for _, w := range ws.wires {
		all = errors.Join(all, w.end())
	}
	ws.wires = nil
	return all
}

func (ws *Wires) lay(device string, s Setting) (*wire, error) {
	opened, err := ws.Open(device)
	if err != nil {
		return nil, fmt.Errorf("lay wire %s: %w", device, err)
	}
	ctx, cancel := context.WithCancel(context.Background()) // ends with the wire, not with who asked for it
	w := &wire{
		device: opened,
		queue:  newQueue(s, rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), maxHeld),
		sleep:  ws.Sleep,
		wake:   make(chan struct{}, 1),
		cancel: cancel,
		ended:  ctx.Done(),
	}
	w.reading.Go(func() {
		defer cancel() // no device, no wire
		w.take()
	})
	w.writing.Go(func() { w.give(ctx) })
	return w, nil
}

type wire struct {
	device io.ReadWriteCloser
	queue  *queue
	sleep  func(time.Duration)
	wake   chan struct{} // something is in the queue

	cancel           func()
	ended            <-chan struct{}
	reading, writing sync.WaitGroup
}

// take queues what comes out of the device until that is closed or gone.
func (w *wire) take() {
	buffer := make([]byte, maxFrame)
	for {
		n, err := w.device.Read(buffer)
		if err != nil {
			return
		}
		if !w.queue.push(time.Now(), buffer[:n]) {
			continue
		}
		select {
		case w.wake <- struct{}{}:
		default: // give has yet to see the last one
		}
	}
}

// nap is the longest sleep before give looks whether the wire is to go.
const nap = 50 * time.Millisecond

// give writes each frame when it is due; at the end, all that are left.
func (w *wire) give(ctx context.Context) {
	for {
		next, ok := w.queue.front()
		if !ok {
			select {
			case <-w.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		if left := time.Until(next.due); left > 0 && ctx.Err() == nil {
			w.sleep(min(left, nap))
			continue
		}
		_, _ = w.device.Write(next.frame) // a device that is down or full loses it, as any does
		w.queue.pop()
	}
}

// dead reports that the device is gone under the wire.
func (w *wire) dead() bool {
	select {
	case <-w.ended:
		return true
	default:
		return false
	}
}

func (w *wire) end() error {
	w.cancel()
	w.writing.Wait()
	err := w.device.Close()
	w.reading.Wait()
	return err
}

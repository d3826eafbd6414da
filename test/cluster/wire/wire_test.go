package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func seeded() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

// drain takes everything out of q: what came, and when it is due after start.
func drain(q *queue, start time.Time) (frames []uint32, due []time.Duration) {
	for {
		next, ok := q.front()
		if !ok {
			return frames, due
		}
		frames = append(frames, binary.BigEndian.Uint32(next.frame))
		due = append(due, next.due.Sub(start))
		q.pop()
	}
}

func numbered(i int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(i)) }

func TestQueueKeepsOrder(t *testing.T) {
	const delay, jitter, apart = 20 * time.Millisecond, 5 * time.Millisecond, time.Millisecond
	start := time.Now()
	q := newQueue(Setting{Delay: delay, Jitter: jitter}, seeded(), 1000)
	for i := range 1000 {
		if !q.push(start.Add(time.Duration(i)*apart), numbered(i)) {
			t.Fatalf("frame %d is lost", i)
		}
	}
	frames, due := drain(q, start)
	early, late := 0, 0
	for i, frame := range frames {
		took := due[i] - time.Duration(i)*apart
		if frame != uint32(i) || took < delay-jitter || took > delay+jitter {
			t.Errorf("frame %d comes as number %d after %s", frame, i, took)
		}
		if i > 0 && due[i] < due[i-1] {
			t.Errorf("frame %d overtakes the one before by %s", i, due[i-1]-due[i])
		}
		if took < delay {
			early++
		} else if took > delay {
			late++
		}
	}
	if len(frames) != 1000 || early < 100 || late < 100 {
		t.Errorf("%d frames, %d early, %d late: want 1000 of both kinds", len(frames), early, late)
	}
}

func TestQueueJitterIsEven(t *testing.T) {
	const delay, jitter = 10 * time.Millisecond, 4 * time.Millisecond
	q := newQueue(Setting{Delay: delay, Jitter: jitter}, seeded(), 1)
	var quarters [4]int
	for range 4000 {
		quarters[min(3, int((q.delay()-delay+jitter)*4/(2*jitter)))]++
	}
	for _, n := range quarters {
		if n < 900 || n > 1100 {
			t.Errorf("quarters %v, want about 1000 each", quarters)
		}
	}
	q.set(Setting{Delay: time.Millisecond, Jitter: 4 * time.Millisecond})
	for range 100 {
		if d := q.delay(); d < 0 {
			t.Fatalf("delay %s", d)
		}
	}
}

func TestQueueLoses(t *testing.T) {
	for _, loss := range []float64{0, 0.01, 0.3, 1} {
		q := newQueue(Setting{Delay: time.Second, Loss: loss}, seeded(), 20000)
		lost := 0
		for i := range 20000 {
			if !q.push(time.Now(), numbered(i)) {
				lost++
			}
		}
		if got := float64(lost) / 20000; got < loss*0.9 || got > loss*1.1 {
			t.Errorf("loss %v: lost %v", loss, got)
		}
	}
}

func TestQueueIsBounded(t *testing.T) {
	start := time.Now()
	q := newQueue(Setting{Delay: time.Second}, seeded(), 4)
	for round := range 3 { // the ring goes round
		for i := range 6 {
			if held := q.push(start, numbered(10*round+i)); held != (i < 4) {
				t.Errorf("round %d: frame %d held: %t", round, i, held)
			}
		}
		want := []uint32{0, 1, 2, 3}
		for i := range want {
			want[i] += uint32(10 * round)
		}
		if got, _ := drain(q, start); !slices.Equal(got, want) {
			t.Errorf("round %d: frames %v, want %v", round, got, want)
		}
	}
}

func TestQueueChangeKeepsOrder(t *testing.T) {
	start := time.Now()
	q := newQueue(Setting{Delay: 50 * time.Millisecond}, seeded(), 10)
	q.push(start, numbered(0))
	q.set(Setting{Delay: time.Millisecond})
	q.push(start.Add(time.Millisecond), numbered(1)) // waits for the one before
	q.push(start.Add(60*time.Millisecond), numbered(2))
	_, due := drain(q, start)
	want := []time.Duration{50 * time.Millisecond, 50 * time.Millisecond, 61 * time.Millisecond}
	if !slices.Equal(due, want) {
		t.Errorf("due %v, want %v", due, want)
	}
}

// device is a TAP of channels.
type device struct {
	out    chan []byte // what the kernel sends
	in     chan []byte // what comes back
	closed chan struct{}
}

func newDevice() *device {
	return &device{out: make(chan []byte), in: make(chan []byte, 100), closed: make(chan struct{})}
}

func (d *device) Read(p []byte) (int, error) {
	select {
	case frame := <-d.out:
		return copy(p, frame), nil
	case <-d.closed:
		return 0, os.ErrClosed
	}
}

func (d *device) Write(p []byte) (int, error) {
	d.in <- slices.Clone(p)
	return len(p), nil
}

func (d *device) Close() error {
	select {
	case <-d.closed:
		return os.ErrClosed
	default:
		close(d.closed)
		return nil
	}
}

func opens(d *device) *Wires {
	return &Wires{Open: func(string) (io.ReadWriteCloser, error) { return d, nil }, Sleep: time.Sleep}
}

func TestWireDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevice()
		ws := opens(d)
		for _, delay := range []time.Duration{50 * time.Millisecond, 2500 * time.Microsecond, 2 * time.Second} {
			if err := ws.Set("line0-1", Setting{Delay: delay}); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			d.out <- numbered(1)
			d.out <- numbered(2)
			for i := 1; i <= 2; i++ {
				if got := binary.BigEndian.Uint32(<-d.in); got != uint32(i) || time.Since(began) != delay {
					t.Errorf("frame %d came after %s, want %d after %s", got, time.Since(began), i, delay)
				}
			}
		}
		if err := ws.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestWireEndGivesOutAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevice()
		ws := opens(d)
		if err := ws.Set("line0-1", Setting{Delay: time.Hour}); err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			d.out <- numbered(i)
		}
		synctest.Wait()
		began := time.Now()
		for range 2 { // the second has nothing to do
			if err := ws.Set("line0-1", Setting{}); err != nil {
				t.Fatal(err)
			}
		}
		if len(d.in) != 10 || time.Since(began) > nap {
			t.Errorf("%d frames after %s, want 10 at once", len(d.in), time.Since(began))
		}
		select {
		case <-d.closed:
		default:
			t.Error("the device is left")
		}
	})
}

func TestWireOutlivesItsDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone, next := newDevice(), newDevice()
		devices := []*device{gone, next}
		ws := &Wires{Sleep: time.Sleep, Open: func(string) (io.ReadWriteCloser, error) {
			d := devices[0]
			devices = devices[1:]
			return d, nil
		}}
		set := func() {
			t.Helper()
			if err := ws.Set("line0-1", Setting{Delay: time.Second}); err != nil {
				t.Fatal(err)
			}
		}
		set()
		close(gone.closed) // somebody deleted it
		synctest.Wait()
		set()
		next.out <- numbered(7)
		if got := binary.BigEndian.Uint32(<-next.in); got != 7 {
			t.Errorf("got frame %d", got)
		}
		if err := ws.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestServe(t *testing.T) {
	d := newDevice()
	ws := opens(d)
	open := ws.Open
	ws.Open = func(name string) (io.ReadWriteCloser, error) {
		if name == "bad" {
			return nil, errors.New("no TUN here")
		}
		return open(name)
	}
	socket := t.TempDir() + "/s"
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- ws.Serve(ctx, listener) }()
	ask := func(requests ...Request) error {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		return Ask(t.Context(), conn, requests...)
	}

	setting := Setting{Delay: time.Millisecond, Jitter: time.Microsecond, Loss: 0.0001}
	if err := ask(Request{"line0-1", setting}, Request{"bad", setting}); err == nil || !strings.Contains(err.Error(), "bad: no TUN here") {
		t.Errorf("error of a wire that cannot be: %v", err)
	}
	ws.mu.Lock()
	if got := ws.wires["line0-1"].queue.setting; got != setting {
		t.Errorf("setting %+v, want %+v", got, setting)
	}
	ws.mu.Unlock()
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if _, open := <-d.closed; open {
		t.Error("the wire is left")
	}
}

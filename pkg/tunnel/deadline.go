package tunnel

import (
	"sync"
	"time"
)

// deadline is a moment that can be moved; expired is closed once it has passed.
// The pattern is that of net.Pipe (net/pipe.go in the standard library).
type deadline struct {
	onExpire func() // called after expired was closed; may be nil

	mu     sync.Mutex
	timer  *time.Timer
	passed chan struct{}
}

func newDeadline(onExpire func()) *deadline {
	return &deadline{onExpire: onExpire, passed: make(chan struct{})}
}

// set moves the deadline; the zero time means never.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		<-d.passed // the timer fired: let it close the channel before a new one is made
	}
	d.timer = nil
	if d.hasPassed() {
		d.passed = make(chan struct{})
	}
	if t.IsZero() {
		return
	}
	passed := d.passed
	if wait := time.Until(t); wait > 0 {
		d.timer = time.AfterFunc(wait, func() { d.expire(passed) })
		return
	}
	d.expire(passed)
}

func (d *deadline) expire(passed chan struct{}) {
	close(passed)
	if d.onExpire != nil {
		d.onExpire()
	}
}

// expired returns a channel that is closed when the deadline as now set has passed.
func (d *deadline) expired() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.passed
}

func (d *deadline) hasPassed() bool {
	select {
	case <-d.passed:
		return true
	default:
		return false
	}
}

// stop ends the timer, so that a closed connection leaves none behind.
func (d *deadline) stop() { d.set(time.Time{}) }

package wire

import (
	"math/rand/v2"
	"sync"
	"time"
)

// Setting is how a wire treats what enters it. The zero Setting is no wire at all.
type Setting struct {
	Delay  time.Duration `json:"delay"`  // of every frame
	Jitter time.Duration `json:"jitter"` // what a frame's delay may differ from Delay, either way, evenly spread
	Loss   float64       `json:"loss"`   // share of the frames that are lost, 0 to 1
}

// maxHeld is how many frames a wire holds before it drops, as a router does: 24 MB of
// full ones, 100 ms at 2 Gbit/s.
const maxHeld = 16384

// held is a frame on its way.
type held struct {
	due   time.Time
	frame []byte
}

// queue is the frames in one direction, the oldest first. It is a ring whose
// buffers are used again, so that a busy wire makes no garbage. One goroutine
// pushes, one takes from the front; settings change at any time.
type queue struct {
	mu      sync.Mutex
	setting Setting
	random  *rand.Rand
	ring    []held
	first   int
	count   int
	last    time.Time // when the newest frame is due
}

func newQueue(s Setting, random *rand.Rand, size int) *queue {
	return &queue{setting: s, random: random, ring: make([]held, size)}
}

// set changes how the frames from now on are treated. Those on their way keep their
// time, and none overtakes them.
func (q *queue) set(s Setting) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.setting = s
}

// push takes a copy of frame in, or reports that it is lost.
func (q *queue) push(now time.Time, frame []byte) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.random.Float64() < q.setting.Loss || q.count == len(q.ring) {
		return false
	}
	due := now.Add(q.delay())
	if due.Before(q.last) { // jitter, or a shorter delay than before
		due = q.last
	}
	q.last = due
	slot := &q.ring[(q.first+q.count)%len(q.ring)]
	slot.due, slot.frame = due, append(slot.frame[:0], frame...)
	q.count++
	return true
}

func (q *queue) delay() time.Duration {
	delay := q.setting.Delay
	if j := q.setting.Jitter; j > 0 {
		delay += time.Duration(q.random.Int64N(2*int64(j)+1)) - j
	}
	return max(delay, 0)
}

// front is the oldest frame, which stays, and stays whole, until pop.
func (q *queue) front() (held, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.ring[q.first], q.count > 0
}

func (q *queue) pop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.first = (q.first + 1) % len(q.ring)
	q.count--
}

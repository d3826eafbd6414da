package relay

import (
	"context"
	"crypto/tls"
	"sync"
	"time"
)

// pulse knows when the last byte went through a relay, and whether anybody is there.
type pulse struct {
	mu      sync.Mutex
	last    time.Time
	open    int
	visited bool
}

func (p *pulse) beat() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = time.Now()
}

// enter counts a connection of the caller's until leave.
func (p *pulse) enter() (leave func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open++
	p.visited, p.last = true, time.Now()
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.open--
		p.last = time.Now()
	}
}

// left is how long the relay may still wait for a byte.
func (p *pulse) left(idle, alone time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	limit := idle
	if p.visited && p.open == 0 {
		limit = min(idle, alone)
	}
	return limit - time.Since(p.last)
}

// watch returns errIdle when nobody needs the relay any more, or ctx's error.
func (p *pulse) watch(ctx context.Context, idle, alone time.Duration) error {
	tick := time.NewTicker(min(idle, alone, 4*time.Second) / 4)
	defer tick.Stop()
	for p.left(idle, alone) > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return errIdle
}

// meteredConn tells of every byte.
type meteredConn struct {
	*tls.Conn
	pulse *pulse
}

func (c *meteredConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.pulse.beat()
	}
	return n, err
}

func (c *meteredConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if n > 0 {
		c.pulse.beat()
	}
	return n, err
}

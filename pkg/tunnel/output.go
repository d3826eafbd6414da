package tunnel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

const maxStderr = 8 << 10

var errOutputClosed = errors.New("output closed")

// output is the caller's writer for as long as Exec runs: remotecommand's goroutines
// may outlive it, and only log what a writer says.
type output struct {
	failed context.CancelCauseFunc

	mu sync.Mutex
	to io.Writer // nil once closed
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.to == nil {
		return 0, errOutputClosed
	}
	n, err := o.to.Write(p)
	if err != nil {
		o.to = nil
		o.failed(fmt.Errorf("write output: %w", err))
	}
	return n, err
}

func (o *output) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.to = nil
}

// tail keeps the last maxStderr bytes written to it.
type tail struct {
	mu  sync.Mutex
	end []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end = append(t.end, p...)
	if over := len(t.end) - maxStderr; over > 0 {
		t.end = append(t.end[:0], t.end[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.end))
}

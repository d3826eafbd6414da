package backup

import (
	"context"
	"fmt"
	"io"
)

// marked marks a writer's errors: no other member could mend them.
type marked struct{ io.Writer }

func (m marked) Write(p []byte) (int, error) {
	n, err := m.Writer.Write(p)
	if err != nil {
		return n, fmt.Errorf("%w: %w", ErrWrite, err)
	}
	return n, nil
}

// outlet is a writer whose Write ends with its context, also when nobody reads at the
// other end: a write to a pipe can't be interrupted. The write under way is then left
// behind with the process, the one goroutine that is not waited for.
type outlet struct {
	w     io.Writer
	ctx   context.Context
	begun bool // something was written, or may have been
}

// until is o for as long as ctx.
func (o *outlet) until(ctx context.Context) io.Writer {
	o.ctx = ctx
	return o
}

type written struct {
	n   int
	err error
}

func (o *outlet) Write(p []byte) (int, error) {
	o.begun = true
	done := make(chan written, 1)
	go func() {
		n, err := o.w.Write(p)
		done <- written{n, err}
	}()
	select {
	case result := <-done:
		return result.n, result.err
	case <-o.ctx.Done():
		return 0, context.Cause(o.ctx)
	}
}

package maintain

import (
	"context"
	"sync"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// watch sees how etcd is through one member while another can't answer.
type watch struct {
	client  *etcd.Client
	timeout time.Duration
	stop    context.CancelFunc
	running sync.WaitGroup
	longest time.Duration // without a read that came through
	failed  int
}

// between is how long the watch waits between two reads: short against what is worth telling,
// and no load.
const between = 50 * time.Millisecond

// watchThrough begins a watch; without a client it sees nothing.
func watchThrough(ctx context.Context, client *etcd.Client, timeout time.Duration) *watch {
	ctx, stop := context.WithCancel(ctx)
	w := &watch{client: client, timeout: timeout, stop: stop}
	if client != nil {
		w.running.Go(func() { w.look(ctx) })
	}
	return w
}

func (w *watch) look(ctx context.Context) {
	for waiting := time.Now(); ; {
		bounded, cancel := context.WithTimeout(ctx, w.timeout)
		err := w.client.Health(bounded)
		cancel()
		w.longest = max(w.longest, time.Since(waiting)) // also of one that was cut short by the end
		if err != nil && ctx.Err() == nil {
			w.failed++
		}
		if !pause(ctx, between) {
			return
		}
		if err == nil {
			waiting = time.Now()
		}
	}
}

// end is the longest that a read took, or that none came through, and how many failed.
func (w *watch) end() (longest time.Duration, failed int) {
	w.stop()
	w.running.Wait()
	return w.longest, w.failed
}

package relay

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"
)

// Options says which relay to start.
type Options struct {
	Place  Place
	Image  string // its entrypoint is this binary
	Client Client
	// Dial opens a connection to a port of a pod, through the API server.
	Dial func(ctx context.Context, namespace, pod string, port int) (net.Conn, error)
	// Lifetime is how long one pod runs at most; 0: an hour. A run that takes longer gets
	// a successor before that, to which new streams go; the old one's break when it ends.
	Lifetime time.Duration
	// Shown is Caller's.
	Shown func(member, client *x509.Certificate)
	// Logger gets what is done, at info level. Nil: nothing is logged.
	Logger *slog.Logger
}

const defaultLifetime = time.Hour

// Relay is the relay on one node for as long as a run takes: one pod, and its successors.
type Relay struct {
	keeper
	options Options
	key     *Key

	renewing sync.Mutex // held by who starts a pod
	mu       sync.Mutex
	current  *instance
	old      []*instance // not deleted yet
	closed   bool

	stop context.CancelFunc
	done sync.WaitGroup
}

// Start starts a relay and returns when it can be called; then it deletes what earlier
// runs left in the namespace. ctx bounds the start alone: Close ends the relay. Errors
// are ErrNotStarted, and wrap the API server's.
func Start(ctx context.Context, options Options) (*Relay, error) {
	if options.Lifetime <= 0 {
		options.Lifetime = defaultLifetime
	}
	if err := options.Place.validate(); err != nil {
		return nil, errors.Join(ErrNotStarted, err)
	}
	key, err := NewKey()
	if err != nil {
		return nil, err
	}
	r := &Relay{keeper: newKeeper(options.Client, options.Logger), options: options, key: key}
	if r.current, err = r.launch(ctx); err != nil {
		return nil, err
	}
	if err := sweep(ctx, options.Client, options.Place.Namespace, r.current.created); err != nil {
		r.log.Warn("earlier relays are left", "error", err) // they serve nobody, and cost nothing
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	r.stop = stop
	r.done.Go(func() { r.succeed(life) })
	return r, nil
}

// DialContext opens a stream through the relay that is current, or its successor if
// that one is gone. See Caller.DialContext.
func (r *Relay) DialContext(ctx context.Context, stream Stream) (conn net.Conn, err error) {
	err = r.call(ctx, func(c *Caller) error {
		conn, err = c.DialContext(ctx, stream)
		return err
	})
	return conn, err
}

// Connects measures the distance from the node to a peer. See Caller.Connects.
func (r *Relay) Connects(ctx context.Context, peer string, count int) (took []time.Duration, err error) {
	err = r.call(ctx, func(c *Caller) error {
		took, err = c.Connects(ctx, peer, count)
		return err
	})
	return took, err
}

// call calls the current relay; once more if that one turns out to be gone.
func (r *Relay) call(ctx context.Context, do func(*Caller) error) error {
	i, err := r.living()
	if err != nil {
		return err
	}
	err = do(&i.caller)
	if err == nil || ctx.Err() != nil || errors.Is(err, ErrMember) || errors.Is(err, ErrTarget) || !r.isGone(ctx, i) {
		return err
	}
	r.log.Info("relay is gone", "pod", i.name, "node", i.node, "error", err)
	next, failed := r.renew(ctx, i)
	if failed != nil {
		return errors.Join(err, failed)
	}
	return do(&next.caller)
}

func (r *Relay) living() (*instance, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, ErrClosed
	}
	return r.current, nil
}

// isGone tells that the pod does not run any more. What can't be known counts as running:
// the way to it may be broken.
func (r *Relay) isGone(ctx context.Context, i *instance) bool {
	pod, err := r.get(ctx, i)
	if err != nil {
		return notThere(err)
	}
	return pod.DeletionTimestamp != nil || describe(pod).final
}

// renew puts a new pod in the place of i, unless somebody has done so.
func (r *Relay) renew(ctx context.Context, i *instance) (*instance, error) {
	r.renewing.Lock()
	defer r.renewing.Unlock()
	if current, err := r.living(); err != nil || current != i {
		return current, err
	}
	next, err := r.launch(ctx)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current, r.old = next, append(r.old, i)
	return next, nil
}

// succeed keeps a relay there until ctx ends: a successor well before the current one's
// end, after which that one is taken away.
func (r *Relay) succeed(ctx context.Context) {
	lead := min(r.options.Lifetime/4, 5*time.Minute)
	for {
		i, err := r.living()
		if err != nil || !waitUntil(ctx, i.expires.Add(-lead)) {
			return
		}
		if _, err := r.renew(ctx, i); err != nil {
			r.log.Warn("no successor yet", "node", i.node, "error", err)
			if !waitUntil(ctx, time.Now().Add(lead/4)) {
				return
			}
			continue
		}
		if !waitUntil(ctx, i.expires) {
			return
		}
		r.removeOld(ctx)
	}
}

// waitUntil waits; false: ctx has ended.
func waitUntil(ctx context.Context, when time.Time) bool {
	timer := time.NewTimer(time.Until(when))
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// removeOld deletes the pods that have successors.
func (r *Relay) removeOld(ctx context.Context) {
	r.mu.Lock()
	old := r.old
	r.old = nil
	r.mu.Unlock()
	for _, i := range old {
		if err := r.remove(ctx, i); err != nil {
			r.log.Warn("an old relay is left", "error", err) // a later run's sweep finds it
		}
	}
}

// Close deletes the relay's pods and waits until they are gone. It takes its time even
// when the run was interrupted, but not much.
func (r *Relay) Close(ctx context.Context) error {
	r.mu.Lock()
	closed := r.closed
	r.closed = true
	r.mu.Unlock()
	if closed {
		return ErrClosed
	}
	r.stop()
	r.done.Wait()
	r.renewing.Lock() // a dial may be starting one
	defer r.renewing.Unlock()
	errs := make([]error, len(r.old)+1)
	var removing sync.WaitGroup
	for at, i := range append(r.old, r.current) {
		removing.Go(func() { errs[at] = r.remove(ctx, i) })
	}
	removing.Wait()
	return errors.Join(errs...)
}

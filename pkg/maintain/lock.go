package maintain

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// ErrLocked: another run defragments these members.
var ErrLocked = errors.New("another defragmentation is under way")

const (
	// lockID is "kubectle". etcd grants a lease of an ID that is taken to nobody else, by
	// whatever way each comes; it has no key, so that nothing is written into the key space.
	lockID = 0x6b75626563746c65
	// lockTTL is for how long it outlives a run that was killed, and lockRenewal how often one
	// that runs renews it: a leader that is rewritten meanwhile is waited for. Ours.
	lockTTL     = 2 * time.Minute
	lockRenewal = 20 * time.Second
)

// LockedFor is for how long another run still holds the lock if it does not renew it; 0:
// nobody does, or none can be asked.
func LockedFor(ctx context.Context, members Members, overview etcd.Overview, timeout time.Duration) time.Duration {
	client, _ := members.voter(overview, 0)
	if client == nil {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	left, err := client.LeaseLeft(ctx, lockID)
	if err != nil {
		return 0
	}
	return max(left, time.Second)
}

// lock keeps other runs away from a cluster.
type lock struct {
	members Members
	timeout time.Duration
	every   time.Duration // between two renewals
	now     func() time.Time
	stop    context.CancelFunc
	renewed sync.WaitGroup

	mu   sync.Mutex
	last time.Time // when that was asked for which last gave it its whole time
	lost bool
}

// takeLock takes it until free. A cluster without space grants no lease, and is not locked: why
// is returned.
func takeLock(ctx context.Context, members Members, overview etcd.Overview, run DefragRun) (taken *lock, without string, err error) {
	client, _ := members.voter(overview, 0)
	if client == nil {
		return nil, "", fmt.Errorf("%w: no voter grants the lock", ErrUnready)
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), run.Timeout) // else nobody would know whether it is taken
	defer cancel()
	l := &lock{members: members, timeout: run.Timeout, every: run.renewal, now: time.Now, last: time.Now()}
	switch err := client.GrantLease(bounded, lockID, lockTTL); {
	case errors.Is(err, rpctypes.ErrLeaseExist):
		return nil, "", ErrLocked
	case errors.Is(err, rpctypes.ErrNoSpace):
		if LockedFor(ctx, members, overview, run.Timeout) > 0 { // since there was space
			return nil, "", ErrLocked
		}
		return nil, "nothing keeps a second run away: etcd has no space for a lease, its lock", nil
	case err != nil:
		return nil, "", fmt.Errorf("take the lock: %w", err)
	}
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop
	l.renewed.Go(func() {
		for pause(renewing, l.every) && !l.over() {
			l.renew(renewing)
		}
	})
	if err := ctx.Err(); err != nil {
		l.free(ctx)
		return nil, "", err
	}
	return l, "", nil
}

// renew gives it its whole time again. One that may have ended meanwhile is lost, whatever the
// answer is: another run's has the same ID.
func (l *lock) renew(ctx context.Context) {
	asked := l.now()
	err := l.throughAny(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case errors.Is(err, rpctypes.ErrLeaseNotFound), elapsed(l.last, l.now()) >= lockTTL:
		l.lost = true
	case err == nil && asked.After(l.last):
		l.last = asked
	}
}

// over: it has ended, or may have.
func (l *lock) over() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost || elapsed(l.last, l.now()) >= lockTTL
}

// elapsed also counts the time that the machine slept, which Go's own clock does not.
func elapsed(from, to time.Time) time.Duration {
	return max(to.Sub(from), to.Round(0).Sub(from.Round(0)))
}

// throughAny renews it through all members at once, for one may be at its turn, or hang: the
// first that can decides.
func (l *lock) throughAny(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	var asked sync.WaitGroup
	defer asked.Wait()
	defer cancel()
	answers, waiting := make(chan error, len(l.members.Clients)), 0
	for _, client := range l.members.Clients {
		if client != nil {
			waiting++
			asked.Go(func() { answers <- client.RenewLease(ctx, lockID) })
		}
	}
	err := errors.New("no way leads to a member")
	for ; waiting > 0; waiting-- {
		if err = <-answers; err == nil || errors.Is(err, rpctypes.ErrLeaseNotFound) {
			break
		}
	}
	return err
}

// held renews it, and is an error once it has ended. Without a lock there is none to lose.
func (l *lock) held(ctx context.Context) error {
	if l == nil {
		return nil
	}
	if l.renew(ctx); l.over() {
		return fmt.Errorf("%w: the lock that keeps other runs away has ended", ErrUnready)
	}
	return nil
}

// free lets others in. A lock that can't be given back ends by itself; one that has ended may be
// another run's by now.
func (l *lock) free(ctx context.Context) {
	if l == nil {
		return
	}
	l.stop()
	l.renewed.Wait()
	for _, client := range l.members.Clients { // one after the other: a second request that came late would end the next run's
		if client == nil {
			continue
		}
		if l.over() {
			return
		}
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.timeout)
		err := client.RevokeLease(bounded, lockID)
		cancel()
		if err == nil || errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return
		}
	}
}

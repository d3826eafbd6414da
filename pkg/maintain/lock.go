package maintain

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
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
	stop    context.CancelFunc
	renewed sync.WaitGroup
	lost    atomic.Bool
}

// takeLock takes it until free. A cluster without space grants no lease, and is not locked: why
// is returned.
func takeLock(ctx context.Context, members Members, overview etcd.Overview, run DefragRun) (taken *lock, without string, err error) {
	client, _ := members.voter(overview, 0)
	if client == nil {
		return nil, "", fmt.Errorf("%w: no voter grants the lock", ErrUnready)
	}
	bounded, cancel := context.WithTimeout(ctx, run.Timeout)
	defer cancel()
	switch err := client.GrantLease(bounded, lockID, lockTTL); {
	case errors.Is(err, rpctypes.ErrLeaseExist):
		return nil, "", ErrLocked
	case errors.Is(err, rpctypes.ErrNoSpace):
		return nil, "nothing keeps a second run away: etcd has no space for a lease, its lock", nil
	case err != nil:
		return nil, "", fmt.Errorf("take the lock: %w", err)
	}
	l := &lock{members: members, timeout: run.Timeout, every: run.renewal}
	ctx, l.stop = context.WithCancel(context.WithoutCancel(ctx))
	l.renewed.Go(func() { l.renew(ctx) })
	return l, "", nil
}

func (l *lock) renew(ctx context.Context) {
	for pause(ctx, l.every) {
		err := l.byAny(ctx, (*etcd.Client).RenewLease)
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			l.lost.Store(true)
			return
		}
	}
}

// byAny does it through the first member that can, for one may be at its turn.
func (l *lock) byAny(ctx context.Context, do func(*etcd.Client, context.Context, int64) error) (err error) {
	for _, client := range l.members.Clients {
		if client == nil {
			continue
		}
		bounded, cancel := context.WithTimeout(ctx, l.timeout)
		err = do(client, bounded, lockID)
		cancel()
		if err == nil || errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return err
		}
	}
	return err
}

// held is an error once the lock has ended. Without a lock there is none to lose.
func (l *lock) held() error {
	if l != nil && l.lost.Load() {
		return fmt.Errorf("%w: the lock that keeps other runs away has ended", ErrUnready)
	}
	return nil
}

// free lets others in. A lock that can't be given back ends by itself.
func (l *lock) free(ctx context.Context) {
	if l == nil {
		return
	}
	l.stop()
	l.renewed.Wait()
	_ = l.byAny(context.WithoutCancel(ctx), (*etcd.Client).RevokeLease)
}

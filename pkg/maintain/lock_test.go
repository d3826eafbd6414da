package maintain

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
)

func lockedFor(t *testing.T, m Members) time.Duration {
	t.Helper()
	return LockedFor(t.Context(), m, etcd.Observe(t.Context(), m.Sources, patience), patience)
}

// Another run is kept away as long as one goes on, by whatever member it comes, and let in after.
func TestDefragKeepsOthersAway(t *testing.T) {
	c := etcdtest.Start(t, 3, etcdtest.Options{Plain: true})
	fragment(t, c, 64)
	m := membersOf(c)
	plan := planOf(t, m, DefragOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	tried := 0
	report, err := Defrag(ctx, m, plan, DefragRun{Timeout: patience, OnEvent: func(e DefragEvent) {
		if e.Phase != PhaseBegins {
			return
		}
		tried++
		others := Members{Sources: slices.Clone(m.Sources), Clients: slices.Clone(m.Clients)}
		slices.Reverse(others.Sources)
		slices.Reverse(others.Clients)
		if second, err := Defrag(t.Context(), others, plan, DefragRun{Timeout: patience}); !errors.Is(err, ErrLocked) || len(second.Members) > 0 {
			t.Errorf("a second run at step %d: %v, %+v", e.Number, err, second)
		}
		if left := lockedFor(t, m); left < lockTTL/2 || left > lockTTL {
			t.Errorf("at step %d the lock lasts %s", e.Number, left)
		}
		if e.Number == 2 {
			cancel() // it ends after this turn, and lets go
		}
	}})
	if tried != 2 || !errors.Is(err, context.Canceled) || len(report.Members) != 2 || report.Unlocked != "" {
		t.Errorf("%d steps, %v, %+v", tried, err, report)
	}
	if left := lockedFor(t, m); left != 0 {
		t.Errorf("the lock lasts %s after its run", left)
	}
	if report, err := Defrag(t.Context(), m, planOf(t, m, DefragOptions{}), DefragRun{Timeout: patience}); err != nil || !report.Done {
		t.Errorf("the next run: %v, %+v", err, report)
	}
}

// A run whose lock has ended, as after a minute's sleep of its machine, begins no other turn.
func TestDefragEndsWithoutItsLock(t *testing.T) {
	c := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
	fragment(t, c, 64)
	m := membersOf(c)
	l, _, err := takeLock(t.Context(), m, etcd.Observe(t.Context(), m.Sources, patience), DefragRun{Timeout: patience, renewal: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer l.free(t.Context())
	pause(t.Context(), 100*time.Millisecond) // renewed some times
	if err := l.held(); err != nil {
		t.Error(err)
	}
	if err := m.Clients[0].RevokeLease(t.Context(), lockID); err != nil {
		t.Fatal(err)
	}
	l.renewed.Wait()
	if err := l.held(); !errors.Is(err, ErrUnready) {
		t.Errorf("without its lock: %v", err)
	}
	d := defrag{DefragRun: DefragRun{Timeout: patience}, members: m, lock: l, plan: planOf(t, m, DefragOptions{Force: true})}
	if err := d.turn(t.Context(), 1, d.plan.Steps[0]); !errors.Is(err, ErrUnready) {
		t.Errorf("a turn without the lock: %v", err)
	}
}

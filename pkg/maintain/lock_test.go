package maintain

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

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

// A run whose lock has ended, as after some minutes' sleep of its machine, begins no other turn.
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
	if err := l.held(t.Context()); err != nil {
		t.Error(err)
	}
	if err := m.Clients[0].RevokeLease(t.Context(), lockID); err != nil {
		t.Fatal(err)
	}
	l.renewed.Wait()
	if err := l.held(t.Context()); !errors.Is(err, ErrUnready) {
		t.Errorf("without its lock: %v", err)
	}
	d := defrag{DefragRun: DefragRun{Timeout: patience}, members: m, lock: l, plan: planOf(t, m, DefragOptions{Force: true})}
	if err := d.turn(t.Context(), 1, d.plan.Steps[0]); !errors.Is(err, ErrUnready) {
		t.Errorf("a turn without the lock: %v", err)
	}
}

func take(t *testing.T, m Members, timeout time.Duration) *lock {
	t.Helper()
	l, _, err := takeLock(t.Context(), m, etcd.Observe(t.Context(), m.Sources, patience), DefragRun{Timeout: timeout, renewal: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A run that slept so long that its lock ended does not take that of the next run for its own.
func TestLockOfTheNextRun(t *testing.T) {
	c := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
	m := membersOf(c)
	slept := take(t, m, patience)
	if err := m.Clients[0].RevokeLease(t.Context(), lockID); err != nil { // as etcd does by itself
		t.Fatal(err)
	}
	next := take(t, m, patience)
	slept.now = func() time.Time { return time.Now().Round(0).Add(lockTTL) }
	if err := slept.held(t.Context()); !errors.Is(err, ErrUnready) {
		t.Errorf("the lock that ended is held: %v", err)
	}
	slept.free(t.Context())
	if left := lockedFor(t, m); left == 0 {
		t.Error("the next run's lock was given back")
	}
	if err := next.held(t.Context()); err != nil {
		t.Errorf("the next run's lock: %v", err)
	}
	next.free(t.Context())
	if left := lockedFor(t, m); left != 0 {
		t.Errorf("the lock lasts %s after its run", left)
	}
}

// A member that hangs, however patient the run is, keeps the lock from nothing.
func TestLockIsRenewedPastAMemberThatHangs(t *testing.T) {
	c := etcdtest.Start(t, 3, etcdtest.Options{Plain: true})
	line := etcdtest.NewLine(c.Members[0].Addr())
	endpoint := c.Members[0].Endpoint()
	endpoint.Dial = line.Dial
	m := membersOf(c)
	m.Clients[0] = c.OpenWith(endpoint, etcd.Options{})
	l := take(t, m, time.Hour)
	line.Hold()
	defer line.Release()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	was := l.last
	if err := l.held(ctx); err != nil || ctx.Err() != nil || !l.last.After(was) {
		t.Errorf("not renewed: %v, %v", err, ctx.Err())
	}
	m.Clients = slices.Delete(m.Clients, 0, 1)
	l.members = m
	l.free(t.Context())
}

// A lock that was taken while there was space keeps others away without it, too.
func TestLockWithoutSpace(t *testing.T) {
	c := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
	m := membersOf(c)
	l := take(t, m, patience)
	c.RaiseAlarm(c.Members[0].ID(), pb.AlarmType_NOSPACE)
	overview := etcd.Observe(t.Context(), m.Sources, patience)
	if _, without, err := takeLock(t.Context(), m, overview, DefragRun{Timeout: patience, renewal: time.Hour}); !errors.Is(err, ErrLocked) {
		t.Errorf("a second run beside the first: %v, %q", err, without)
	}
	l.free(t.Context())
	if _, without, err := takeLock(t.Context(), m, overview, DefragRun{Timeout: patience, renewal: time.Hour}); err != nil || without == "" {
		t.Errorf("alone, without space: %v, %q", err, without)
	}
}

// A run that is interrupted while it takes the lock leaves none behind.
func TestLockInterrupted(t *testing.T) {
	c := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
	line := etcdtest.NewLine(c.Members[0].Addr())
	endpoint := c.Members[0].Endpoint()
	endpoint.Dial = line.Dial
	m := membersOf(c)
	m.Clients[0] = c.OpenWith(endpoint, etcd.Options{})
	overview := etcd.Observe(t.Context(), m.Sources, patience)
	if err := m.Clients[0].Health(t.Context()); err != nil { // it has a connection
		t.Fatal(err)
	}
	line.Hold()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(200*time.Millisecond, cancel)
	time.AfterFunc(400*time.Millisecond, line.Release)
	if _, _, err := takeLock(ctx, m, overview, DefragRun{Timeout: patience, renewal: time.Hour}); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	if left := lockedFor(t, membersOf(c)); left != 0 {
		t.Errorf("the lock of a run that never was lasts %s", left)
	}
}

package maintain

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
)

// A member that is reached by two endpoints is one member: it has one turn.
func TestDefragOfAMemberReachedTwice(t *testing.T) {
	c := etcdtest.Start(t, 3, etcdtest.Options{Plain: true})
	c.Fill(10, 100)
	m := membersOf(c)
	for _, i := range []int{c.Leader(), c.Follower()} {
		again, err := etcd.Open(etcd.Endpoint{Name: "again-" + c.Members[i].Name, URL: c.Members[i].ClientURL}, etcd.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		m.Sources = append(m.Sources, etcd.Source{Name: "again-" + c.Members[i].Name, Reader: again})
		m.Clients = append(m.Clients, again)
	}
	plan := planOf(t, m, DefragOptions{})
	if len(plan.Refusals) > 0 || count(plan.Steps, ActionDefrag) != 3 || len(plan.Members) != 3 {
		t.Fatalf("planned %s of %v, %+v", outline(plan), plan.Members, plan.Refusals)
	}
	report, err := Defrag(t.Context(), m, plan, DefragRun{Timeout: patience})
	if err != nil || len(report.Members) != 3 {
		t.Errorf("got %+v, %v", report, err)
	}
}

// Interrupted while the leadership moves, the report says where it went.
func TestDefragInterruptedAtTheLeader(t *testing.T) {
	c := etcdtest.Start(t, 3, etcdtest.Options{Plain: true})
	fragment(t, c, 64)
	m := membersOf(c)
	plan := planOf(t, m, DefragOptions{})
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	report, err := Defrag(ctx, m, plan, DefragRun{Timeout: patience, OnEvent: func(e DefragEvent) {
		if e.Step.Action == ActionMove && e.Phase == PhaseBegins {
			interrupt()
		}
	}})
	want := "2 of 3 members are defragmented, the leader is " + plan.Steps[2].To + "; not done: defragment " + plan.Steps[3].Member
	if !errors.Is(err, context.Canceled) || !report.Moved || report.Leader != plan.Steps[2].To || report.Stands != want {
		t.Errorf("got %v, %+v", err, report)
	}
	if now := c.Members[c.Leader()].Name; now != plan.Steps[2].To {
		t.Errorf("the leader is %s", now)
	}
}

// lined gives m's member of that name another way, over a line.
func lined(t *testing.T, c *etcdtest.Cluster, m Members, name string) *etcdtest.Line {
	t.Helper()
	for i, member := range c.Members {
		if member.Name != name {
			continue
		}
		line := etcdtest.NewLine(member.Addr())
		client, err := etcd.Open(etcd.Endpoint{Name: m.Sources[i].Name, URL: member.ClientURL, Dial: line.Dial}, etcd.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
		m.Sources[i].Reader, m.Clients[i] = client, client
		return line
	}
	t.Fatalf("no member %s", name)
	return nil
}

// When the way to a member breaks while it is at it, nobody knows whether it is done: it is not
// said that it was not.
func TestDefragWhenTheWayBreaks(t *testing.T) {
	c := etcdtest.Start(t, 3, etcdtest.Options{Plain: true})
	fragment(t, c, 64)
	m := membersOf(c)
	plan := planOf(t, m, DefragOptions{})
	line := lined(t, c, m, plan.Steps[0].Member)
	report, err := Defrag(t.Context(), m, plan, DefragRun{Timeout: patience, OnEvent: func(e DefragEvent) {
		if e.Phase == PhaseBegins {
			line.Hold()
			time.AfterFunc(300*time.Millisecond, func() { line.Cut(errors.New("the tunnel is gone")) })
		}
	}})
	if err == nil || !strings.Contains(err.Error(), "the tunnel is gone") || !strings.Contains(err.Error(), "it may still be at it") {
		t.Errorf("got %v", err)
	}
	if want := "0 of 3 members are defragmented; " + plan.Steps[0].Member + " may be, or may still be at it; 3 more steps not begun"; report.Stands != want {
		t.Errorf("stands: %s", report.Stands)
	}
}

// One that does not come back from its turn in time is left in it.
func TestDefragOfAMemberThatFreezes(t *testing.T) {
	c := etcdtest.Start(t, 3, etcdtest.Options{Plain: true})
	fragment(t, c, 64)
	m := membersOf(c)
	plan := planOf(t, m, DefragOptions{})
	line := lined(t, c, m, plan.Steps[0].Member)
	report, err := Defrag(t.Context(), m, plan, DefragRun{Timeout: patience, longest: time.Second, OnEvent: func(e DefragEvent) {
		if e.Phase == PhaseBegins {
			line.Hold()
		}
	}})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no answer after 1s") || !strings.Contains(report.Stands, "may still be at it") {
		t.Errorf("got %v, %s", err, report.Stands)
	}
	line.Release()
}

// Another leader in the middle ends it as soon as the member is well, not after a minute.
func TestDefragEndsWhenTheLeaderChanges(t *testing.T) {
	c := etcdtest.Start(t, 3, etcdtest.Options{Plain: true})
	fragment(t, c, 64)
	m := membersOf(c)
	plan := planOf(t, m, DefragOptions{})
	leader, to := m.Clients[c.Leader()], plan.Steps[1]
	began := time.Now()
	report, err := Defrag(t.Context(), m, plan, DefragRun{Timeout: patience, Healthy: time.Minute, OnEvent: func(e DefragEvent) {
		if e.Phase == PhaseWaits && e.Number == 1 {
			if err := leader.MoveLeader(t.Context(), to.ID); err != nil {
				t.Error(err)
			}
		}
	}})
	if !errors.Is(err, ErrUnready) || !strings.Contains(err.Error(), "the leader has changed to "+to.Member) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
	if want := "1 of 3 members are defragmented; 3 more steps not begun"; report.Stands != want || report.Leader != to.Member || len(report.Members) != 1 {
		t.Errorf("got %+v", report)
	}
}

// With --endpoints of some members alone the others can't be looked at: it says which to name.
func TestDefragOfSomeEndpoints(t *testing.T) {
	c := etcdtest.Start(t, 3, etcdtest.Options{Plain: true})
	m := membersOf(c)
	one := c.Follower()
	m.Sources, m.Clients = m.Sources[one:one+1], m.Clients[one:one+1]
	plan := planOf(t, m, DefragOptions{Force: true})
	if len(plan.Refusals) < 2 {
		t.Fatalf("refused %+v", plan.Refusals)
	}
	others := slices.Delete(slices.Clone(c.Members), one, one+1)
	for i, r := range plan.Refusals[:2] {
		if !strings.Contains(r.Reason, others[i].Name+" is not healthy: no pod or endpoint is known for it") || !strings.Contains(r.Instead, "name every member, it too: --endpoints …,"+others[i].ClientURL) {
			t.Errorf("got %+v", r)
		}
	}
}

// What somebody else compacted further meanwhile is done.
func TestCompactOvertaken(t *testing.T) {
	c := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
	c.Fill(20, 10)
	m := membersOf(c)
	plan := PlanCompact(CompactFacts{Overview: etcd.Observe(t.Context(), m.Sources, patience), Head: 20}, 10, false)
	if err := m.Clients[0].Compact(t.Context(), 15, false); err != nil {
		t.Fatal(err)
	}
	if err := Compact(t.Context(), m, plan, patience); err != nil {
		t.Errorf("got %v", err)
	}
}

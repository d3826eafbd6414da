package maintain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
)

const patience = 5 * time.Second

// membersOf are the ways to a cluster's members.
func membersOf(c *etcdtest.Cluster) Members {
	m := Members{Sources: c.Sources()}
	for _, source := range m.Sources {
		m.Clients = append(m.Clients, source.Reader.(*etcd.Client))
	}
	return m
}

// fragment leaves most of every member's database free: of keys of 32 KiB one in ten stays.
func fragment(t *testing.T, c *etcdtest.Cluster, keys int) {
	t.Helper()
	c.Fill(keys, 32<<10)
	client := c.Open(c.Leader()).Raw()
	deleted, err := client.Delete(t.Context(), "/fill/", clientv3.WithRange(fmt.Sprintf("/fill/%08d", keys*9/10)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Compact(t.Context(), deleted.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	awaitFree(t, c, int64(keys)*9/10*(32<<10)/2)
}

// awaitFree waits until compaction has freed as much in every member's file. A database counts
// pages as free with its next write; under NOSPACE that is one which deletes.
func awaitFree(t *testing.T, c *etcdtest.Cluster, least int64) {
	t.Helper()
	sources, client := c.Sources(), c.Open(c.Leader()).Raw()
	for n := range 300 {
		if _, err := client.Put(t.Context(), "/tick/new", "x"); err != nil {
			if _, err := client.Delete(t.Context(), fmt.Sprintf("/tick/%d", n)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(20 * time.Millisecond)
		all := true
		for _, view := range etcd.Observe(t.Context(), sources, patience).Members {
			all = all && view.Status != nil && view.Status.DBSize-view.Status.DBSizeInUse >= least
		}
		if all {
			return
		}
	}
	t.Fatal("compaction frees nothing")
}

func planOf(t *testing.T, m Members, options DefragOptions) DefragPlan {
	t.Helper()
	return PlanDefrag(DefragFacts{At: time.Now(), Overview: etcd.Observe(t.Context(), m.Sources, patience)}, options)
}

func TestDefragThree(t *testing.T) {
	c := etcdtest.Start(t, 3, etcdtest.Options{Plain: true})
	fragment(t, c, 640)
	m := membersOf(c)
	leader := c.Members[c.Leader()].Name
	plan := planOf(t, m, DefragOptions{})
	if len(plan.Refusals) > 0 || len(plan.Steps) != 4 || plan.Steps[2].Action != ActionMove || plan.Steps[3].Member != leader {
		t.Fatalf("planned %s %+v", outline(plan), plan.Refusals)
	}
	var events []string
	report, err := Defrag(t.Context(), m, plan, DefragRun{Timeout: patience, Settle: time.Millisecond, OnEvent: func(e DefragEvent) {
		events = append(events, string(e.Phase)+" "+string(e.Step.Action)+" "+e.Step.Member)
	}})
	if err != nil {
		t.Fatal(err)
	}
	if !report.Done || report.Stands != "" || !report.Moved || report.Leader != plan.Steps[2].To || len(report.Members) != 3 {
		t.Errorf("reported %+v", report)
	}
	if now := c.Members[c.Leader()].Name; now != plan.Steps[2].To || now == leader {
		t.Errorf("the leader is %s, was %s, planned was %s", now, leader, plan.Steps[2].To)
	}
	total := int64(0)
	for i, r := range report.Members {
		if r.Member != []DefragStep{plan.Steps[0], plan.Steps[1], plan.Steps[3]}[i].Member || r.Reclaimed < 9<<20 || r.Reclaimed != r.Before-r.After || r.Pause <= 0 {
			t.Errorf("%d: %+v", i, r)
		}
		if r.Stall <= 0 || r.Through == "" || r.Through == r.Member || r.Failed > 0 || r.Stall > report.LongestStall {
			t.Errorf("seen from another member: %+v", r)
		}
		total += r.Reclaimed
	}
	if report.Reclaimed != total {
		t.Errorf("reclaimed %d, not %d", report.Reclaimed, total)
	}
	for _, view := range etcd.Observe(t.Context(), m.Sources, patience).Members {
		if view.Status.DBSize > 8<<20 || !view.Healthy {
			t.Errorf("%s: %d bytes, healthy: %t", view.Name, view.Status.DBSize, view.Healthy)
		}
	}
	want := []string{"begins defrag " + plan.Steps[0].Member, "can't be", "waits", "done defrag", "settles"}
	if events[0] != want[0] || slices.ContainsFunc(events, func(e string) bool { return strings.HasPrefix(e, want[1]) }) || !strings.HasPrefix(events[len(events)-1], want[3]) {
		t.Errorf("told %q", events)
	}
	if again := planOf(t, m, DefragOptions{Rule: DefaultRule(), ByRule: true}); !again.Empty() || len(again.Refusals) > 0 {
		t.Errorf("once more by rule: %s %+v", outline(again), again.Refusals)
	}
}

// A member that dies in the middle ends it: the others keep their turn, and it is said who had
// none.
func TestDefragEndsWhenAMemberDies(t *testing.T) {
	c := etcdtest.Start(t, 3, etcdtest.Options{Plain: true})
	fragment(t, c, 64)
	m := membersOf(c)
	plan := planOf(t, m, DefragOptions{})
	leader := c.Leader()
	report, err := Defrag(t.Context(), m, plan, DefragRun{Timeout: time.Second, Healthy: 2 * time.Second, OnEvent: func(e DefragEvent) {
		if e.Phase == PhaseDone && e.Number == 1 {
			for i, member := range c.Members {
				if i != leader && member.Name == plan.Steps[1].Member {
					member.Stop()
				}
			}
		}
	}})
	if !errors.Is(err, ErrUnready) || !strings.Contains(err.Error(), "step 2 of 4, defragment "+plan.Steps[1].Member) || !strings.Contains(err.Error(), "not healthy") {
		t.Errorf("got %v", err)
	}
	want := "1 of 3 members are defragmented; not done: defragment " + plan.Steps[1].Member + "; 2 more steps not begun"
	if report.Done || len(report.Members) != 1 || report.Stands != want {
		t.Errorf("reported %+v", report)
	}
	for i := range c.Members {
		if i != leader && c.Members[i].Server == nil {
			continue
		}
		if s, err := c.Open(i).Status(t.Context()); err != nil || c.Members[i].Name != plan.Steps[0].Member && s.DBSize < 2<<20 {
			t.Errorf("%s was touched: %+v, %v", c.Members[i].Name, s, err)
		}
	}
}

// One that dies in its own turn is said to be where it stands, not what it is.
func TestDefragEndsWhenItsMemberDoesNotComeBack(t *testing.T) {
	c := etcdtest.Start(t, 3, etcdtest.Options{Plain: true})
	fragment(t, c, 64)
	m := membersOf(c)
	plan := planOf(t, m, DefragOptions{})
	report, err := Defrag(t.Context(), m, plan, DefragRun{Timeout: time.Second, Healthy: 2 * time.Second, OnEvent: func(e DefragEvent) {
		if e.Phase == PhaseWaits && e.Number == 1 {
			for _, member := range c.Members {
				if member.Name == plan.Steps[0].Member {
					member.Stop()
				}
			}
		}
	}})
	if !errors.Is(err, ErrUnready) || !strings.Contains(err.Error(), "not well again after 2s") {
		t.Errorf("got %v", err)
	}
	if want := "1 of 3 members are defragmented; " + plan.Steps[0].Member + " was not seen well after that; 3 more steps not begun"; report.Stands != want {
		t.Errorf("stands: %s", report.Stands)
	}
}

// Interrupted between two members it stops there; interrupted in a member's turn it waits for
// its end.
func TestDefragInterrupted(t *testing.T) {
	for _, at := range []Phase{PhaseDone, PhaseSettles, PhaseBegins} {
		t.Run(string(at), func(t *testing.T) {
			c := etcdtest.Start(t, 3, etcdtest.Options{Plain: true})
			fragment(t, c, 64)
			m := membersOf(c)
			plan := planOf(t, m, DefragOptions{})
			ctx, interrupt := context.WithCancel(t.Context())
			defer interrupt()
			var told sync.Map
			report, err := Defrag(ctx, m, plan, DefragRun{Timeout: patience, Settle: time.Hour, OnEvent: func(e DefragEvent) {
				told.Store(e.Phase, true)
				if e.Phase == at {
					interrupt()
				}
			}})
			if !errors.Is(err, context.Canceled) || len(report.Members) != 1 || report.Members[0].Reclaimed <= 0 {
				t.Errorf("got %+v, %v", report, err)
			}
			if want := "1 of 3 members are defragmented; not done: defragment " + plan.Steps[1].Member + "; 2 more steps not begun"; report.Stands != want {
				t.Errorf("stands: %s", report.Stands)
			}
			if _, uncalled := told.Load(PhaseUncalled); uncalled != (at == PhaseBegins) {
				t.Errorf("said that it can't be called off: %t", uncalled)
			}
			if after := etcd.Observe(t.Context(), m.Sources, patience); len(unwell(after)) > 0 {
				t.Errorf("left unwell: %+v", unwell(after))
			}
		})
	}
}

func TestDefragNotAsPlanned(t *testing.T) {
	c := etcdtest.Start(t, 3, etcdtest.Options{Plain: true})
	c.Fill(10, 100)
	m := membersOf(c)
	plan := planOf(t, m, DefragOptions{})
	fails := func(name, want string, plan DefragPlan, run DefragRun) {
		t.Helper()
		run.Timeout = patience
		report, err := Defrag(t.Context(), m, plan, run)
		if !errors.Is(err, ErrUnready) || !strings.Contains(err.Error(), want) || len(report.Members) > 0 {
			t.Errorf("%s: %+v, %v", name, report, err)
		}
	}
	fails("busy", "streams a snapshot", plan, DefragRun{Busy: func(_ context.Context, id etcd.ID) []string {
		if id == plan.Steps[0].ID {
			return []string{"streams a snapshot"}
		}
		return nil
	}})
	other := plan
	other.Members = append(slices.Clone(plan.Members), 0xfff)
	fails("another list", "its members are others", other, DefragRun{})
	other = plan
	other.Leader = plan.Steps[0].ID
	fails("another leader", "the leader has changed", other, DefragRun{})
	c.RaiseAlarm(c.Members[0].ID(), pb.AlarmType_CORRUPT)
	fails("CORRUPT", "alarm CORRUPT", plan, DefragRun{})
}

// By what the members before it took, the next one would be ended in the middle.
func TestDefragMeasuresOnTheWay(t *testing.T) {
	d := &defrag{}
	step := DefragStep{Member: "b", DBSizeInUse: 100 * mib, Limit: 40 * time.Second}
	d.measured(DefragStep{DBSizeInUse: leastMeasured - 1}, time.Hour) // tells nothing
	if err := d.fits(t.Context(), step); err != nil {
		t.Error(err)
	}
	d.measured(DefragStep{DBSizeInUse: 100 * mib}, 39*time.Second)
	if err := d.fits(t.Context(), step); err != nil {
		t.Error(err)
	}
	d.measured(DefragStep{DBSizeInUse: 100 * mib}, 41*time.Second)
	d.measured(DefragStep{DBSizeInUse: 100 * mib}, time.Second)
	if err := d.fits(t.Context(), step); !errors.Is(err, ErrUnready) || !strings.Contains(err.Error(), "at most 40s are borne") {
		t.Errorf("got %v", err)
	}
}

func TestDefragAlone(t *testing.T) {
	c := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
	fragment(t, c, 64)
	m := membersOf(c)
	report, err := Defrag(t.Context(), m, planOf(t, m, DefragOptions{Force: true}), DefragRun{Timeout: patience})
	if err != nil || !report.Done || report.Moved || report.Reclaimed < mib || report.LongestStall != 0 {
		t.Errorf("got %+v, %v", report, err)
	}
}

// fillUp writes until etcd refuses, which raises NOSPACE.
func fillUp(t *testing.T, c *etcdtest.Cluster) {
	t.Helper()
	client := c.Open(c.Leader()).Raw()
	for n := range 300 { // for awaitFree
		etcdtest.Put(t, client, fmt.Sprintf("/tick/%d", n), "x")
	}
	for range 2000 {
		if _, err := client.Put(t.Context(), "/big", strings.Repeat("x", 64<<10)); err != nil {
			return
		}
	}
	t.Fatal("the quota is never reached")
}

// fillDensely fills up until that can't be defragmented away: what was free in the files is
// filled too.
func fillDensely(t *testing.T, c *etcdtest.Cluster, m Members) {
	t.Helper()
	for range 5 {
		fillUp(t, c)
		for _, client := range m.Clients {
			if err := client.Defragment(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		overview := etcd.Observe(t.Context(), m.Sources, patience)
		if full(overview) != nil {
			return
		}
		if _, err := disarmAll(t.Context(), m, overview, alarmsOf(overview, NoSpace), patience); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("there is always room")
}

func compactAll(t *testing.T, c *etcdtest.Cluster, least int64) {
	t.Helper()
	client := c.Open(c.Leader()).Raw()
	now, err := client.Get(t.Context(), "/big")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Compact(t.Context(), now.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	awaitFree(t, c, least)
}

func TestDefragDisarms(t *testing.T) {
	c := etcdtest.Start(t, 3, etcdtest.Options{Plain: true, Quota: 16 << 20})
	m := membersOf(c)
	fillDensely(t, c, m)

	// Nothing is compacted, so that defragmentation makes no room: it stays.
	plan := planOf(t, m, DefragOptions{})
	if plan.Empty() || plan.Steps[len(plan.Steps)-1].Action != ActionDisarm {
		t.Fatalf("planned %s %+v", outline(plan), plan.Refusals)
	}
	report, err := Defrag(t.Context(), m, plan, DefragRun{Timeout: patience})
	if !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "of its quota") || len(report.Members) != 3 || report.Done {
		t.Errorf("still full: %+v, %v", report, err)
	}

	compactAll(t, c, 8<<20)
	report, err = Defrag(t.Context(), m, planOf(t, m, DefragOptions{}), DefragRun{Timeout: patience})
	if err != nil || len(report.Disarmed) == 0 || !report.Done {
		t.Fatalf("got %+v, %v", report, err)
	}
	if !strings.Contains(report.Unlocked, "no space for a lease") {
		t.Errorf("without space it was locked, or it is not said: %q", report.Unlocked)
	}
	etcdtest.Put(t, c.Open(0).Raw(), "/again", "x")
}

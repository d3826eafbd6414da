package maintain

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
)

func look(t *testing.T, m Members) etcd.Overview {
	t.Helper()
	return etcd.Observe(t.Context(), m.Sources, patience)
}

// must changes members, all of a plan.
func must(t *testing.T, m Members, plan MemberPlan, wait time.Duration) MemberReport {
	t.Helper()
	report, err := ChangeMembers(t.Context(), m, plan, MemberRun{Timeout: patience, Wait: wait})
	if err != nil || !report.Finished || report.Stands != "" || len(report.Done) != len(plan.Steps) {
		t.Fatalf("%+v: %v", report, err)
	}
	return report
}

func found(t *testing.T, o etcd.Overview, text string) etcd.MemberView {
	t.Helper()
	view, err := FindMember(o, text)
	if err != nil {
		t.Fatal(err)
	}
	return view
}

// A learner comes, starts by what it was told, gets its vote, and the leader leaves.
func TestMembersComeAndGo(t *testing.T) {
	c := etcdtest.Start(t, 3, etcdtest.Options{Plain: true})
	c.Fill(50, 100)
	m := membersOf(c)
	fresh := c.Prepare()
	add := PlanAdd(look(t, m), NewMember{Name: fresh.Name, PeerURLs: []string{fresh.PeerURL}})
	report := must(t, m, add, 0)
	if report.Added == nil || !report.Added.Learner || len(report.List) != 4 || report.After.Learners != 1 || report.After.Voters != 3 {
		t.Fatalf("%+v", report)
	}

	again := PlanAdd(look(t, m), NewMember{Name: fresh.Name, PeerURLs: []string{fresh.PeerURL}})
	if again.There == nil || again.There.ID != report.Added.ID || !again.Empty() {
		t.Errorf("added once more: %+v", again)
	}

	id := report.Added.ID.String()
	promote := PlanPromote(look(t, m), found(t, look(t, m), id))
	var told []string
	early, err := ChangeMembers(t.Context(), m, promote, MemberRun{Timeout: patience, Wait: time.Second, OnEvent: func(e MemberEvent) { told = append(told, e.Told) }})
	if !errors.Is(err, ErrUnready) || !strings.Contains(err.Error(), "it is not started") || early.Finished || !slices.Contains(told, "it is not started") {
		t.Errorf("promoted before it ran: %+v, %v, told %q", early, err, told)
	}

	c.Join(fresh, InitialCluster(report.List, report.Added.ID, fresh.Name))
	m = membersOf(c)
	told = nil
	promote = PlanPromote(look(t, m), found(t, look(t, m), id))
	if _, err := ChangeMembers(t.Context(), m, promote, MemberRun{Timeout: patience, OnEvent: func(e MemberEvent) { told = append(told, e.Told) }}); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(told, func(s string) bool { return strings.HasSuffix(s, "% of the leader's log") }) {
		t.Errorf("how far it was nobody told: %q", told)
	}
	if shape := ShapeOf(look(t, m)); shape != newShape(4, 4, 0) {
		t.Errorf("after the promotion: %s", shape)
	}

	leader := c.Members[c.Leader()]
	remove := PlanRemove(look(t, m), found(t, look(t, m), leader.Name))
	if len(remove.Steps) != 2 || remove.Steps[0].Action != ActionMove {
		t.Fatalf("plan: %s", script(remove))
	}
	left := must(t, m, remove, 0)
	if len(left.List) != 3 || slices.ContainsFunc(left.List, func(m etcd.Member) bool { return m.Name == leader.Name }) {
		t.Errorf("members are %+v", left.List)
	}
}

func TestReplaceTheLost(t *testing.T) {
	c := etcdtest.Start(t, 3, etcdtest.Options{})
	c.Fill(50, 100)
	m := membersOf(c)
	lost := c.Members[c.Follower()]
	lost.Stop()
	fresh := c.Prepare()
	overview := look(t, m)
	plan := PlanReplace(overview, found(t, overview, lost.Name), ReplaceOptions{With: NewMember{Name: lost.Name, PeerURLs: []string{fresh.PeerURL}}})
	report := must(t, m, plan, 0)
	if len(report.List) != 3 || report.After.Voters != 2 || report.After.Learners != 1 || report.Added.Name != lost.Name {
		t.Fatalf("%+v", report)
	}
	c.Join(fresh, InitialCluster(report.List, report.Added.ID, fresh.Name)) // its name is its own affair
	m = membersOf(c)
	overview = look(t, m)
	must(t, m, PlanPromote(overview, found(t, overview, report.Added.ID.String())), time.Minute)
	if shape := ShapeOf(look(t, m)); shape != newShape(3, 3, 0) {
		t.Errorf("after the replacement: %s", shape)
	}
}

// Interrupted after the removal it says where it stands, and the addition goes on from there.
func TestInterruptedReplace(t *testing.T) {
	c := etcdtest.Start(t, 3, etcdtest.Options{Plain: true})
	m := membersOf(c)
	lost := c.Members[c.Follower()]
	lost.Stop()
	overview := look(t, m)
	newcomer := NewMember{Name: lost.Name, PeerURLs: []string{lost.PeerURL}}
	plan := PlanReplace(overview, found(t, overview, lost.Name), ReplaceOptions{With: newcomer})
	ctx, cancel := context.WithCancel(t.Context())
	report, err := ChangeMembers(ctx, m, plan, MemberRun{Timeout: patience, OnEvent: func(e MemberEvent) {
		if e.Step.Action == ActionRemove && !e.Done {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) || report.Finished || len(report.Done) != 1 || report.Added != nil {
		t.Fatalf("%+v: %v", report, err)
	}
	if !strings.Contains(report.Stands, "done: remove "+lost.Name) || !strings.Contains(report.Stands, "not done: add "+lost.Name) || len(report.List) != 2 {
		t.Errorf("stands: %s; %+v", report.Stands, report.List)
	}
	must(t, m, PlanAdd(look(t, m), newcomer), 0)
}

func TestMoveLeadership(t *testing.T) {
	c := etcdtest.Start(t, 3, etcdtest.Options{Plain: true})
	m := membersOf(c)
	to := c.Members[c.Follower()]
	overview := look(t, m)
	view := found(t, overview, to.Name)
	must(t, m, PlanMove(overview, &view), 0)
	if leader := c.Members[c.Leader()]; leader != to {
		t.Errorf("%s leads, want %s", leader.Name, to.Name)
	}
	must(t, m, PlanMove(look(t, m), nil), 0)
	if leader := c.Members[c.Leader()]; leader == to {
		t.Errorf("%s leads still", leader.Name)
	}
}

// The leadership is not moved to one that has died since the plan was made.
func TestSuccessorDiedMeanwhile(t *testing.T) {
	c := etcdtest.Start(t, 3, etcdtest.Options{Plain: true})
	m := membersOf(c)
	to := c.Members[c.Follower()]
	view := found(t, look(t, m), to.Name)
	plan := PlanMove(look(t, m), &view)
	to.Stop()
	report, err := ChangeMembers(t.Context(), m, plan, MemberRun{Timeout: patience})
	if !errors.Is(err, ErrUnready) || len(report.Done) != 0 || !strings.Contains(err.Error(), "is no healthy voter") {
		t.Errorf("%+v: %v", report, err)
	}
}

// What has changed since the plan was made ends it before anything is done.
func TestMembersChangedMeanwhile(t *testing.T) {
	for name, meanwhile := range map[string]func(c *etcdtest.Cluster, m Members){
		"another learner": func(c *etcdtest.Cluster, _ Members) { c.AddLearner() },
		"a voter died": func(c *etcdtest.Cluster, _ Members) {
			for i, member := range c.Members { // neither who leads nor who is to be removed
				if i != c.Leader() && member.Name != "b" {
					member.Stop()
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := etcdtest.Start(t, 3, etcdtest.Options{Plain: true})
			m := membersOf(c)
			plan := PlanRemove(look(t, m), found(t, look(t, m), "b"))
			meanwhile(c, m)
			c.Leader()
			report, err := ChangeMembers(t.Context(), m, plan, MemberRun{Timeout: patience})
			if !errors.Is(err, ErrUnready) || len(report.Done) != 0 || report.Finished {
				t.Fatalf("%+v: %v", report, err)
			}
			if view, err := FindMember(look(t, m), "b"); err != nil || view.Member == nil {
				t.Errorf("b was removed: %v", err)
			}
		})
	}
}

// A call of which no answer comes may have been done all the same: the list tells.
func TestMemberCallsWithoutAnAnswer(t *testing.T) {
	c := etcdtest.Start(t, 3, etcdtest.Options{Plain: true})
	m := membersOf(c)
	leader := c.Members[c.Leader()]
	line := etcdtest.NewLine(leader.Addr())
	through := leader.Endpoint()
	through.Dial = func(ctx context.Context) (net.Conn, error) { return line.Dial(ctx) }
	for i, source := range m.Sources {
		if source.Name == "etcd-"+leader.Name {
			m.Clients[i] = c.OpenWith(through, c.ClientOptions())       // the look goes another way
			if _, err := m.Clients[i].Status(t.Context()); err != nil { // it is connected before nothing comes back
				t.Fatal(err)
			}
		}
	}
	mute := func(e MemberEvent) {
		if !e.Done && e.Told == "" {
			line.Hold()
			time.AfterFunc(10500*time.Millisecond, line.Release)
		}
	}
	run := MemberRun{Timeout: patience, OnEvent: mute}
	report, err := ChangeMembers(t.Context(), m, PlanAdd(look(t, m), NewMember{Name: "d", PeerURLs: []string{"http://127.0.0.1:1"}}), run)
	if err != nil || report.Added == nil || len(report.List) != 4 {
		t.Fatalf("added: %+v, %v", report, err)
	}
	report, err = ChangeMembers(t.Context(), m, PlanRemove(look(t, m), found(t, look(t, m), report.Added.ID.String())), run)
	if err != nil || len(report.List) != 3 {
		t.Fatalf("removed: %+v, %v", report, err)
	}
}

// A learner that fell silent has its log still, as far as etcd knows: with a vote it would be a
// voter that is down, and of one voter more the quorum is lost. So it gets none, whether there is
// a way to it or only the leader knows of it.
func TestNoVoteForASilentLearner(t *testing.T) {
	for name, reachable := range map[string]bool{"with a way to it": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			c := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
			c.Fill(20, 100)
			learner := c.AddLearner()
			m := membersOf(c)
			plan := PlanPromote(look(t, m), found(t, look(t, m), learner.Name))
			if !reachable {
				m = m.without(m.Sources[1].Name)
			}
			learner.Stop()
			report, err := ChangeMembers(t.Context(), m, plan, MemberRun{Timeout: patience, Wait: 3 * time.Second})
			if !errors.Is(err, ErrUnready) || report.Finished {
				t.Errorf("%+v: %v", report, err)
			}
			if shape := ShapeOf(look(t, m)); shape != newShape(1, 1, 1) {
				t.Errorf("after it: %s", shape)
			}
		})
	}
}

// A promotion of which no answer came, but which was done, is told as done.
func TestPromotedWithoutAnAnswer(t *testing.T) {
	c := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
	learner := c.AddLearner()
	m := membersOf(c)
	line := etcdtest.NewLine(c.Members[0].Addr())
	defer line.Release()
	endpoint := c.Members[0].Endpoint()
	endpoint.Dial = line.Dial
	m.Clients[0] = c.OpenWith(endpoint, c.ClientOptions())
	if _, err := m.Clients[0].Status(t.Context()); err != nil { // it is connected before nothing comes back
		t.Fatal(err)
	}
	mute := func(e MemberEvent) {
		if strings.Contains(e.Told, "once more") {
			line.Hold()
		}
	}
	plan := PlanPromote(look(t, m), found(t, look(t, m), learner.Name))
	report, err := ChangeMembers(t.Context(), m, plan, MemberRun{Timeout: time.Second, OnEvent: mute})
	if !errors.Is(err, context.DeadlineExceeded) || report.Finished {
		t.Fatalf("%+v: %v", report, err)
	}
	if len(report.Done) != 1 || strings.Contains(report.Stands, "not") || len(report.List) != 2 || report.List[1].Learner {
		t.Errorf("%+v: %v", report, err)
	}
}

// darkened is a reader that is told to answer no more.
type darkened struct {
	*etcd.Client
	dark *atomic.Bool
}

func (u darkened) Status(ctx context.Context) (etcd.Status, error) {
	if u.dark.Load() {
		return etcd.Status{}, errors.New("dark")
	}
	return u.Client.Status(ctx)
}

// A step that was done, but after which nobody answers, is no step that was not done.
func TestDoneButNotSeen(t *testing.T) {
	c := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
	m := membersOf(c)
	var dark atomic.Bool
	m.Sources[0].Reader = darkened{m.Clients[0], &dark}
	plan := PlanAdd(look(t, m), NewMember{Name: "b", PeerURLs: []string{"http://127.0.0.1:1"}})
	report, err := ChangeMembers(t.Context(), m, plan, MemberRun{Timeout: patience, Healthy: time.Second, OnEvent: func(MemberEvent) { dark.Store(true) }})
	if !errors.Is(err, ErrUnready) || report.Finished || report.Added == nil || len(report.Done) != 1 || strings.Contains(report.Stands, "not") {
		t.Errorf("%+v: %v", report, err)
	}
	if want := []string{"a", ""}; !slices.Equal(want, namesOf(report.List)) {
		t.Errorf("the list is %+v, want %q", report.List, want)
	}
}

func namesOf(members []etcd.Member) (names []string) {
	for _, member := range members {
		names = append(names, member.Name)
	}
	return names
}

// A lost member that came back while somebody was asked is lost no more.
func TestReplacedCameBack(t *testing.T) {
	c := etcdtest.Start(t, 3, etcdtest.Options{Plain: true})
	m := membersOf(c)
	lost := c.Members[c.Follower()]
	lost.Stop()
	newcomer := NewMember{Name: lost.Name, PeerURLs: []string{lost.PeerURL}}
	overview := look(t, m)
	plan := PlanReplace(overview, found(t, overview, lost.Name), ReplaceOptions{With: newcomer})
	lost.Start()
	c.Leader()
	m = membersOf(c)
	report, err := ChangeMembers(t.Context(), m, plan, MemberRun{Timeout: patience})
	if !errors.Is(err, ErrUnready) || len(report.Done) != 0 || !strings.Contains(err.Error(), "answers again") {
		t.Errorf("%+v: %v", report, err)
	}
}

package maintain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// readyShare is how much of the leader's log a learner has to have before etcd makes a voter
// of it (server/v3 etcdserver, readyPercentThreshold).
const readyShare = 0.9

// MemberRun says how a plan is run. The zero value of a duration is its default.
type MemberRun struct {
	Timeout time.Duration // how long a member may take to answer; default 5s
	// Wait is how long a learner may take to start and to catch up; default 10m.
	Wait time.Duration
	// OnEvent is told what happens; may be nil.
	OnEvent func(MemberEvent)
}

// MemberEvent is told while a plan runs.
type MemberEvent struct {
	Number int // of the step, from 1
	Of     int
	Step   MemberStep
	Done   bool
	Waits  string // for what; empty where it doesn't
}

// MemberReport is what happened.
type MemberReport struct {
	Done  []MemberStep  `json:"done"`
	Added *etcd.Member  `json:"added,omitempty"`
	List  []etcd.Member `json:"members,omitempty"` // as it is at the end, where it could be read
	// After is what was seen at the end.
	After    *Shape `json:"after,omitempty"`
	Finished bool   `json:"finished"`
	// Stands is where it stands when it was not finished.
	Stands string `json:"stands,omitempty"`
}

// ChangeMembers runs a plan. Before each step the members are looked at again; the first thing
// that is not as it should be ends it, as the end of ctx does, between two steps: the report says
// where it stands.
func ChangeMembers(ctx context.Context, members Members, plan MemberPlan, run MemberRun) (MemberReport, error) {
	if len(plan.Refusals) > 0 {
		return MemberReport{}, asError(plan.Refusals)
	}
	if run.Timeout <= 0 {
		run.Timeout = defaultTimeout
	}
	if run.Wait <= 0 {
		run.Wait = 10 * time.Minute
	}
	c := &memberChange{MemberRun: run, members: members, plan: plan, list: slices.Clone(plan.Members), leader: plan.Leader}
	c.report.Done = []MemberStep{}
	for i, step := range plan.Steps {
		if err := c.turn(ctx, i, step); err != nil {
			c.report.Stands = c.stands(i)
			c.close(ctx)
			return c.report, fmt.Errorf("step %d of %d, %s: %w", i+1, len(plan.Steps), step, err)
		}
		c.report.Done = append(c.report.Done, step)
	}
	c.report.Finished = true
	c.close(ctx)
	return c.report, nil
}

// memberChange is a plan that runs.
type memberChange struct {
	MemberRun
	members Members
	plan    MemberPlan
	list    []etcd.ID // as it must be, sorted
	leader  etcd.ID   // as it must be
	report  MemberReport
}

func (c *memberChange) tell(i int, done bool, waits string) {
	if c.OnEvent != nil {
		c.OnEvent(MemberEvent{i + 1, len(c.plan.Steps), c.plan.Steps[i], done, waits})
	}
}

// stands is where it stands when step i could not be finished.
func (c *memberChange) stands(i int) string {
	var done []string
	for _, step := range c.report.Done {
		done = append(done, step.String())
	}
	text := "nothing was changed"
	if len(done) > 0 {
		text = "done: " + strings.Join(done, "; ")
	}
	for _, step := range c.plan.Steps[i:] {
		text += "; not done: " + step.String()
	}
	return text
}

// close looks at the members at the end, also of a run that was interrupted.
func (c *memberChange) close(ctx context.Context) {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*c.Timeout)
	defer cancel()
	overview := etcd.Observe(bounded, c.members.Sources, c.Timeout)
	for _, view := range overview.Members {
		if view.Member != nil {
			c.report.List = append(c.report.List, *view.Member)
		}
	}
	if len(c.report.List) > 0 {
		shape := ShapeOf(overview)
		c.report.After = &shape
	}
}

// turn is a step, if all is still as it was planned.
func (c *memberChange) turn(ctx context.Context, i int, step MemberStep) error {
	overview := etcd.Observe(ctx, c.members.Sources, c.Timeout)
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := errors.Join(c.asPlanned(overview), asError(again(overview, step))); err != nil {
		return err
	}
	c.tell(i, false, "")
	var err error
	switch step.Action {
	case ActionMove:
		err = c.move(ctx, overview, step)
	case ActionAdd:
		err = c.add(ctx, overview, step)
	case ActionRemove:
		err = c.remove(ctx, overview, step)
	default:
		err = c.promote(ctx, i, step)
	}
	if err == nil {
		c.tell(i, true, "")
	}
	return err
}

// again plans a step by what is seen now: why it must not be done any more.
func again(overview etcd.Overview, step MemberStep) []Refusal {
	p := newMemberPlanner(overview)
	switch view, ok := find(overview, step.ID); {
	case step.Action == ActionAdd:
		p.add(NewMember{Name: step.Member, PeerURLs: step.PeerURLs, Voter: !step.Learner})
	case step.Action == ActionRemove && ok && view.Member != nil:
		p.remove(view)
	}
	return p.plan.Refusals
}

// asPlanned wants a quorum, the same members, and, where the plan goes by it, the same leader.
func (c *memberChange) asPlanned(overview etcd.Overview) error {
	switch has := overview.Verdict.HasQuorum; {
	case overview.Disagree:
		return fmt.Errorf("%w: the members do not agree who is a member", ErrUnready)
	case has == nil || !*has:
		return fmt.Errorf("%w: there is no quorum, or none was seen", ErrUnready)
	case !slices.Equal(memberIDs(overview), c.list):
		return fmt.Errorf("%w: its members are others than when the plan was made", ErrUnready)
	}
	leader, ok := leaderOf(overview)
	switch {
	case !ok:
		return fmt.Errorf("%w: no member, or more than one, calls itself the leader", ErrUnready)
	case c.moves() && leader.ID() != c.leader:
		return fmt.Errorf("%w: the leader has changed to %s", ErrUnready, nameOf(leader))
	}
	return nil
}

// moves: the plan moves the leadership, so it goes by who leads.
func (c *memberChange) moves() bool {
	return slices.ContainsFunc(c.plan.Steps, func(s MemberStep) bool { return s.Action == ActionMove })
}

// leads is a client of the leader.
func (c *memberChange) leads(overview etcd.Overview) (*etcd.Client, error) {
	leader, ok := leaderOf(overview)
	if !ok {
		return nil, fmt.Errorf("%w: no member, or more than one, calls itself the leader", ErrUnready)
	}
	client := c.members.client(leader)
	if client == nil {
		return nil, fmt.Errorf("%w: there is no way to the leader, %s", ErrUnready, nameOf(leader))
	}
	return client, nil
}

// ask bounds a call. What was sent may have been done although no answer came: who asked to
// stop gets its end.
func (c *memberChange) ask(ctx context.Context, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(c.Timeout, 10*time.Second))
	defer cancel()
	return do(ctx)
}

func (c *memberChange) move(ctx context.Context, overview etcd.Overview, step MemberStep) error {
	client, err := c.leads(overview)
	if err != nil {
		return err
	}
	if state := raftState(ctx, client, step.ToID, c.Timeout); state != "" && state != "StateReplicate" {
		return fmt.Errorf("%w: to the leader, %s is in %s", ErrUnready, step.To, state)
	}
	if err := c.ask(ctx, func(ctx context.Context) error { return client.MoveLeader(ctx, step.ToID) }); err != nil {
		return err
	}
	c.leader = step.ToID
	return c.await(ctx, c.asPlanned)
}

func (c *memberChange) add(ctx context.Context, overview etcd.Overview, step MemberStep) error {
	client, err := c.leads(overview)
	if err != nil {
		return err
	}
	var id etcd.ID
	err = c.ask(ctx, func(ctx context.Context) (err error) { id, err = client.AddMember(ctx, step.PeerURLs, step.Learner); return err })
	if err != nil {
		return err
	}
	c.report.Added = &etcd.Member{ID: id, Name: step.Member, PeerURLs: step.PeerURLs, Learner: step.Learner}
	c.list = slices.Sorted(slices.Values(append(c.list, id)))
	return c.await(ctx, c.asPlanned)
}

func (c *memberChange) remove(ctx context.Context, overview etcd.Overview, step MemberStep) error {
	if view, ok := find(overview, step.ID); !ok || view.ID() == c.leaderID(overview) {
		return fmt.Errorf("%w: %s leads", ErrUnready, step.Member)
	}
	client, err := c.leads(overview)
	if err != nil {
		return err
	}
	if err := c.ask(ctx, func(ctx context.Context) error { return client.RemoveMember(ctx, step.ID) }); err != nil {
		return err
	}
	c.list = slices.DeleteFunc(c.list, func(id etcd.ID) bool { return id == step.ID })
	return c.await(ctx, c.asPlanned)
}

func (c *memberChange) leaderID(overview etcd.Overview) etcd.ID {
	leader, _ := leaderOf(overview)
	return leader.ID()
}

// await looks until all is as want wants it, for at most a minute. Who asked to stop gets it too:
// the step was done.
func (c *memberChange) await(ctx context.Context, want func(etcd.Overview) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), defaultHealthy)
	defer cancel()
	for {
		err := want(etcd.Observe(ctx, c.members.Sources, c.Timeout))
		if err == nil {
			return nil
		}
		if !pause(ctx, eachPoll) {
			return fmt.Errorf("it is done, but not as it should be after %s: %w", defaultHealthy, err)
		}
	}
}

// promote waits until the learner has started and is in step, makes a voter of it, and sees it
// well.
func (c *memberChange) promote(ctx context.Context, i int, step MemberStep) error {
	waiting, cancel := context.WithTimeout(ctx, c.Wait)
	defer cancel()
	for {
		waits, err := c.tryPromote(waiting, step)
		switch {
		case err != nil && ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return err
		case waits == "":
			return c.await(ctx, func(overview etcd.Overview) error { return c.votes(overview, step.ID) })
		}
		c.tell(i, false, waits)
		if !pause(waiting, time.Second) {
			if err := ctx.Err(); err != nil {
				return err
			}
			return fmt.Errorf("%w: after %s it is still a learner: %s", ErrUnready, c.Wait, waits)
		}
	}
}

// votes: the member is a healthy voter.
func (c *memberChange) votes(overview etcd.Overview, id etcd.ID) error {
	view, ok := find(overview, id)
	switch {
	case !ok || view.Member == nil:
		return fmt.Errorf("%w: %s is in the list no more", ErrUnready, id)
	case view.Member.Learner:
		return fmt.Errorf("%w: it is a learner still", ErrUnready)
	case view.Source != "" && !view.Healthy:
		return fmt.Errorf("%w: it is not healthy%s", ErrUnready, because(view))
	}
	return c.asPlanned(overview)
}

// tryPromote promotes the learner when it is in step; else it says what is waited for.
func (c *memberChange) tryPromote(ctx context.Context, step MemberStep) (waits string, err error) {
	overview := etcd.Observe(ctx, c.members.Sources, c.Timeout)
	if ctx.Err() != nil {
		return "time ran out", nil
	}
	if err := c.asPlanned(overview); err != nil {
		return err.Error(), nil // a learner that starts, or an election, may be seen for a moment
	}
	view, ok := find(overview, step.ID)
	if !ok || view.Member == nil {
		return "", fmt.Errorf("%w: %s is in the list no more", ErrUnready, step.Member)
	}
	if view.Member.Name == "" {
		return "it is not started", nil
	}
	client, err := c.leads(overview)
	if err != nil {
		return "", err
	}
	share, known := c.share(ctx, client, view)
	if known && share < readyShare {
		return fmt.Sprintf("it has %.0f%% of the leader's log", 100*share), nil
	}
	err = c.ask(ctx, func(ctx context.Context) error { return client.PromoteMember(ctx, step.ID) })
	if errors.Is(err, rpctypes.ErrMemberLearnerNotReady) {
		return "etcd says that it is not in step yet", nil
	}
	return "", err
}

// share is how much of the leader's log a learner has: as the leader tells, else by what it
// says itself.
func (c *memberChange) share(ctx context.Context, leader *etcd.Client, view etcd.MemberView) (share float64, known bool) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	if page, err := leader.Page(ctx, "/debug/vars"); err == nil {
		if vars, err := page.Vars(); err == nil && vars.Raft.Commit > 0 {
			return float64(vars.Raft.Progress[view.Member.ID].Match) / float64(vars.Raft.Commit), true
		}
	}
	if view.Status == nil || view.Lag == nil {
		return 0, false
	}
	return float64(view.Status.RaftIndex) / float64(view.Status.RaftIndex+*view.Lag), true
}

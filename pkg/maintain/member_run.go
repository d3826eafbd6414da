package maintain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// MemberRun says how a plan is run. The zero value of a duration is its default.
type MemberRun struct {
	Timeout time.Duration // how long a member may take to answer; default 5s
	// Wait is how long a learner may take to start and to catch up; default 10m.
	Wait time.Duration
	// Healthy is how long all may take to be as they should after a step; default 1m.
	Healthy time.Duration
	// OnEvent is told what happens; may be nil.
	OnEvent func(MemberEvent)
}

// MemberEvent is told while a plan runs.
type MemberEvent struct {
	Number int // of the step, from 1
	Of     int
	Step   MemberStep
	Done   bool
	Told   string // how far it is; empty where it begins or ends
}

// MemberReport is what happened.
type MemberReport struct {
	Done  []MemberStep  `json:"done"`
	Added *etcd.Member  `json:"added,omitempty"`
	List  []etcd.Member `json:"members,omitempty"` // as it is at the end, as far as it is known
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
	if run.Healthy <= 0 {
		run.Healthy = defaultHealthy
	}
	c := &memberChange{MemberRun: run, members: members, plan: plan, list: slices.Clone(plan.Members), leader: plan.Leader}
	c.report.Done = []MemberStep{}
	for i, step := range plan.Steps {
		if err := c.turn(ctx, i, step); err != nil {
			c.broke(ctx)
			return c.report, fmt.Errorf("step %d of %d, %s: %w", i+1, len(plan.Steps), step, err)
		}
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
	list    []etcd.ID     // as it must be, sorted
	leader  etcd.ID       // as it must be
	known   []etcd.Member // the list as it was last seen, and what was done since
	asked   bool          // etcd was asked for the step that is under way, and has not answered
	ran     bool          // the learner that is promoted did, when it was last looked at
	report  MemberReport
}

func (c *memberChange) tell(i int, done bool, text string) {
	if c.OnEvent != nil {
		c.OnEvent(MemberEvent{i + 1, len(c.plan.Steps), c.plan.Steps[i], done, text})
	}
}

// turn is a step, if all is still as it was planned.
func (c *memberChange) turn(ctx context.Context, i int, step MemberStep) error {
	overview := etcd.Observe(ctx, c.members.Sources, c.Timeout)
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := errors.Join(c.asPlanned(overview), asError(c.refusals(overview, i))); err != nil {
		return err
	}
	c.known = listOf(overview)
	c.tell(i, false, "")
	var err error
	switch step.Action {
	case ActionMove:
		err = c.move(ctx, overview, step)
	case ActionAdd:
		err = c.add(ctx, i, overview, step)
	case ActionRemove:
		err = c.remove(ctx, i, overview, step)
	default:
		err = c.promote(ctx, i, step)
	}
	if err == nil {
		c.tell(i, true, "")
	}
	return err
}

// refusals are why step i must not be done any more; what comes after a change of leadership is what
// that is for.
func (c *memberChange) refusals(overview etcd.Overview, i int) []Refusal {
	refusals := again(overview, c.plan.Steps[i])
	if c.plan.Steps[i].Action == ActionMove && i+1 < len(c.plan.Steps) {
		refusals = append(refusals, again(overview, c.plan.Steps[i+1])...)
	}
	return refusals
}

// again plans a step by what is seen now: why it must not be done any more.
func again(overview etcd.Overview, step MemberStep) []Refusal {
	p := newMemberPlanner(overview)
	switch view, ok := find(overview, step.ID); {
	case step.Action == ActionMove:
		if to, ok := find(overview, step.ToID); !ok || !fitToLead(to) {
			p.refuse("kubectl etcd status", "%s is no healthy voter in step with the others any more%s", step.To, because(to))
		}
	case step.Action == ActionAdd:
		p.add(NewMember{Name: step.Member, PeerURLs: step.PeerURLs, Voter: !step.Learner})
	case step.Action == ActionRemove && ok && view.Member != nil:
		if step.Lost && view.Status != nil {
			p.refuse("kubectl etcd status", "%s answers again: it is not lost", step.Member)
		}
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
	err := do(ctx)
	c.asked = err != nil && unanswered(err)
	return err
}

// connected is for how long etcd wants its voters to be connected before it changes the list
// (server/v3 etcdserver, HealthInterval), and some more.
const connected = 15 * time.Second

// askUntilConnected asks again while etcd says that its voters have not been connected for long
// enough, as after one has started or got its vote.
func (c *memberChange) askUntilConnected(ctx context.Context, i int, do func(ctx context.Context) error) error {
	for began := time.Now(); ; {
		err := c.ask(ctx, do)
		if !errors.Is(err, rpctypes.ErrUnhealthy) || time.Since(began) > connected {
			return err
		}
		c.tell(i, false, "etcd says that its voters are not connected, or not for five seconds yet")
		if !pause(ctx, time.Second) {
			return ctx.Err()
		}
	}
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
	c.did(step)
	return c.await(ctx, c.asPlanned)
}

func (c *memberChange) add(ctx context.Context, i int, overview etcd.Overview, step MemberStep) error {
	client, err := c.leads(overview)
	if err != nil {
		return err
	}
	var id etcd.ID
	err = c.askUntilConnected(ctx, i, func(ctx context.Context) (err error) {
		id, err = client.AddMember(ctx, step.PeerURLs, step.Learner)
		return err
	})
	if err != nil {
		if id = c.came(ctx, step); id == 0 {
			return err
		}
	}
	c.added(step, id)
	c.did(step)
	return c.await(ctx, c.asPlanned)
}

func (c *memberChange) remove(ctx context.Context, i int, overview etcd.Overview, step MemberStep) error {
	view, ok := find(overview, step.ID)
	if !ok || view.ID() == c.leaderID(overview) {
		return fmt.Errorf("%w: %s leads", ErrUnready, step.Member)
	}
	client, err := c.leads(overview)
	if err != nil {
		return err
	}
	err = c.askUntilConnected(ctx, i, func(ctx context.Context) error { return client.RemoveMember(ctx, step.ID) })
	if err != nil && !c.went(ctx, step.ID) {
		return err
	}
	c.list = slices.DeleteFunc(c.list, func(id etcd.ID) bool { return id == step.ID })
	c.known = slices.DeleteFunc(c.known, func(m etcd.Member) bool { return m.ID == step.ID })
	c.did(step)
	c.members = c.members.without(view.Source) // it ends; asked meanwhile, it panics (server/v3 membership, IsLocalMemberLearner)
	return c.await(ctx, c.asPlanned)
}

// came is the ID of the member that a call added of which no answer came; 0: it did not.
func (c *memberChange) came(ctx context.Context, step MemberStep) etcd.ID {
	for _, member := range c.look(ctx) {
		if member.Name == "" && !slices.Contains(c.list, member.ID) && slices.Equal(sorted(member.PeerURLs), sorted(step.PeerURLs)) {
			return member.ID
		}
	}
	return 0
}

// went tells that a call removed the member of which no answer came.
func (c *memberChange) went(ctx context.Context, id etcd.ID) bool {
	list := c.look(ctx)
	return len(list) > 0 && !slices.ContainsFunc(list, func(m etcd.Member) bool { return m.ID == id })
}

// look is the member list, also for who asked to stop; nothing: nobody tells.
func (c *memberChange) look(ctx context.Context) []etcd.Member {
	_, list, _ := etcd.AnyMembers(context.WithoutCancel(ctx), c.members.Sources, c.Timeout)
	return list
}

func (c *memberChange) leaderID(overview etcd.Overview) etcd.ID {
	leader, _ := leaderOf(overview)
	return leader.ID()
}

// await looks until all is as want wants it, for at most Healthy. Who asked to stop gets it too:
// the step was done.
func (c *memberChange) await(ctx context.Context, want func(etcd.Overview) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.Healthy)
	defer cancel()
	for {
		err := want(etcd.Observe(ctx, c.members.Sources, c.Timeout))
		if err == nil {
			return nil
		}
		if !pause(ctx, eachPoll) {
			return fmt.Errorf("it is done, but not as it should be after %s: %w", c.Healthy, err)
		}
	}
}

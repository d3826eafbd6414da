package maintain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// Actions of a change of members; ActionMove is one too.
const (
	ActionAdd     Action = "add"
	ActionPromote Action = "promote"
	ActionRemove  Action = "remove"
)

// most is the largest number of voters that makes sense: each write waits for most of them
// (etcd's FAQ, "What is maximum cluster size?").
const most = 7

// MemberStep is one change of the member list, or of who leads.
type MemberStep struct {
	Action   Action   `json:"action"`
	Member   string   `json:"member"`
	ID       etcd.ID  `json:"id,omitzero"` // not with ActionAdd: etcd chooses it
	PeerURLs []string `json:"peerURLs,omitempty"`
	Learner  bool     `json:"learner,omitempty"` // with ActionAdd: without a vote
	Lost     bool     `json:"lost,omitempty"`    // with ActionRemove: only while it does not answer
	To       string   `json:"to,omitempty"`      // with ActionMove
	ToID     etcd.ID  `json:"toID,omitzero"`
}

// String is the step in a few words.
func (s MemberStep) String() string {
	switch s.Action {
	case ActionMove:
		return "move the leadership from " + s.Member + " to " + s.To
	case ActionAdd:
		kind := "voter"
		if s.Learner {
			kind = "learner"
		}
		return fmt.Sprintf("add %s as a %s, at %s", s.Member, kind, strings.Join(s.PeerURLs, ", "))
	case ActionPromote:
		return "promote learner " + s.Member + " to a voter"
	}
	return fmt.Sprintf("remove %s (%s)", s.Member, s.ID)
}

// MemberPlan is what would be changed, in order. With Refusals nothing is.
type MemberPlan struct {
	Steps    []MemberStep `json:"steps"`
	Before   Shape        `json:"before"`
	After    Shape        `json:"after"`
	Refusals []Refusal    `json:"refusals,omitempty"`
	Warnings []string     `json:"warnings,omitempty"`
	Members  []etcd.ID    `json:"members"` // of the list that it was made by, sorted
	Leader   etcd.ID      `json:"leader,omitzero"`
	// There is the member that was asked for, already in the list and never started.
	There *etcd.Member `json:"there,omitempty"`
}

// Empty tells that there is nothing to change.
func (p MemberPlan) Empty() bool { return len(p.Steps) == 0 }

// NewMember is one that is to be added.
type NewMember struct {
	Name     string
	PeerURLs []string
	Voter    bool // at once, without having been a learner
}

// PlanAdd adds a member.
func PlanAdd(overview etcd.Overview, member NewMember) MemberPlan {
	p := newMemberPlanner(overview)
	p.steady()
	p.add(member)
	if p.plan.There != nil { // nothing is changed: once it is started, there may be quorum again
		p.plan.Refusals = nil
	}
	return p.done()
}

// PlanPromote makes a voter of a learner.
func PlanPromote(overview etcd.Overview, view etcd.MemberView) MemberPlan {
	p := newMemberPlanner(overview)
	p.steady()
	if !isLearner(view) {
		p.refuse("kubectl etcd member list", "%s is a voter already", calledAs(view))
		return p.done()
	}
	switch {
	case view.Member.Name == "":
		p.warn("%s was not started yet: that is waited for; what to start it with, once more: kubectl etcd member add NAME --peer-urls %s",
			calledAs(view), strings.Join(view.Member.PeerURLs, ","))
	case view.Status == nil:
		p.warn("%s does not answer: what the leader knows of it counts%s", calledAs(view), because(view))
	}
	p.plan.Steps = append(p.plan.Steps, MemberStep{Action: ActionPromote, Member: calledAs(view), ID: view.Member.ID})
	p.after(1, 1, -1)
	if left := p.plan.After; left.CanLose < 0 {
		p.refuse("bring the others back first, or remove the one that is lost: kubectl etcd member remove NAME", "with %s as a voter there would be no quorum: %s", calledAs(view), left)
	}
	p.warnOfNumber()
	return p.done()
}

// PlanRemove takes a member out, after moving the leadership away from it.
func PlanRemove(overview etcd.Overview, view etcd.MemberView) MemberPlan {
	p := newMemberPlanner(overview)
	p.steady()
	p.remove(view)
	p.warnOfNumber()
	return p.done()
}

// PlanMove moves the leadership, to whoever is fittest where to is nil.
func PlanMove(overview etcd.Overview, to *etcd.MemberView) MemberPlan {
	p := newMemberPlanner(overview)
	p.steady()
	switch {
	case len(p.plan.Refusals) > 0: // from whom is not known
	case to == nil:
		p.moveAway(p.leader)
	case to.ID() == p.plan.Leader:
		// it leads: there is nothing to do
	case !fitToLead(*to):
		p.refuse("kubectl etcd status", "%s can't lead: it is no healthy voter in step with the others%s", calledAs(*to), because(*to))
	default:
		p.move(p.leader, *to)
	}
	return p.done()
}

// ReplaceOptions say how a member is replaced.
type ReplaceOptions struct {
	With NewMember // who comes in its place; without PeerURLs nobody: kubeadm adds it by itself
	// Force takes one that answers.
	Force bool
}

// PlanReplace removes a member that is lost, then adds the new one: in this order, for one that
// is down blocks additions on older servers, and counts against the quorum until it is gone
// (etcd's FAQ, "Should I add a member before removing an unhealthy member?").
func PlanReplace(overview etcd.Overview, view etcd.MemberView, options ReplaceOptions) MemberPlan {
	p := newMemberPlanner(overview)
	p.steady()
	if view.Status != nil && !options.Force {
		p.refuse("--force, where it is to go all the same; a member that only lags or restarts needs no replacement: kubectl etcd status",
			"%s answers: it is not lost", calledAs(view))
	}
	if options.With.Name == "" && len(options.With.PeerURLs) > 0 {
		p.refuse("--name NAME", "%s was never started, so that its name is not known", calledAs(view))
	}
	p.remove(view)
	if last := len(p.plan.Steps) - 1; last >= 0 {
		p.plan.Steps[last].Lost = !options.Force
	}
	if len(options.With.PeerURLs) > 0 {
		p.list = slices.DeleteFunc(slices.Clone(p.list), func(v etcd.MemberView) bool { return v.Member.ID == view.Member.ID })
		p.add(options.With)
	}
	return p.done()
}

// memberPlanner plans.
type memberPlanner struct {
	overview etcd.Overview
	list     []etcd.MemberView // of the member list, as it is when the next step comes
	leader   etcd.MemberView
	plan     MemberPlan
}

func newMemberPlanner(overview etcd.Overview) *memberPlanner {
	p := &memberPlanner{overview: overview, plan: MemberPlan{Steps: []MemberStep{}, Members: memberIDs(overview)}}
	for _, view := range overview.Members {
		if view.Member != nil {
			p.list = append(p.list, view)
		}
	}
	p.plan.Before = ShapeOf(overview)
	p.plan.After = p.plan.Before
	if leader, ok := leaderOf(overview); ok && leader.Member != nil {
		p.leader, p.plan.Leader = leader, leader.ID()
	}
	return p
}

func (p *memberPlanner) refuse(instead, format string, args ...any) {
	p.plan.Refusals = append(p.plan.Refusals, Refusal{fmt.Sprintf(format, args...), instead})
}

func (p *memberPlanner) warn(format string, args ...any) {
	p.plan.Warnings = append(p.plan.Warnings, fmt.Sprintf(format, args...))
}

// after puts what a step changes into the shape.
func (p *memberPlanner) after(voters, healthy, learners int) {
	a := p.plan.After
	p.plan.After = newShape(a.Voters+voters, a.Healthy+healthy, a.Learners+learners)
}

func (p *memberPlanner) done() MemberPlan {
	if len(p.plan.Refusals) > 0 {
		p.plan.Steps, p.plan.After = []MemberStep{}, p.plan.Before
	}
	return p.plan
}

// steady refuses where no change of members can be agreed on, or who is a member isn't sure.
func (p *memberPlanner) steady() {
	const lost = "start a member more, or, where none can be had: kubectl etcd help recovery"
	switch has := p.overview.Verdict.HasQuorum; {
	case p.overview.Disagree:
		p.refuse("kubectl etcd status", "the members do not agree who is a member")
	case len(p.list) == 0:
		p.refuse("kubectl etcd status", "who is a member is not known: none could be asked")
	case has == nil:
		p.refuse("kubectl etcd status", "whether there is quorum is not known")
	case !*has:
		p.refuse(lost, "quorum is lost: %s", p.plan.Before)
	case p.plan.Leader == 0:
		p.refuse("kubectl etcd status, and --endpoints of every member where it was given some", "no member that could be asked is the leader, or more than one is")
	}
	if len(alarmsOf(p.overview, Corrupt)) > 0 {
		p.warn("alarm CORRUPT is raised: a member's data differs from the others'; a new one gets the leader's")
	}
	if len(alarmsOf(p.overview, NoSpace)) > 0 {
		p.warn("alarm NOSPACE is raised: etcd takes no writes; kubectl etcd alarm disarm --dry-run says what comes first")
	}
}

// remove plans that a member leaves.
func (p *memberPlanner) remove(view etcd.MemberView) {
	name := calledAs(view)
	if len(p.list) == 1 {
		p.refuse("to end this etcd, stop it", "%s is the only member", name)
		return
	}
	if !isLearner(view) {
		healthy := 0
		if view.Healthy {
			healthy = 1
		}
		p.after(-1, -healthy, 0)
		if left := p.plan.After; left.CanLose < 0 {
			p.refuse("bring the others back first: kubectl etcd status", "without %s there would be no quorum: %s", name, left)
		}
	} else {
		p.after(0, 0, -1)
	}
	if view.ID() == p.plan.Leader && p.plan.Leader != 0 {
		p.moveAway(view)
	}
	p.plan.Steps = append(p.plan.Steps, MemberStep{Action: ActionRemove, Member: name, ID: view.Member.ID, PeerURLs: view.Member.PeerURLs})
	p.warn("%s can't come back with the data that it has: its etcd ends, and what is in its data directory has to go before it may join again", name)
}

// moveAway plans that another than view leads.
func (p *memberPlanner) moveAway(view etcd.MemberView) {
	to, ok := fittest(p.overview, view.ID())
	if !ok {
		p.refuse("kubectl etcd status", "no voter is fit to take the leadership over from %s", nameOf(view))
		return
	}
	p.move(view, to)
}

func (p *memberPlanner) move(from, to etcd.MemberView) {
	p.plan.Steps = append(p.plan.Steps, MemberStep{
		Action: ActionMove, Member: calledAs(from), ID: from.ID(), To: calledAs(to), ToID: to.ID(),
	})
}

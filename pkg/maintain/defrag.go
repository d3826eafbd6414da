package maintain

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// DefragRun says how a plan is run. The zero value of a duration is its default.
type DefragRun struct {
	Timeout time.Duration // how long a member may take to answer; default 5s
	// Healthy is how long a member may take to be well again after its turn; default 1m.
	Healthy time.Duration
	// Settle is waited between members; default none. Kubernetes' clients hold leases for about
	// that long.
	Settle time.Duration
	// Busy tells what a member must not be disturbed in; asked right before its turn. May be nil.
	Busy func(ctx context.Context, id etcd.ID) []string
	// longest is how long a member may take at the least before it is left in its turn; default 1m.
	longest time.Duration
	renewal time.Duration // of the lock; default 20s
	// OnEvent is told what happens; may be nil.
	OnEvent func(DefragEvent)
}

// Phase is where a step is.
type Phase string

// Phases of a step.
const (
	PhaseBegins    Phase = "begins"
	PhaseWaits     Phase = "waits" // until all are well again
	PhaseSettles   Phase = "settles"
	PhaseUncalled  Phase = "can't be called off" // interrupted while a member is at it
	PhaseDone      Phase = "done"
	eachPoll             = 200 * time.Millisecond
	defaultTimeout       = 5 * time.Second
	defaultHealthy       = time.Minute
	defaultLongest       = time.Minute
)

// DefragEvent is told while a plan runs.
type DefragEvent struct {
	Phase  Phase
	Number int // of the step, from 1
	Of     int
	Step   DefragStep
	Member *DefragResult // with PhaseDone, of a member
}

// DefragResult is what a member's turn gave.
type DefragResult struct {
	Member    string        `json:"member"`
	Before    int64         `json:"before"` // bytes
	After     int64         `json:"after"`
	Reclaimed int64         `json:"reclaimed"`
	Pause     time.Duration `json:"pause"` // for how long it answered nothing
	// Stall is the longest that a linearizable read through another member took meanwhile,
	// and Through that member. Without another there is none.
	Stall   time.Duration `json:"stall,omitempty"`
	Through string        `json:"through,omitempty"`
	Failed  int           `json:"failedReads,omitempty"` // of these
}

// DefragReport is what happened.
type DefragReport struct {
	Members   []DefragResult `json:"members"`
	Reclaimed int64          `json:"reclaimed"` // bytes, of all members together
	// LongestStall is the longest of what others saw.
	LongestStall time.Duration `json:"longestStall"`
	Leader       string        `json:"leader"` // at the end, as far as it is known
	Moved        bool          `json:"leaderMoved"`
	Disarmed     []etcd.Alarm  `json:"disarmed,omitempty"`
	Unlocked     string        `json:"unlocked,omitempty"` // why another run could have begun meanwhile
	Duration     time.Duration `json:"duration"`
	Done         bool          `json:"done"`
	// Stands is where it stands when it was not done.
	Stands string `json:"stands,omitempty"`
}

// Defrag runs a plan, and keeps other runs away from the cluster meanwhile. The first thing that goes wrong ends it, between two members: the report
// says where it stands. When ctx ends it is the same, but for the member whose turn it is: that
// is waited for, for etcd can't be stopped in it.
func Defrag(ctx context.Context, members Members, plan DefragPlan, run DefragRun) (DefragReport, error) {
	if len(plan.Refusals) > 0 {
		return DefragReport{}, asError(plan.Refusals)
	}
	if run.Timeout <= 0 {
		run.Timeout = defaultTimeout
	}
	if run.Healthy <= 0 {
		run.Healthy = defaultHealthy
	}
	if run.longest <= 0 {
		run.longest = defaultLongest
	}
	if run.renewal <= 0 {
		run.renewal = lockRenewal
	}
	d := &defrag{DefragRun: run, members: members, plan: plan, leader: plan.Leader}
	d.report.Members = []DefragResult{}
	began := time.Now()
	defer func() { d.lock.free(ctx) }()
	for i, step := range plan.Steps {
		if err := d.turn(ctx, i, step); err != nil {
			d.report.Duration = time.Since(began)
			d.report.Stands = d.stands(i)
			return d.report, fmt.Errorf("step %d of %d, %s: %w", i+1, len(plan.Steps), describe(step), err)
		}
	}
	d.report.Done, d.report.Duration = true, time.Since(began)
	return d.report, nil
}

// defrag is a plan that runs.
type defrag struct {
	DefragRun
	members Members
	plan    DefragPlan
	leader  etcd.ID // as it must be
	report  DefragReport
	lock    *lock   // nil: there is none
	note    string  // where it stands with the member that it ended at
	speed   float64 // bytes a second that the slowest member so far made; 0: none had its turn
}

func (d *defrag) tell(phase Phase, i int, result *DefragResult) {
	if d.OnEvent != nil {
		d.OnEvent(DefragEvent{phase, i + 1, len(d.plan.Steps), d.plan.Steps[i], result})
	}
}

func describe(step DefragStep) string {
	switch step.Action {
	case ActionMove:
		return "move the leadership from " + step.Member + " to " + step.To
	case ActionDisarm:
		return "disarm NOSPACE"
	}
	return "defragment " + step.Member
}

// stands is where it stands when step i could not be finished.
func (d *defrag) stands(i int) string {
	text := fmt.Sprintf("%d of %d members are defragmented", len(d.report.Members), count(d.plan.Steps, ActionDefrag))
	if d.report.Moved {
		text += ", the leader is " + d.report.Leader
	}
	switch step := d.plan.Steps[i]; {
	case d.note != "":
		text += "; " + d.note
	case !d.had(step):
		text += "; not done: " + describe(step)
	}
	if left := len(d.plan.Steps) - i - 1; left > 0 {
		text += fmt.Sprintf("; %d more steps not begun", left)
	}
	return text
}

// had tells whether a member had its turn.
func (d *defrag) had(step DefragStep) bool {
	return step.Action == ActionDefrag && slices.ContainsFunc(d.report.Members, func(r DefragResult) bool { return r.Member == step.Member })
}

func count(steps []DefragStep, action Action) (n int) {
	for _, step := range steps {
		if step.Action == action {
			n++
		}
	}
	return n
}

package maintain

import (
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// DefragFacts are what a defragmentation is planned by.
type DefragFacts struct {
	At       time.Time
	Overview etcd.Overview
	Around   map[etcd.ID]Around
	Backup   Backup
	Locked   time.Duration // for how long another run holds the lock still; 0: none does
}

// Around is what is known around a member. The zero value: nothing.
type Around struct {
	// Liveness is for how long the kubelet lets it answer nothing; 0: no probe is known.
	Liveness time.Duration
	// DiskFree is what is left on the disk of its data directory, in bytes; nil: not known.
	DiskFree *int64
	// Speed is bytes of a database in use that it rewrites in a second, and SpeedFrom who says
	// so; 0: not known.
	Speed     float64
	SpeedFrom string
	// APIServers are those that reach etcd through this member alone; Ours: one of them is the
	// one that the caller talks to.
	APIServers []string
	Ours       bool
	// Busy is what it must not be disturbed in: "streams a snapshot"; Unseen is why that is not
	// known, empty where it is.
	Busy   []string
	Unseen string
}

// Backup is the newest moment that could be restored.
type Backup struct {
	Newest  time.Time
	Because string // why none is known; empty: Newest is
}

// Rule says when a member is worth it. The zero value is that every member is.
type Rule struct {
	MinFree          int64   // bytes free in the file
	MinFragmentation float64 // share of the file that is free
	MinQuotaUsage    float64 // share of the quota from which on half of MinFree is enough
}

// DefaultRule is what OpenShift's operator goes by (its defragcontroller), and, near the
// quota, etcd-defrag's users.
func DefaultRule() Rule { return Rule{MinFree: 100 << 20, MinFragmentation: 0.45, MinQuotaUsage: 0.8} }

// worth tells whether a member is, and by which numbers.
func (r Rule) worth(s DefragStep) bool {
	return s.Free >= r.MinFree && s.Fragmentation >= r.MinFragmentation ||
		s.QuotaUsage > r.MinQuotaUsage && s.Free > r.MinFree/2
}

// DefragOptions say how to plan.
type DefragOptions struct {
	Rule Rule
	// ByRule leaves out the members that are not worth it.
	ByRule bool
	// Force takes a cluster that has no member to spare.
	Force bool
	// Speed is what a disk rewrites in a second, as who runs this knows it; 0: not known.
	Speed float64
	// MaxPause is the longest pause that is borne; 0: what the liveness probes say.
	MaxPause time.Duration
}

// Action is what a step does.
type Action string

// Actions, in the order in which a plan has them.
const (
	ActionDefrag Action = "defrag"
	ActionMove   Action = "move-leader"
	ActionDisarm Action = "disarm"
)

// DefragStep is one step, of one member but for ActionDisarm.
type DefragStep struct {
	Action Action  `json:"action"`
	Member string  `json:"member,omitempty"`
	ID     etcd.ID `json:"id,omitzero"`
	Leader bool    `json:"leader,omitempty"` // it leads when the plan is made
	// To is who takes the leadership over.
	To   string  `json:"to,omitempty"`
	ToID etcd.ID `json:"toID,omitzero"`

	DBSize        int64         `json:"dbSize,omitempty"`      // bytes
	DBSizeInUse   int64         `json:"dbSizeInUse,omitempty"` // bytes; what the disk must have room for besides
	Free          int64         `json:"free,omitempty"`        // bytes; the expected gain
	Fragmentation float64       `json:"fragmentation,omitempty"`
	QuotaUsage    float64       `json:"quotaUsage,omitempty"`
	Pause         time.Duration `json:"pause,omitempty"` // for about how long it answers nothing
	PauseFrom     string        `json:"pauseFrom,omitempty"`
	// Limit is the longest pause that is borne: half of the time after which the kubelet ends
	// it, or what was given, whichever is less; 0: not known.
	Limit time.Duration `json:"limit,omitempty"`
	// speed is what Pause was reckoned with.
	speed float64
}

// reckon tells how long a step takes at a speed in bytes a second.
func (s DefragStep) reckon(speed float64) time.Duration {
	return shortestPause + time.Duration(float64(s.DBSizeInUse)/speed*float64(time.Second))
}

// SkippedMember is one that is left out.
type SkippedMember struct {
	Member string `json:"member"`
	Why    string `json:"why"`
}

// DefragPlan is what would be done, in order. With Refusals nothing is.
type DefragPlan struct {
	Steps    []DefragStep    `json:"steps"`
	Skipped  []SkippedMember `json:"skipped,omitempty"`
	Refusals []Refusal       `json:"refusals,omitempty"`
	Warnings []string        `json:"warnings,omitempty"`
	Gain     int64           `json:"gain"` // bytes, of all members together
	Leader   etcd.ID         `json:"leader,omitzero"`
	Members  []etcd.ID       `json:"members"` // of the list that it was made by, sorted
	Force    bool            `json:"force,omitempty"`
}

// Empty tells that there is nothing to do.
func (p DefragPlan) Empty() bool { return len(p.Steps) == 0 }

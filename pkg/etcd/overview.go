package etcd

import (
	"context"
	"time"
)

// Source is a member to look at and the way to do it.
type Source struct {
	Name   string // pod name or host:port
	Pod    string // empty without Kubernetes
	Node   string
	Quota  int64    // quota-backend-bytes from its settings; 0: unknown
	Peers  []string // its peer URLs, to find it in the member list when it doesn't answer
	Reader Reader
	Err    error // why there is no Reader
}

// Overview is what all members said, each at its own moment.
type Overview struct {
	At      time.Time    `json:"at"`
	Members []MemberView `json:"members"`
	// Disagree is true when members list different members or cluster IDs.
	Disagree bool    `json:"disagree,omitempty"`
	Verdict  Verdict `json:"verdict"`
}

// MemberView is one row: a member of the list, a pod that is in no list, or both.
type MemberView struct {
	Name   string   `json:"name"` // the member's name, else the source's
	Pod    string   `json:"pod,omitempty"`
	Node   string   `json:"node,omitempty"`
	Member *Member  `json:"member,omitempty"` // nil: it is in no member list that could be read
	Status *Status  `json:"status,omitempty"` // nil: it didn't answer
	Quota  int64    `json:"quota,omitempty"`  // bytes, from Status or settings, else etcd's default
	Alarms []string `json:"alarms,omitempty"`
	Lag    uint64   `json:"lag"` // raft entries behind the highest index seen
	Error  string   `json:"error,omitempty"`
}

// Level grades a verdict.
type Level string

// Levels, from well to worst.
const (
	LevelOK       Level = "ok"
	LevelWarning  Level = "warning"
	LevelCritical Level = "critical"
)

// Verdict is the answer in one line.
type Verdict struct {
	Level   Level    `json:"level"`
	Summary string   `json:"summary"` // "3 of 3 members healthy, quorum 2, can lose 1"
	Reasons []string `json:"reasons,omitempty"`
	Voters  int      `json:"voters"`
	Healthy int      `json:"healthy"`
	Quorum  int      `json:"quorum"`
	CanLose int      `json:"canLose"` // voters that may still fail before writes stop; negative: quorum is lost
}

// Observe asks every source in parallel, each with its own timeout, and puts the
// answers together. It never fails: what went wrong stands in the rows.
func Observe(ctx context.Context, sources []Source, timeout time.Duration) Overview {
	panic("etcd: internal error: not written yet")
}

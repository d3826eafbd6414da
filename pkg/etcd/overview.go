package etcd

import (
	"slices"
	"time"
)

// Source is a member to look at and the way to do it.
type Source struct {
	Name    string // pod name or host:port
	Pod     string // empty without Kubernetes
	Node    string
	Quota   int64    // quota-backend-bytes from its settings; 0: unknown, negative: none
	Peers   []string // its peer URLs, to find it in the member list when it doesn't answer
	Clients []string // its client URLs, likewise
	Reader  Reader
	Err     error // why there is no Reader
}

// Overview is what all members said, each at its own moment.
type Overview struct {
	At      time.Time    `json:"at"`
	Members []MemberView `json:"members"`
	// Alarms are those of no row: of the whole cluster (member 0), or of a member that
	// is in no list any more.
	Alarms []Alarm `json:"alarms,omitempty"`
	// Disagree is true when members list different members or cluster IDs.
	Disagree bool    `json:"disagree,omitempty"`
	Verdict  Verdict `json:"verdict"`
}

// MemberView is one row: a member of the list, a pod that is in no list, or both.
type MemberView struct {
	Name   string  `json:"name"` // the member's name, else the source's
	Pod    string  `json:"pod,omitempty"`
	Node   string  `json:"node,omitempty"`
	Member *Member `json:"member,omitempty"` // nil: it is in no member list that could be read
	Status *Status `json:"status,omitempty"` // nil: it didn't answer
	// Quota is in bytes, from Status or settings; of one that answers, else etcd's default.
	// 0: not known.
	Quota  int64    `json:"quota,omitempty"`
	Alarms []string `json:"alarms,omitempty"`
	Lag    *uint64  `json:"lag,omitempty"` // raft entries behind the highest index seen; nil: it didn't answer
	// Healthy: it answered, is started and in the list, knows a leader, has no CORRUPT
	// alarm, and a linearizable read through it came back (learners can't do that).
	Healthy bool `json:"healthy"`
	// Certificates are those of the connection to it; empty: it has no TLS, or through exec
	// they are not seen.
	Certificates []Certificate `json:"certificates,omitempty"`
	Error        string        `json:"error,omitempty"`
	// Err is what Error tells in few words, for errors.Is and errors.As.
	Err error `json:"-"`
	// Source is the name of the way to it; empty: there is none.
	Source string `json:"-"`
	// A linearizable read through it passed, or can't pass. Neither: it wasn't tried, or
	// didn't come back in time, which says nothing about etcd.
	passed, failed bool
}

// Leads tells whether the member calls itself the leader.
func (v MemberView) Leads() bool {
	return v.Status != nil && v.Status.Leader != 0 && v.Status.Leader == v.Status.MemberID
}

// ID is the member's ID, 0 when it is unknown.
func (v MemberView) ID() ID {
	switch {
	case v.Status != nil:
		return v.Status.MemberID
	case v.Member != nil:
		return v.Member.ID
	}
	return 0
}

func (v MemberView) learner() bool {
	return (v.Member != nil && v.Member.Learner) || (v.Status != nil && v.Status.Learner)
}

func (v MemberView) unstarted() bool { return v.Member != nil && v.Member.Name == "" }

// alarmsIn are the member's own. One whose ID is unknown has none: 0 is the cluster's.
func (v MemberView) alarmsIn(alarms map[ID][]string) []string {
	if v.ID() == 0 {
		return nil
	}
	return alarms[v.ID()]
}

func (v MemberView) has(alarm string) bool { return slices.Contains(v.Alarms, alarm) }

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
	// CanLose is how many voters may still fail before writes stop. Nil, and not in the
	// JSON, when quorum is lost or unknown.
	CanLose *int `json:"canLose,omitempty"`
	// HasQuorum: a linearizable read passed, whatever else is wrong. Nil when no voter could
	// be reached, or when a quorum of them answers and only their reads did not come back
	// in time: neither says that it is lost.
	HasQuorum *bool `json:"hasQuorum,omitempty"`
}

// Package etcd is a connected etcd cluster: one client per member, never one for all.
//
// It takes a Dial func and knows no Kubernetes. Its one idea: a member is asked
// by itself, with its own deadline, so that one dead member hides no other.
package etcd

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// Reader is what a look at a member needs. Client reads over gRPC, Ctl through
// an etcdctl that somebody else runs.
type Reader interface {
	Status(ctx context.Context) (Status, error)
	Members(ctx context.Context) ([]Member, error)
	Alarms(ctx context.Context) ([]Alarm, error)
}

// HealthReader is a Reader that can also tell whether the member takes part in the
// quorum: Health is a linearizable read, nil when it came through. A refusal for want
// of permission counts as through, since it went through consensus too.
type HealthReader interface {
	Reader
	Health(ctx context.Context) error
}

// ID is a member's or cluster's ID. Its text form is lower-case hex without leading zeros, as etcdctl prints it.
type ID uint64

func (id ID) String() string { return strconv.FormatUint(uint64(id), 16) }

// MarshalText gives the hex form; JSON has it as a string.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the hex form.
func (id *ID) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 16, 64)
	if err != nil {
		return fmt.Errorf("parse member ID %q: %w", text, err)
	}
	*id = ID(n)
	return nil
}

// Member is one entry of the member list.
type Member struct {
	ID         ID       `json:"id"`
	Name       string   `json:"name"` // empty: added but never started
	PeerURLs   []string `json:"peerURLs"`
	ClientURLs []string `json:"clientURLs,omitempty"`
	Learner    bool     `json:"learner"`
}

// Status is one member's view of itself at one moment.
type Status struct {
	ClusterID      ID            `json:"clusterID"`
	MemberID       ID            `json:"memberID"`
	Leader         ID            `json:"leader"` // 0: it knows none
	Learner        bool          `json:"learner"`
	Version        string        `json:"version"`        // "3.7.3"
	StorageVersion string        `json:"storageVersion"` // "3.7.0"; empty before 3.6
	Revision       int64         `json:"revision"`
	RaftTerm       uint64        `json:"raftTerm"`
	RaftIndex      uint64        `json:"raftIndex"`
	RaftApplied    uint64        `json:"raftApplied"`
	DBSize         int64         `json:"dbSize"`            // bytes
	DBSizeInUse    int64         `json:"dbSizeInUse"`       // bytes
	DBSizeQuota    int64         `json:"dbSizeQuota"`       // bytes; 0: unknown (before 3.6)
	Errors         []string      `json:"errors,omitempty"`  // the server's own words
	Latency        time.Duration `json:"latency,omitempty"` // of the call on an open connection; 0: not measured this way
	At             time.Time     `json:"at"`                // when the answer came
}

// Alarm is one raised alarm.
type Alarm struct {
	// MemberID is 0 for the whole cluster: etcd raises CORRUPT so when members differ and
	// it can't tell which one is wrong (server/v3 etcdserver, CompactHashCheck).
	MemberID ID     `json:"memberID"`
	Type     string `json:"type"` // "NOSPACE", "CORRUPT"
}

// Hash is an answer to HashKV.
type Hash struct {
	MemberID        ID     `json:"memberID"`
	Hash            uint32 `json:"hash"`
	HashRevision    int64  `json:"hashRevision"`
	CompactRevision int64  `json:"compactRevision"`
	Revision        int64  `json:"revision"` // the header's
}

// Contents is what a snapshot file holds (package restore reads it).
type Contents struct {
	Revision        int64  `json:"revision"`
	CompactRevision int64  `json:"compactRevision"`
	Keys            int64  `json:"keys"`    // live keys at Revision
	Records         int64  `json:"records"` // all key revisions, as etcdutl's "total keys"
	Hash            uint32 `json:"hash"`    // of the whole file, as `etcdutl snapshot status` prints it
	HashKV          uint32 `json:"hashKV"`  // at Revision, as a live member's HashKV answers
	StorageVersion  string `json:"storageVersion,omitempty"`
	Kubernetes      bool   `json:"kubernetes"` // it holds a Kubernetes key space
	// Partial: … but no namespaces, without which there is no Kubernetes. It is of a cluster
	// beside the main one, which holds the events alone, or the leases.
	Partial bool `json:"partial,omitempty"`
}

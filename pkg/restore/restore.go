// Package restore makes etcd data directories out of what was kept.
//
// Its one idea: verify, plan, then build beside the target and rename: a directory
// appears whole or not at all, and nothing that exists is ever written over.
package restore

import (
	"context"
	"errors"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

var (
	// ErrNotSnapshot: the file is no etcd snapshot at all.
	ErrNotSnapshot = errors.New("not an etcd snapshot")
	// ErrDamaged: it was one, but is truncated or changed.
	ErrDamaged = errors.New("snapshot is damaged")
	// ErrExists: a target exists already.
	ErrExists = errors.New("already exists")
)

// Snapshot is a verified snapshot file.
type Snapshot struct {
	Path     string        `json:"path"`
	Size     int64         `json:"size"`
	SHA256   string        `json:"sha256"`
	Contents etcd.Contents `json:"contents"`
	Members  []etcd.Member `json:"members"` // as the snapshot's own member list has them
	Alarms   []etcd.Alarm  `json:"alarms,omitempty"`
	Version  string        `json:"version"` // cluster version stored in it
}

// Open verifies path (its sha256, the database's structure, the revision chain's
// meta) and reads what it holds. Errors are ErrNotSnapshot or ErrDamaged, wrapped.
func Open(ctx context.Context, path string) (*Snapshot, error) {
	panic("restore: internal error: not written yet")
}

// Inspect is Open for backup.Options.Inspect.
func Inspect(ctx context.Context, path string) (etcd.Contents, error) {
	panic("restore: internal error: not written yet")
}

// Target is one member to make a data directory for.
type Target struct {
	Name     string   `json:"name"`
	PeerURLs []string `json:"peerURLs"`
	Dir      string   `json:"dir"` // the data directory: Dir/member/snap/db …
}

// DefaultBump is added to the highest known revision of a Kubernetes key space.
const DefaultBump = 1_000_000_000

// Options says what to make.
type Options struct {
	// Members are all members of the new cluster. Empty: those of the snapshot.
	Members []Target
	// Only is the member to build; empty: every one of them.
	Only string
	// OutDir gets a directory per member, where a Target names no Dir of its own.
	OutDir string
	// Bump is added to the highest known revision, and everything is marked compacted.
	// Negative: DefaultBump for a Kubernetes key space, else 0.
	Bump int64
	// HighestKnown is the highest revision known from elsewhere (the live cluster).
	HighestKnown int64
	// TargetVersion is the minor that shall run the data ("3.5"); empty: the snapshot's.
	TargetVersion string
	ClearAlarms   bool
	// ScratchDir holds the working copy; empty: beside the target.
	ScratchDir string
}

// Plan is what Run will do; it prints as JSON.
type Plan struct {
	Snapshot      Snapshot `json:"snapshot"`
	Members       []Target `json:"members"` // all of the new cluster
	Build         []Target `json:"build"`   // those that Run makes
	Token         string   `json:"token"`   // initial-cluster-token, unique to this plan
	Bump          int64    `json:"bump"`    // 0: revisions stay
	NewRevision   int64    `json:"newRevision"`
	TargetVersion string   `json:"targetVersion,omitempty"`
	ClearAlarms   bool     `json:"clearAlarms"`
	Warnings      []string `json:"warnings,omitempty"`
	DiskBytes     int64    `json:"diskBytes"` // peak need, all told
}

// NewPlan is pure but for looking whether targets exist.
func NewPlan(snapshot *Snapshot, options Options) (*Plan, error) {
	panic("restore: internal error: not written yet")
}

// Report is what Run did.
type Report struct {
	Plan     Plan          `json:"plan"`
	Built    []Built       `json:"built"`
	HashKV   uint32        `json:"hashKV"` // of the built data, before the bump
	Proven   bool          `json:"proven"` // HashKV of the result equals the snapshot's
	Duration time.Duration `json:"duration"`
}

// Built is one finished data directory.
type Built struct {
	Target
	Command []string `json:"command"` // the etcd command line that uses it, for a look or a single start
}

// Run carries out the plan. On an error nothing of it is left.
func Run(ctx context.Context, plan *Plan, onStep func(string)) (*Report, error) {
	panic("restore: internal error: not written yet")
}

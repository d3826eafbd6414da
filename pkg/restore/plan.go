package restore

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"time"
)

// Target is one member to make a data directory for.
type Target struct {
	Name     string   `json:"name"`
	PeerURLs []string `json:"peerURLs"`
	Dir      string   `json:"dir"` // the data directory: Dir/member/snap/db …
}

// DefaultBump is added to the highest known revision of a Kubernetes key space.
const DefaultBump = 1_000_000_000

// maxRevision leaves a cluster room to count on for good.
const maxRevision = math.MaxInt64 / 2

// Options says what to make.
type Options struct {
	// Members are all members of the new cluster. Empty: those of the snapshot.
	Members []Target
	// Only is the member to build; empty: every one of them.
	Only string
	// DataDir is Only's data directory, where Members names none.
	DataDir string
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
	// Token is the initial-cluster-token; empty: a new one that no other plan has. Members
	// that are built by several plans find each other only with one token.
	Token string
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
	ScratchDir    string   `json:"scratchDir,omitempty"`
	Warnings      []string `json:"warnings,omitempty"`
	DiskBytes     int64    `json:"diskBytes"` // peak need, all told
}

// NewPlan is pure but for the token and for looking whether targets exist. Errors are
// ErrExists and ErrMembers, wrapped, and those about options that contradict.
func NewPlan(snapshot *Snapshot, options Options) (*Plan, error) {
	p := &Plan{
		Snapshot: *snapshot, ClearAlarms: options.ClearAlarms, ScratchDir: options.ScratchDir,
		Token: options.Token, Warnings: append([]string(nil), snapshot.Warnings...),
	}
	if p.Token == "" {
		p.Token = newToken()
	}
	for _, step := range []func(Options) error{p.setMembers, p.setBuild, p.setRevision, p.setVersion} {
		if err := step(options); err != nil {
			return nil, err
		}
	}
	for _, target := range p.Build {
		if err := vacant(target.Dir); err != nil {
			return nil, fmt.Errorf("restore member %s: %w", target.Name, err)
		}
	}
	p.warnAboutOthers(options)
	p.warnAboutAlarms()
	p.DiskBytes = p.diskBytes()
	return p, nil
}

// newToken is unique by its random part; the time is for the reader.
func newToken() string {
	var b [4]byte
	rand.Read(b[:]) // never fails
	return "kubectl-etcd-" + time.Now().UTC().Format("20060102T150405Z") + "-" + hex.EncodeToString(b[:])
}

func (p *Plan) warn(format string, args ...any) {
	p.Warnings = append(p.Warnings, fmt.Sprintf(format, args...))
}

// setBuild chooses the members to build and where.
func (p *Plan) setBuild(options Options) error {
	for i := range p.Members {
		member := &p.Members[i]
		if options.Only != "" && member.Name != options.Only {
			continue
		}
		dir, err := directory(*member, options)
		if err != nil {
			return err
		}
		member.Dir = dir
		p.Build = append(p.Build, *member)
	}
	if len(p.Build) == 0 {
		return fmt.Errorf("%w: there is no %q among %s", ErrMembers, options.Only, strings.Join(names(p.Members), ", "))
	}
	return distinctDirs(p.Build)
}

// Complete says whether the plan makes every member of the new cluster.
func (p *Plan) Complete() bool { return len(p.Build) == len(p.Members) }

// warnAboutOthers: members that do not agree on token and revision are no cluster, or
// one whose members differ.
func (p *Plan) warnAboutOthers(options Options) {
	if p.Complete() || options.Token != "" {
		return
	}
	p.warn("only %s is made: the other members of the cluster must be made from this same file, with the same token (%s) and up to the same revision (%d)", options.Only, p.Token, p.NewRevision)
}

// directory is where a member goes, as an absolute path.
func directory(member Target, options Options) (string, error) {
	dir := member.Dir
	switch {
	case dir != "":
	case options.DataDir != "" && options.Only == member.Name:
		dir = options.DataDir
	case options.OutDir != "":
		// The name may come from the file: it must not lead out of OutDir.
		if !filepath.IsLocal(member.Name) || strings.ContainsAny(member.Name, `/\`) || member.Name == "." {
			return "", fmt.Errorf("%w: the name %q can't be that of a directory: give one for it", ErrMembers, member.Name)
		}
		dir = filepath.Join(options.OutDir, member.Name)
	default:
		return "", fmt.Errorf("restore member %s: no directory to put it into", member.Name)
	}
	return filepath.Abs(dir)
}

func distinctDirs(targets []Target) error {
	seen := map[string]string{}
	for _, t := range targets {
		if other, ok := seen[t.Dir]; ok {
			return fmt.Errorf("%w: %s and %s have the same directory %s", ErrMembers, other, t.Name, t.Dir)
		}
		seen[t.Dir] = t.Name
	}
	return nil
}

// setRevision decides by how much revisions go up. Clients remember revisions, and a
// watch from one that the restored cluster has not reached yet is silently accepted and
// misses everything up to it (kubernetes/kubernetes#107457); from a compacted one it is
// refused, and the client reads all anew.
func (p *Plan) setRevision(options Options) error {
	contents := p.Snapshot.Contents
	p.Bump = options.Bump
	if p.Bump < 0 {
		p.Bump = 0
		if contents.Kubernetes {
			p.Bump = DefaultBump
		}
	}
	p.NewRevision = contents.Revision
	if p.Bump == 0 {
		if options.HighestKnown > contents.Revision {
			p.warn("revisions go back from %d to %d: clients that are not restarted miss changes", options.HighestKnown, contents.Revision)
		}
		return nil
	}
	highest := max(contents.Revision, options.HighestKnown)
	if p.Bump > maxRevision || highest > maxRevision-p.Bump {
		return fmt.Errorf("bump revision %d by %d: the result is beyond what etcd can count on from", highest, p.Bump)
	}
	p.NewRevision = highest + p.Bump
	return nil
}

func (p *Plan) warnAboutAlarms() {
	if len(p.Snapshot.Alarms) == 0 || p.ClearAlarms {
		return
	}
	var kinds []string
	for _, alarm := range p.Snapshot.Alarms {
		kinds = append(kinds, alarm.Type)
	}
	p.warn("the snapshot was taken under an alarm (%s), and the restored cluster starts with it: it refuses writes until the alarm is cleared", strings.Join(kinds, ", "))
}

const (
	walBytes    = 64 << 20 // etcd preallocates a segment (wal.SegmentSizeBytes)
	growthBytes = 16 << 20 // bbolt grows a file by so much (common.DefaultAllocSize)
)

// diskBytes is the peak need on all file systems together.
func (p *Plan) diskBytes() int64 {
	need := int64(len(p.Build)) * p.memberBytes()
	if p.ScratchDir != "" {
		need += p.scratchBytes()
	}
	return need
}

func (p *Plan) memberBytes() int64 { return p.scratchBytes() + walBytes }

func (p *Plan) scratchBytes() int64 { return p.Snapshot.Size + growthBytes }

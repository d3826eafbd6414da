// Package backup takes a base of an etcd cluster.
//
// Its one idea: a snapshot is a stream, and its file appears whole or not at all.
package backup

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/durable"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

var (
	// ErrQuota: the snapshot was stopped since the member's database grew towards its quota.
	ErrQuota = errors.New("stopped before the quota")
	// ErrStalled: a member sent nothing for too long.
	ErrStalled = errors.New("snapshot stalled")
	// ErrNoMember: no member gave a snapshot; why each did not is joined to it.
	ErrNoMember = errors.New("no member gave a snapshot")
	// ErrWrite: the snapshot could not be written where it was to go.
	ErrWrite = errors.New("write snapshot")
)

// Source is a member that can give a snapshot.
type Source struct {
	Name   string // pod name or host:port
	Client *etcd.Client
	Quota  int64 // quota-backend-bytes from its settings; 0: unknown, negative: none
}

// Options says how SaveFile works.
type Options struct {
	Path string // the file to make; it must not exist unless Overwrite
	// Overwrite replaces an existing file, after the new one is whole.
	Overwrite bool
	// From is the name of the only source to use; empty: the follower with the least to do.
	From string
	// AbortAtQuota stops the stream when the member's database has grown to this
	// share of its quota (0.9): while a snapshot is open etcd can't reuse freed pages.
	// 0 is 0.9; negative: never. See guard for a database that begins above it.
	AbortAtQuota float64
	// Inspect reads revision, keys and hashes back from the finished temporary file.
	// sum is the CRC-32C of what was written to it, whose sha256 agreed.
	// May be nil: then the report has no Contents.
	Inspect func(ctx context.Context, path string, sum uint32) (etcd.Contents, error)
	// OnEvent is told of every start, retry and progress; may be nil. It is called
	// from one goroutine at a time.
	OnEvent func(Event)

	Timeout time.Duration // of one Status; 0: 5 s
	// PollEvery is how often the member is asked for its size meanwhile; 0: 1 s.
	PollEvery time.Duration
	// StallAfter is how long a member may send nothing before another is tried; 0: 60 s.
	StallAfter time.Duration
}

// Event is progress.
type Event struct {
	Source string        // member
	Bytes  int64         // so far
	Total  int64         // 0: unknown
	Pinned time.Duration // how long the snapshot has been open
	Retry  error         // non-nil: the try through Source ended so, another follows
	Note   string        // something to tell: expected pin time, …
}

// Report is what a backup gave.
type Report struct {
	Path          string         `json:"path"`
	Member        string         `json:"member"`
	MemberID      etcd.ID        `json:"memberID"`
	ClusterID     etcd.ID        `json:"clusterID"`
	ServerVersion string         `json:"serverVersion"`
	Size          int64          `json:"size"`               // bytes, the sha256 included
	SHA256        string         `json:"sha256"`             // of the whole file, in hex, as sha256sum prints it
	Contents      *etcd.Contents `json:"contents,omitempty"` // nil when written to a stream
	Started       time.Time      `json:"started"`
	Duration      time.Duration  `json:"duration"` // also how long etcd's pages were pinned
	Tries         int            `json:"tries"`
	// WithoutQuorum: the member knew no leader. Warnings say what that means.
	WithoutQuorum bool `json:"withoutQuorum,omitempty"`
	// Warnings are why it may not be a good one: its member is CORRUPT, alone or behind.
	Warnings []string `json:"warnings,omitempty"`
}

// SaveFile writes a snapshot to options.Path, whole and seen by Inspect or not at all
// (durable.File). A member that fails on the way is given up for another, from the
// start. Errors: ErrWrite and the system's own (fs.ErrExist, fs.ErrPermission,
// syscall.ENOSPC), which no other member could mend; ErrQuota; ErrNoMember; the
// context's.
func SaveFile(ctx context.Context, sources []Source, options Options) (*Report, error) {
	target, err := durable.Create(options.Path, options.Overwrite)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrWrite, err)
	}
	defer target.Discard()
	report, err := run(ctx, sources, options, func(ctx context.Context, a *attempt) (*Report, error) {
		return saveOnce(ctx, a, target, options)
	})
	if err != nil {
		return nil, err
	}
	if err := target.Commit(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrWrite, err)
	}
	report.Path = options.Path
	return report, nil
}

// saveOnce is one try, from the start of the file to what it holds.
func saveOnce(ctx context.Context, a *attempt, target *durable.File, options Options) (*Report, error) {
	if err := target.Rewind(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrWrite, err)
	}
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	report, err := a.stream(ctx, func(context.Context) io.Writer { return io.MultiWriter(marked{target}, sum) })
	if err != nil || options.Inspect == nil {
		return report, err
	}
	contents, err := options.Inspect(ctx, target.Temp(), sum.Sum32())
	if err != nil {
		return nil, fmt.Errorf("inspect snapshot: %w", err)
	}
	report.Contents = &contents
	return report, nil
}

// WriteTo streams one snapshot to w. After the first byte there is no retry. It ends
// with ctx, and at the quota, also while w blocks; w may then still be in that Write.
func WriteTo(ctx context.Context, sources []Source, w io.Writer, options Options) (*Report, error) {
	return run(ctx, sources, options, func(ctx context.Context, a *attempt) (*Report, error) {
		out := &outlet{w: marked{w}}
		report, err := a.stream(ctx, out.until)
		if err != nil && out.begun {
			return nil, &finalError{err}
		}
		return report, err
	})
}

// run tries the candidates in order until one gives a report.
func run(ctx context.Context, sources []Source, options Options, try func(context.Context, *attempt) (*Report, error)) (*Report, error) {
	options = options.withDefaults()
	candidates, passed, err := choose(ctx, sources, options)
	if err != nil {
		return nil, err
	}
	reasons := append([]error{ErrNoMember}, passed...)
	for i, candidate := range candidates {
		report, err := try(ctx, &attempt{candidate: candidate, options: options})
		if err == nil {
			report.Tries = i + 1
			return report, nil
		}
		err = fmt.Errorf("%s: %w", candidate.Name, err)
		if isFinal(ctx, err) {
			return nil, err
		}
		reasons = append(reasons, err)
		if i+1 < len(candidates) {
			options.OnEvent(Event{Source: candidate.Name, Retry: err})
		}
	}
	return nil, errors.Join(reasons...)
}

// finalError is an error after which no other member is to be tried.
type finalError struct{ error }

func (e *finalError) Unwrap() error { return e.error }

func isFinal(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.As(err, new(*finalError)) || errors.Is(err, ErrWrite) || errors.Is(err, ErrQuota)
}

func (o Options) withDefaults() Options {
	if o.AbortAtQuota == 0 {
		o.AbortAtQuota = 0.9
	}
	if o.OnEvent == nil {
		o.OnEvent = func(Event) {}
	}
	for field, value := range map[*time.Duration]time.Duration{
		&o.Timeout: 5 * time.Second, &o.PollEvery: time.Second, &o.StallAfter: time.Minute,
	} {
		if *field <= 0 {
			*field = value
		}
	}
	return o
}

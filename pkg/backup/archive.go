package backup

import (
	"context"
	"io"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/capture"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

// BaseContents is what is read back of a base before it counts.
type BaseContents struct {
	Contents etcd.Contents
	// LastChange is the digest without values of its last revision, Change that of the
	// revision that was asked for; zero: it does not hold that whole.
	LastChange, Change segment.Digest
	AuthRevision       uint64
	Leases             int
}

// ArchiveOptions say how bases and changes go into an archive.
type ArchiveOptions struct {
	Archive *store.Archive
	Sources []Source
	// KubeSystemUID tells Kubernetes clusters apart; empty: not of a Kubernetes.
	KubeSystemUID string
	// Every is how often a base is taken; 0: none, there must be one already.
	Every time.Duration
	// Flush is how often changes are put into the archive; 0: 10 s.
	Flush time.Duration
	// ScratchDir is for what is read back of a base, encrypted with a key in memory, and for
	// what waits for the store, encrypted as the archive is; SpoolMax bounds the latter (1 GiB).
	ScratchDir string
	SpoolMax   int64
	// Rate bounds the bytes of a base in a second; 0: no bound.
	Rate int64
	// Snapshot says how a base is streamed; Path, Overwrite and Inspect of it have no meaning.
	Snapshot Options
	// Inspect reads a base back.
	Inspect func(ctx context.Context, r io.ReaderAt, size int64, at segment.Revision) (*BaseContents, error)
	// AfterBase is called after each base, as to prune; may be nil. Its error is told.
	AfterBase func(ctx context.Context) error
	// OnNotice is told what happens, from one goroutine at a time; may be nil.
	OnNotice func(Notice)
	Now      func() time.Time // nil: time.Now
	// Random names this writer and the timelines that it opens.
	Random func() uint32
}

// Notice is something that happened.
type Notice struct {
	Time     time.Time
	Segment  *SegmentNotice
	Base     *BaseNotice
	Idle     *segment.Progress
	Timeline *TimelineNotice
	Capture  *capture.Event
	Progress *Event // of a base
	Warning  string
	Err      error // of the store, or of a base; it is tried again
}

// SegmentNotice tells of a segment that is in the archive.
type SegmentNotice struct {
	Summary segment.Summary
	Bytes   int64 // of its body
	Waiting int   // segments that wait for the store
}

// BaseNotice tells of a base that is in the archive.
type BaseNotice struct {
	Mark     store.Mark       `json:"mark"`
	Info     store.Info       `json:"info"`
	Timeline store.TimelineID `json:"timeline"`
	Warnings []string         `json:"warnings,omitempty"`
}

// TimelineNotice tells which timeline is written to, and whether it was opened now.
type TimelineNotice struct {
	Timeline store.Timeline
	Opened   bool
	From     segment.Revision // the changes go on from here
}

func (o ArchiveOptions) withDefaults() ArchiveOptions {
	if o.Flush <= 0 {
		o.Flush = 10 * time.Second
	}
	if o.SpoolMax <= 0 {
		o.SpoolMax = 1 << 30
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.OnNotice == nil {
		o.OnNotice = func(Notice) {}
	}
	if o.Rate > 0 && o.Rate < 64<<10 {
		o.Rate = 64 << 10
	}
	return o
}

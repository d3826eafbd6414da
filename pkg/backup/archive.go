package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"golang.org/x/time/rate"

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

// place is where in an archive a writer goes on.
type place struct {
	timeline store.Timeline // ID empty: there is none
	contents *store.Contents
	point    capture.Point  // the last captured revision; Revision 0: none
	before   segment.Digest // of the newest segment's envelope; zero: none
	lastBase time.Time
	// spare is a timeline that was opened after this one and has no base yet.
	spare *place
}

// findPlace looks for the newest timeline and what it ends with. identity is compared with
// the archive's.
func findPlace(ctx context.Context, a *store.Archive, identity segment.Identity) (*place, error) {
	timelines, err := a.Timelines(ctx)
	if err != nil {
		return nil, err
	}
	best, spare := &place{}, (*place)(nil)
	for _, t := range timelines {
		if err := store.SameCluster(t.Identity.Segment(), identity); err != nil {
			return nil, fmt.Errorf("archive %s: %w", a.Location(), err)
		}
		p, err := endOf(ctx, a, t)
		if err != nil {
			return nil, err
		}
		switch {
		case p.point.Revision == 0:
			spare = p
		case !p.point.Time.Before(best.point.Time):
			best = p
		}
	}
	if spare != nil && !spare.timeline.Opened.Before(best.timeline.Opened) {
		best.spare = spare
	}
	return best, nil
}

// endOf finds what a timeline ends with.
func endOf(ctx context.Context, a *store.Archive, t store.Timeline) (*place, error) {
	contents, err := a.Contents(ctx, t)
	if err != nil {
		return nil, err
	}
	return endIn(ctx, a, contents)
}

func endIn(ctx context.Context, a *store.Archive, contents *store.Contents) (*place, error) {
	t := contents.Timeline
	p := &place{timeline: t, contents: contents}
	for _, b := range contents.Bases {
		if b.Time.After(p.lastBase) {
			p.lastBase = b.Time
		}
		if b.Info.Last >= p.point.Revision {
			p.point = capture.Point{Revision: b.Info.Last, Change: b.Info.LastChange, Time: b.Time}
		}
	}
	latest, at := contents.Latest()
	for _, s := range contents.Segments {
		if s.Last != latest || s.Last < p.point.Revision {
			continue
		}
		e, err := a.Envelope(ctx, t.ID, s)
		if errors.Is(err, store.ErrDamaged) { // it is as good as absent: what went before is the end
			return endIn(ctx, a, contents.Without(s))
		}
		if err != nil {
			return nil, err
		}
		p.point = capture.Point{Revision: s.Last, Change: e.Summary.LastChange, Time: e.Summary.LastTime}
		p.before = e.Digest()
	}
	if p.point.Revision == latest && at.After(p.point.Time) {
		p.point.Time = at
	}
	return p, nil
}

// identify asks the members who they are.
func identify(ctx context.Context, o ArchiveOptions) (segment.Identity, error) {
	id := segment.Identity{KubeSystemUID: o.KubeSystemUID}
	var failed []error
	for _, source := range o.Sources {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		members, err := source.Client.Members(ctx)
		var status etcd.Status
		if err == nil {
			status, err = source.Client.Status(ctx)
		}
		cancel()
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", source.Name, err))
			continue
		}
		id.Cluster = segment.ID(status.ClusterID)
		for _, m := range members {
			id.Members = append(id.Members, segment.ID(m.ID))
		}
		slices.Sort(id.Members)
		return id, nil
	}
	return id, fmt.Errorf("ask etcd who it is: %w", errors.Join(failed...))
}

const (
	callTimeout = 5 * time.Second
	// storeStall is how long a store may take nothing of a base.
	storeStall = 2 * time.Minute
)

// base is one that is being taken.
type base struct {
	options  ArchiveOptions
	writer   segment.WriterID
	identity segment.Identity
	timeline store.TimelineID
	// atLeast is a revision that the timeline has: a cluster that has it not is another.
	atLeast segment.Revision
	// compare is a revision whose events the base is to show; 0: none.
	compare segment.Revision
	// settle says to which timeline the base belongs, once it is known what it holds; nil:
	// to timeline.
	settle func(ctx context.Context, m store.Mark, c *BaseContents) (store.TimelineID, error)
}

// take streams a base into the archive. It counts when its .info is there.
func (b *base) take(ctx context.Context) (*BaseNotice, error) {
	options := b.options.Snapshot
	options.Path, options.Inspect = "", nil
	options.OnEvent = func(e Event) { b.options.OnNotice(Notice{Time: b.options.Now(), Progress: &e}) }
	var notice *BaseNotice
	_, err := run(ctx, b.options.Sources, options, func(ctx context.Context, a *attempt) (*Report, error) {
		report, err := b.once(ctx, a, &notice)
		if err != nil && errors.Is(err, errStored) {
			return nil, &finalError{err} // another member would not help
		}
		return report, err
	})
	return notice, err
}

// errStored marks what went wrong after, or beside, the stream.
var errStored = errors.New("store base")

func (b *base) once(ctx context.Context, a *attempt, notice **BaseNotice) (*Report, error) {
	source := capture.Source{Name: a.candidate.Name, Client: a.candidate.Client}
	// Through the very member that streams: what it has not seen would be a hole else.
	head, _, err := capture.Head(ctx, []capture.Source{source}, a.options.Timeout)
	if err != nil {
		return nil, fmt.Errorf("read through the member: %w", err)
	}
	if head < b.atLeast {
		return nil, fmt.Errorf("%w: it is at revision %d, and %d is in the archive", capture.ErrFork, head, b.atLeast)
	}
	mark := store.Mark{Revision: head, Time: b.options.Now().UTC().Truncate(time.Millisecond), Writer: b.writer}
	file, err := newScratch(b.options.ScratchDir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errStored, err)
	}
	defer file.close() //nolint:errcheck // nothing of it is needed any more
	var report *Report
	var streamed error
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	dog := time.AfterFunc(storeStall, func() { cancel(fmt.Errorf("%w: it took nothing for %s", errStored, storeStall)) })
	defer dog.Stop()
	size, sum, err := b.options.Archive.PutBase(ctx, b.timeline, mark, func(w io.Writer) error {
		out := io.MultiWriter(&limited{ctx, w, limiter(b.options.Rate), dog}, file)
		report, streamed = a.stream(ctx, func(context.Context) io.Writer { return out })
		return streamed
	})
	dog.Stop()
	switch {
	case errors.Is(context.Cause(ctx), errStored):
		return nil, context.Cause(ctx)
	case streamed != nil:
		return nil, streamed
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errStored, err)
	}
	contents, err := b.options.Inspect(ctx, file, file.size, b.compare)
	if err != nil {
		return nil, fmt.Errorf("look into the base: %w", err)
	}
	info := b.info(report, contents)
	info.StoredSize, info.StoredSHA256 = size, sum
	if info.Last < mark.Revision {
		return nil, fmt.Errorf("the base ends at revision %d, and its member had been at %d", info.Last, mark.Revision)
	}
	if *notice, err = b.commit(ctx, mark, info, contents); err != nil {
		return nil, fmt.Errorf("%w: %w", errStored, err)
	}
	(*notice).Warnings = report.Warnings
	return report, nil
}

func (b *base) info(report *Report, c *BaseContents) store.Info {
	return store.Info{
		Last: segment.Revision(c.Contents.Revision), Floor: segment.Revision(max(c.Contents.CompactRevision, 0)),
		LastChange: c.LastChange, AuthRevision: c.AuthRevision, Leases: c.Leases, Keys: int(c.Contents.Keys),
		Size: report.Size, SHA256: report.SHA256,
		Started: report.Started, Finished: report.Started.Add(report.Duration),
		Member: report.Member, ServerVersion: report.ServerVersion,
		Identity: store.NewIdentity(b.identity), WithoutQuorum: report.WithoutQuorum,
	}
}

func (b *base) commit(ctx context.Context, m store.Mark, info store.Info, c *BaseContents) (*BaseNotice, error) {
	timeline := b.timeline
	if b.settle != nil {
		var err error
		if timeline, err = b.settle(ctx, m, c); err != nil {
			return nil, err
		}
	}
	if timeline != b.timeline {
		if err := b.options.Archive.CopyBase(ctx, b.timeline, timeline, m); err != nil {
			return nil, err
		}
	}
	if err := b.options.Archive.CommitBase(ctx, timeline, m, info); err != nil {
		return nil, err
	}
	return &BaseNotice{Mark: m, Info: info, Timeline: timeline}, nil
}

// limited writes at a rate.
type limited struct {
	ctx     context.Context
	w       io.Writer
	limiter *rate.Limiter // nil: without a bound
	dog     *time.Timer   // bites when nothing is taken for too long
}

func limiter(perSecond int64) *rate.Limiter {
	if perSecond <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(perSecond), int(min(perSecond, 1<<20)))
}

func (l *limited) Write(p []byte) (written int, err error) {
	for len(p) > 0 {
		part := p
		if l.limiter != nil {
			part = p[:min(len(p), l.limiter.Burst())]
			if err := l.limiter.WaitN(l.ctx, len(part)); err != nil {
				return written, err
			}
		}
		n, err := l.w.Write(part)
		written += n
		if err != nil {
			return written, err
		}
		l.dog.Reset(storeStall)
		p = p[n:]
	}
	return written, nil
}

package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/time/rate"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/capture"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

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

package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

// FetchBase writes a base of an archive into an empty file, and verifies it.
func FetchBase(ctx context.Context, a *store.Archive, timeline store.TimelineID, b store.Base, file *os.File) (*Snapshot, error) {
	r, err := a.OpenBase(ctx, timeline, b)
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // its end was checked by reading
	if err := copyContext(ctx, file, r); err != nil {
		return nil, err
	}
	// What was read had the sha256 of .info: it is not made a second time.
	s, err := openFile(ctx, file, func(context.Context, io.ReaderAt, int64) (string, error) { return b.Info.SHA256, nil })
	if err == nil && segment.Revision(s.Contents.Revision) != b.Info.Last {
		err = fmt.Errorf("%w: it ends at revision %d, and its .info tells %d", store.ErrDamaged, s.Contents.Revision, b.Info.Last)
	}
	if err != nil {
		return nil, fmt.Errorf("read base of revision %d: %w", b.Revision, err)
	}
	return s, nil
}

// Reading reads the records of segments that follow one another.
type Reading struct {
	ctx      context.Context
	archive  *store.Archive
	timeline store.TimelineID
	segments []store.Segment

	beside []store.Segment // to be compared by their envelopes, ascending by last revision

	current *store.SegmentReader
	before  *segment.Envelope // of the segment before
	last    segment.Revision  // that was given
	overlap overlap           // with the next segment
}

// ReadSegments reads segments in their order, which may overlap: what two hold must be the
// same, or it is ErrFork. It must be closed.
func ReadSegments(ctx context.Context, a *store.Archive, timeline store.TimelineID, segments []store.Segment) *Reading {
	return &Reading{ctx: ctx, archive: a, timeline: timeline, segments: segments, overlap: overlap{}}
}

// ReadChain is ReadSegments of a chain's, and compares what the chain passes over, too, as far
// as envelopes tell of it: by the last revision, without its values. Verify compares all.
func ReadChain(ctx context.Context, a *store.Archive, timeline store.TimelineID, chain store.Chain) *Reading {
	r := ReadSegments(ctx, a, timeline, chain.Segments)
	r.beside = chain.Beside
	return r
}

// Next gives the next record, or io.EOF. It is a Changes.
func (r *Reading) Next() (segment.Record, error) {
	for {
		if r.current == nil {
			if len(r.segments) == 0 {
				return nil, io.EOF
			}
			if err := r.open(); err != nil {
				return nil, err
			}
		}
		record, err := r.current.Next()
		if errors.Is(err, io.EOF) {
			if err := r.Close(); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		again, err := r.see(record)
		if err != nil || !again {
			return record, err
		}
	}
}

func (r *Reading) open() (err error) {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	name := r.segments[0].String()
	r.overlap.forget(r.segments[0].First)
	r.current, err = r.archive.OpenSegment(r.ctx, r.timeline, r.segments[0])
	r.segments = r.segments[1:]
	if err != nil {
		return err
	}
	if err := follow(r.before, r.current.Envelope); err != nil {
		return fmt.Errorf("read %s: %w", name, errors.Join(err, r.Close()))
	}
	r.before = r.current.Envelope
	return nil
}

// follow: where one writer's segments follow one another, the later names the earlier.
func follow(before, e *segment.Envelope) error {
	if before == nil || e.Before.IsZero() || before.Writer != e.Writer || before.Summary.Last+1 != e.Summary.First {
		return nil
	}
	if before.Digest() != e.Before {
		return fmt.Errorf("%w: its writer had another segment before it", store.ErrDamaged)
	}
	return nil
}

// see tells whether a record was given already, by the segment before.
func (r *Reading) see(record segment.Record) (again bool, err error) {
	switch v := record.(type) {
	case segment.Change:
		if v.Revision <= r.last {
			return true, r.overlap.compare(v)
		}
		r.last = v.Revision
		if len(r.segments) > 0 && v.Revision >= r.segments[0].First {
			r.overlap.keep(v)
		}
		return false, r.compareBeside(v)
	case segment.Progress:
		return v.Revision < r.last, nil
	}
	return false, nil
}

// compareBeside compares a change with the segments beside the chain that end with it. One that
// can't be read is not needed, and says nothing; no more does one of a writer who isn't trusted,
// who could else keep what is from being restored.
func (r *Reading) compareBeside(c segment.Change) error {
	for ; len(r.beside) > 0 && r.beside[0].Last <= c.Revision; r.beside = r.beside[1:] {
		if r.beside[0].Last < c.Revision {
			continue
		}
		e, err := r.archive.Envelope(r.ctx, r.timeline, r.beside[0])
		switch {
		case errors.Is(err, store.ErrDamaged), errors.Is(err, store.ErrNotFound), errors.Is(err, segment.ErrVersion), errors.Is(err, store.ErrOrigin):
		case err != nil:
			return err
		case e.Summary.LastChange != c.DigestWithoutValues():
			return fmt.Errorf("read %s: %w", r.beside[0], differ(c.Revision))
		}
	}
	return nil
}

// overlap is what one segment holds and a later one holds, too.
type overlap map[segment.Revision]segment.Digest

// keep keeps a change for the later segment, unless one was kept before.
func (o overlap) keep(c segment.Change) {
	if _, there := o[c.Revision]; !there {
		o[c.Revision] = c.Digest()
	}
}

// compare compares a change with one that was kept.
func (o overlap) compare(c segment.Change) error {
	if digest, there := o[c.Revision]; there && digest != c.Digest() {
		return differ(c.Revision)
	}
	return nil
}

// forget drops what is before a revision.
func (o overlap) forget(before segment.Revision) {
	maps.DeleteFunc(o, func(r segment.Revision, _ segment.Digest) bool { return r < before })
}

func differ(revision segment.Revision) error {
	return fmt.Errorf("%w: two writers have different events of revision %d", ErrFork, revision)
}

// Close ends the reading.
func (r *Reading) Close() error {
	if r.current == nil {
		return nil
	}
	err := r.current.Close()
	r.current = nil
	return err
}

// When is the moment to restore: one of the three.
type When struct {
	Latest   bool
	Revision segment.Revision
	Time     time.Time
}

// ArchivePlan is what a restore out of an archive reads.
type ArchivePlan struct {
	Timeline store.Timeline
	Revision segment.Revision
	Chain    store.Chain
	// Rest are the segments that go on from there: what will be lost.
	Rest []store.Segment
	// Newest is the last revision of the timeline that can be restored, seen last at NewestTime.
	Newest     segment.Revision
	NewestTime time.Time
	Bytes      int64 // to read
}

// PlanArchive finds what to read for a moment. Errors are store.ErrNoBase, store.ErrGap,
// store.ErrOrigin and the store's.
func PlanArchive(ctx context.Context, a *store.Archive, c *store.Contents, t When) (*ArchivePlan, error) {
	p := &ArchivePlan{Timeline: c.Timeline}
	p.Newest, p.NewestTime = c.Latest()
	var err error
	switch {
	case p.Newest == 0:
		return nil, fmt.Errorf("%w: timeline %s holds no base", store.ErrNoBase, c.Timeline.ID)
	case t.Latest:
		p.Revision = p.Newest
	case t.Revision > 0:
		p.Revision = t.Revision
	default:
		p.Revision, err = revisionAt(ctx, a, c, t.Time)
	}
	if err != nil {
		return nil, err
	}
	if p.Chain, err = c.Chain(p.Revision); err != nil {
		return nil, err
	}
	if err := p.Chain.Base.Refused; err != nil {
		return nil, err
	}
	p.Rest = c.From(p.Revision + 1)
	p.Bytes = p.Chain.Base.Info.StoredSize
	for _, s := range p.Chain.Segments {
		p.Bytes += s.Size
	}
	return p, nil
}

// revisionAt is the last revision that had surely been made by a time.
func revisionAt(ctx context.Context, a *store.Archive, c *store.Contents, at time.Time) (segment.Revision, error) {
	newest, until := c.Latest()
	if at.After(until) {
		return 0, fmt.Errorf("%w: %s is after the last that was captured, revision %d at %s: take --latest",
			store.ErrNoBase, at.UTC().Format(time.RFC3339), newest, until.UTC().Format(time.RFC3339))
	}
	found := segment.Revision(0)
	for _, b := range c.Bases { // at a base's time its mark's revision was the last
		if !b.Time.After(at) {
			found = max(found, b.Revision)
		}
	}
	for _, s := range c.Segments {
		switch {
		case !s.Time.Add(time.Millisecond).After(at): // its name's time is rounded down
			found = max(found, s.Last)
		case s.Last > found:
			in, err := revisionIn(ctx, a, c.Timeline.ID, s, at)
			if err != nil && !errors.Is(err, store.ErrOrigin) { // VouchNames tells whether that one matters
				return 0, err
			}
			found = max(found, in)
		}
	}
	switch {
	case found == 0:
		return 0, fmt.Errorf("%w: %s is before the first that was captured", store.ErrNoBase, at.UTC().Format(time.RFC3339))
	case !c.Known(found, at):
		return 0, c.Unknown(found, at)
	}
	return found, a.VouchNames(ctx, c, found)
}

// revisionIn is the last revision of a segment that had surely been made by a time; 0: none.
func revisionIn(ctx context.Context, a *store.Archive, timeline store.TimelineID, s store.Segment, at time.Time) (found segment.Revision, err error) {
	e, err := a.Envelope(ctx, timeline, s)
	if err != nil || e.Summary.FirstTime.After(at) {
		return 0, err
	}
	r, err := a.OpenSegment(ctx, timeline, s)
	if err != nil {
		return 0, err
	}
	defer r.Close() //nolint:errcheck // only read
	for {
		record, err := r.Next()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return 0, err
		}
		if change, ok := record.(segment.Change); ok {
			if change.Upper.After(at) {
				return found, nil
			}
			found = change.Revision
		}
	}
}

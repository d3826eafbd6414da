package store

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
)

var (
	// ErrGap: revisions between a base and the moment are not in the archive.
	ErrGap = errors.New("there is a gap")
	// ErrNoBase: no base reaches that moment.
	ErrNoBase = errors.New("no base reaches that moment")
)

// Span is an unbroken run of revisions, every one of which can be restored.
type Span struct {
	First segment.Revision `json:"first"`
	Last  segment.Revision `json:"last"`
	// From and To are when First and Last were seen; From is zero where it is a base's
	// past, of which no time is known.
	From time.Time `json:"from,omitzero"`
	To   time.Time `json:"to"`
}

// Chain is what a restore reads: a base, and segments that go on from it, unbroken.
type Chain struct {
	Base     Base
	Segments []Segment
	// Beside are segments that are not needed and end among the chain's revisions: another
	// writer's, which must hold the same. Ascending by last revision.
	Beside []Segment
}

// Last is the highest revision that the chain holds.
func (c Chain) Last() segment.Revision {
	last := c.Base.Info.Last
	for _, s := range c.Segments {
		last = max(last, s.Last)
	}
	return last
}

// run is unbroken: segments that follow one another, each needed.
type run struct {
	first, last segment.Revision
	segments    []Segment
}

// runs joins segments to runs. Of those that overlap the one that reaches furthest is
// taken; what lies wholly within others is passed over.
func runs(sorted []Segment) (list []run) {
	for i := 0; i < len(sorted); {
		r := run{first: sorted[i].First, last: sorted[i].Last, segments: []Segment{sorted[i]}}
		i++
		for i < len(sorted) && sorted[i].First <= r.last+1 {
			best := sorted[i]
			for ; i < len(sorted) && sorted[i].First <= r.last+1; i++ {
				if sorted[i].Last > best.Last {
					best = sorted[i]
				}
			}
			if best.Last > r.last {
				r.last, r.segments = best.Last, append(r.segments, best)
			}
		}
		list = append(list, r)
	}
	return list
}

// Spans are what can be restored: each base goes back to its floor, and on as far as
// segments go without a gap.
func (c *Contents) Spans() (list []Span) {
	for _, b := range c.Bases {
		list = append(list, Span{First: max(b.Info.Floor, 1), Last: b.Info.Last, To: b.Time})
		if segments := c.after(b); len(segments) > 0 {
			end, span := segments[len(segments)-1], &list[len(list)-1]
			span.Last, span.To = max(span.Last, end.Last), later(span.To, end.Time)
		}
	}
	slices.SortFunc(list, func(a, b Span) int { return cmp.Compare(a.First, b.First) })
	list = joinSpans(list)
	for i := range list {
		list[i].To = later(list[i].To, c.idleUntil(list[i].Last))
		list[i].From = c.seen(list[i].First)
	}
	return list
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// joinSpans joins those that overlap or follow one another.
func joinSpans(sorted []Span) (list []Span) {
	for _, s := range sorted {
		if n := len(list); n > 0 && s.First <= list[n-1].Last+1 {
			before := &list[n-1]
			if s.Last > before.Last {
				before.Last, before.To = s.Last, s.To
			} else if s.Last == before.Last {
				before.To = later(before.To, s.To)
			}
			continue
		}
		list = append(list, s)
	}
	return list
}

// idleUntil is until when a note tells that nothing came after a revision; zero: none does.
func (c *Contents) idleUntil(revision segment.Revision) (at time.Time) {
	for _, m := range c.Idle {
		if m.Revision == revision {
			at = later(at, m.Time)
		}
	}
	return at
}

// seen is the time of a base that begins so, or zero.
func (c *Contents) seen(revision segment.Revision) (at time.Time) {
	for _, b := range c.Bases {
		if b.Info.Last == revision && (at.IsZero() || b.Time.Before(at)) {
			at = b.Time
		}
	}
	return at
}

// after are the segments that go on from a base without a gap, from the one that holds its
// next revision.
func (c *Contents) after(b Base) []Segment {
	for _, r := range c.joined() {
		if r.first <= b.Info.Last+1 && r.last > b.Info.Last {
			return r.from(b.Info.Last + 1)
		}
	}
	return nil
}

// joined are the runs, which are looked for once.
func (c *Contents) joined() []run {
	if c.runs == nil {
		c.runs = runs(c.Segments)
	}
	return c.runs
}

// from are a run's segments from the one that holds a revision.
func (r run) from(revision segment.Revision) []Segment {
	i := sort.Search(len(r.segments), func(i int) bool { return r.segments[i].Last >= revision })
	return slices.Clip(r.segments[i:])
}

// Latest is the highest revision that can be restored, and when it was seen last.
func (c *Contents) Latest() (segment.Revision, time.Time) {
	spans := c.Spans()
	if len(spans) == 0 {
		return 0, time.Time{}
	}
	last := spans[len(spans)-1]
	return last.Last, last.To
}

// Chain is what a restore to a revision reads. An older base with changes goes before a
// younger one that is rewound, which may have lost leases that were revoked in between; of
// those that lie before the moment the nearest is taken. Errors are ErrNoBase and ErrGap,
// which name the last moment before and the first after.
func (c *Contents) Chain(revision segment.Revision) (Chain, error) {
	for _, b := range slices.Backward(c.Bases) {
		if b.Info.Last > revision {
			continue
		}
		chain := Chain{Base: b}
		if b.Info.Last == revision {
			return chain, nil
		}
		for _, s := range c.after(b) {
			if s.First <= revision {
				chain.Segments = append(chain.Segments, s)
			}
		}
		if chain.Last() >= revision {
			chain.Beside = c.beside(chain.Segments, revision)
			return chain, nil
		}
		break // what an older base reaches over, this one reaches too
	}
	for _, b := range c.Bases {
		if b.Info.Last >= revision && max(b.Info.Floor, 1) <= revision {
			return Chain{Base: b}, nil
		}
	}
	return Chain{}, c.unreachable(revision)
}

// beside are the segments that are not among those used, which are in the same order, and end
// among their revisions up to one.
func (c *Contents) beside(used []Segment, until segment.Revision) (list []Segment) {
	if len(used) == 0 {
		return nil
	}
	first := used[0].First
	for _, s := range c.Segments {
		switch {
		case len(used) > 0 && s == used[0]:
			used = used[1:]
		case first <= s.Last && s.Last <= until:
			list = append(list, s)
		}
	}
	slices.SortStableFunc(list, func(a, b Segment) int { return cmp.Compare(a.Last, b.Last) })
	return list
}

func (c *Contents) unreachable(revision segment.Revision) error {
	spans := c.Spans()
	if len(spans) == 0 {
		return fmt.Errorf("%w: timeline %s holds no base", ErrNoBase, c.Timeline.ID)
	}
	var before, after *Span
	for i := range spans {
		if spans[i].Last < revision {
			before = &spans[i]
		} else if after == nil {
			after = &spans[i]
		}
	}
	switch {
	case before == nil:
		return fmt.Errorf("%w: revision %d is before %d, the first that can be restored", ErrNoBase, revision, after.First)
	case after == nil:
		return fmt.Errorf("%w: revision %d is after %d, the last that was captured, at %s", ErrNoBase, revision, before.Last, before.To.UTC().Format(time.RFC3339))
	}
	return fmt.Errorf("%w: revision %d is not in the archive; the last before it is %d (%s), the first after it %d",
		ErrGap, revision, before.Last, before.To.UTC().Format(time.RFC3339), after.First)
}

// From are the segments, unbroken, from the one that holds a revision.
func (c *Contents) From(revision segment.Revision) []Segment {
	for _, r := range c.joined() {
		if r.first <= revision && revision <= r.last {
			return r.from(revision)
		}
	}
	return nil
}

// Known tells whether a revision is known to have been the last at a time, which is not
// before it was seen: the next one was captured, or something tells that there was none yet.
func (c *Contents) Known(revision segment.Revision, at time.Time) bool {
	for _, s := range c.Segments {
		if s.First <= revision+1 && revision+1 <= s.Last || s.Last == revision && !at.After(s.Time.Add(time.Millisecond)) {
			return true
		}
	}
	for _, b := range c.Bases {
		if b.Revision == revision && !at.After(b.Time) {
			return true
		}
	}
	return !at.After(c.idleUntil(revision))
}

// Unknown is ErrGap for a time of which nothing is known.
func (c *Contents) Unknown(revision segment.Revision, at time.Time) error {
	after := "nothing was captured after it"
	for _, span := range c.Spans() {
		if span.Last > revision {
			after = fmt.Sprintf("the first captured after it is revision %d", max(span.First, revision+1))
			break
		}
	}
	return fmt.Errorf("%w: what happened up to %s is not in the archive; the last known before it is revision %d, and %s",
		ErrGap, at.UTC().Format(time.RFC3339), revision, after)
}

// OldestChain goes from the oldest base of a span to its end.
func (c *Contents) OldestChain(span Span) (Chain, error) {
	for _, b := range c.Bases {
		if b.Info.Last < span.First || b.Info.Last > span.Last {
			continue
		}
		chain := Chain{Base: b, Segments: c.after(b)}
		if chain.Last() >= span.Last {
			chain.Beside = c.beside(chain.Segments, span.Last)
			return chain, nil
		}
	}
	return Chain{}, fmt.Errorf("%w: no base goes on to revision %d", ErrNoBase, span.Last)
}

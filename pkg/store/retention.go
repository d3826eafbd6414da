package store

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
)

// spared is how young an object is that no pruning touches, by its name's time.
const spared = 24 * time.Hour

// Keep says what retention keeps. Last and Within keep bases with all changes between them
// and since: every moment of that window. The others keep a base alone of each period, the
// newest in it.
type Keep struct {
	Last    int           `json:"last,omitempty"`
	Within  time.Duration `json:"within,omitempty"`
	Hourly  int           `json:"hourly,omitempty"`
	Daily   int           `json:"daily,omitempty"`
	Weekly  int           `json:"weekly,omitempty"`
	Monthly int           `json:"monthly,omitempty"`
	// MaxSize lets the oldest go until the timeline is no larger, in bytes; 0: no bound.
	MaxSize int64 `json:"maxSize,omitempty"`
}

// IsZero tells that no rule is given.
func (k Keep) IsZero() bool { return k == Keep{} }

// Pruning is what retention takes out of a timeline.
type Pruning struct {
	Timeline TimelineID `json:"timeline"`
	Bases    []Base     `json:"-"`
	Segments []Segment  `json:"-"`
	Idle     []Mark     `json:"-"`
	Data     []string   `json:"-"` // of bases that never became whole
	Bytes    int64      `json:"bytes"`
	Kept     []Base     `json:"-"`
	Holes    []Hole     `json:"holes,omitempty"` // that there will be
	Names    []string   `json:"objects,omitempty"`
}

// Empty tells that nothing goes.
func (p *Pruning) Empty() bool { return len(p.Names) == 0 }

// PlanPruning says what goes by the rules. The newest base stays with all that follows it,
// whatever the rules, and so does all that is younger than a day.
func (c *Contents) PlanPruning(keep Keep, now time.Time) *Pruning {
	p := &Pruning{Timeline: c.Timeline.ID}
	if len(c.Bases) == 0 {
		return p
	}
	byTime := slices.Clone(c.Bases)
	slices.SortFunc(byTime, func(a, b Base) int { return b.Time.Compare(a.Time) }) // the newest first
	anchor := keep.anchor(byTime)
	kept := keep.periods(byTime)
	for i, b := range byTime {
		if i <= anchor || now.Sub(b.Time) < spared {
			kept[b.Mark] = true
		}
	}
	c.fill(p, kept, byTime[anchor].Info.Last, now)
	if keep.MaxSize > 0 {
		c.shrink(p, kept, byTime, anchor, keep.MaxSize, now)
	}
	c.holes(p, now)
	return p
}

// anchor is the oldest base, in a list with the newest first, that the window needs.
func (k Keep) anchor(byTime []Base) int {
	if k == (Keep{MaxSize: k.MaxSize}) {
		return len(byTime) - 1 // all, but for its size
	}
	anchor := max(min(k.Last, len(byTime))-1, 0)
	if k.Within > 0 {
		start := byTime[0].Time.Add(-k.Within)
		for i, b := range byTime {
			anchor = max(anchor, i)
			if !b.Time.After(start) {
				break
			}
		}
	}
	return anchor
}

// periods are the bases that are the newest of their hour, day, week or month.
func (k Keep) periods(byTime []Base) map[Mark]bool {
	kept := map[Mark]bool{}
	for _, rule := range []struct {
		count  int
		period func(time.Time) string
	}{
		{k.Hourly, func(t time.Time) string { return t.UTC().Format("2006010215") }},
		{k.Daily, func(t time.Time) string { return t.UTC().Format("20060102") }},
		{k.Weekly, func(t time.Time) string { year, week := t.UTC().ISOWeek(); return fmt.Sprint(year, week) }},
		{k.Monthly, func(t time.Time) string { return t.UTC().Format("200601") }},
	} {
		seen := map[string]bool{}
		for _, b := range byTime {
			if period := rule.period(b.Time); !seen[period] && len(seen) < rule.count {
				seen[period] = true
				kept[b.Mark] = true
			}
		}
	}
	return kept
}

// fill sets what goes: bases that are not kept, and what lies before the window.
func (c *Contents) fill(p *Pruning, kept map[Mark]bool, window segment.Revision, now time.Time) {
	*p = Pruning{Timeline: p.Timeline}
	old := func(t time.Time) bool { return now.Sub(t) >= spared }
	for _, b := range c.Bases {
		if kept[b.Mark] {
			p.Kept = append(p.Kept, b)
			continue
		}
		p.Bases = append(p.Bases, b)
		p.Bytes += b.Info.StoredSize
		p.Names = append(p.Names, b.name("base"))
	}
	for _, s := range c.Segments {
		if s.Last <= window && old(s.Time) {
			p.Segments = append(p.Segments, s)
			p.Bytes += s.Size
			p.Names = append(p.Names, s.object())
		}
	}
	for _, m := range c.Idle {
		if m.Revision < window && old(m.Time) {
			p.Idle = append(p.Idle, m)
			p.Names = append(p.Names, m.name("idle"))
		}
	}
	for i, m := range c.Begun {
		if old(m.Time) {
			p.Data = append(p.Data, c.Uncommitted[i])
			p.Names = append(p.Names, c.Uncommitted[i])
		}
	}
}

// shrink lets the oldest bases go until the timeline is small enough, or only the newest chain
// is left. The window of all changes, which begins at the base anchor, gets shorter only when
// there is no base before it any more.
func (c *Contents) shrink(p *Pruning, kept map[Mark]bool, byTime []Base, anchor int, limit int64, now time.Time) {
	for i := len(byTime) - 1; i > 0 && c.Bytes-p.Bytes > limit; i-- {
		b := byTime[i]
		if !kept[b.Mark] || now.Sub(b.Time) < spared {
			continue
		}
		delete(kept, b.Mark)
		if i <= anchor {
			anchor = i - 1
		}
		c.fill(p, kept, byTime[anchor].Info.Last, now)
	}
}

// holes are the revisions between what can still be restored afterwards, and those that
// were holes before.
func (c *Contents) holes(p *Pruning, now time.Time) {
	if p.Empty() {
		return
	}
	after := &Contents{Timeline: c.Timeline, Bases: p.Kept}
	gone := map[Segment]bool{}
	for _, s := range p.Segments {
		gone[s] = true
	}
	for _, s := range c.Segments {
		if !gone[s] {
			after.Segments = append(after.Segments, s)
		}
	}
	was := c.Spans()
	next := segment.Revision(1)
	if len(was) > 0 {
		next = was[0].First
	}
	p.Holes = slices.Clone(c.Pruned)
	for _, span := range after.Spans() {
		if span.First > next {
			p.Holes = append(p.Holes, Hole{First: next, Last: span.First - 1, At: now.UTC()})
		}
		next = span.Last + 1
	}
	p.Holes = mergeHoles(p.Holes)
}

func mergeHoles(holes []Hole) (merged []Hole) {
	slices.SortFunc(holes, func(a, b Hole) int { return cmp.Compare(a.First, b.First) })
	for _, h := range holes {
		if n := len(merged); n > 0 && h.First <= merged[n-1].Last+1 {
			merged[n-1].Last, merged[n-1].At = max(merged[n-1].Last, h.Last), later(merged[n-1].At, h.At)
			continue
		}
		merged = append(merged, h)
	}
	return merged
}

package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
)

// Contents is what a timeline holds, as names and documents tell.
type Contents struct {
	Timeline Timeline
	Bases    []Base    // ascending by revision, then time
	Segments []Segment // ascending by first revision, the longest first
	Idle     []Mark    // ascending by time
	Pruned   []Hole    // ascending
	// Uncommitted are data of bases without .info: a writer's that is at work, or that came
	// to an end.
	Uncommitted []string
	// Begun are their marks.
	Begun []Mark
	// Damaged are objects that can't be used, and why.
	Damaged []error
	// Strange are names that mean nothing here.
	Strange []string
	Bytes   int64 // of all objects

	runs []run // of Segments, once somebody has asked
}

// Hole is a run of revisions that retention took out: they are missing on purpose.
type Hole struct {
	First segment.Revision `json:"first"`
	Last  segment.Revision `json:"last"`
	At    time.Time        `json:"at"`
}

// minSegment is the size of the smallest envelope (docs/archive-format.md). A power cut may
// leave a file without its bytes: as an object it is absent.
const minSegment = 212 + 8 + 1 + 32

// Contents lists a timeline. A base whose .info is damaged stands in Damaged; the error is
// the store's own.
func (a *Archive) Contents(ctx context.Context, t Timeline) (*Contents, error) {
	objects, err := a.bucket.objects(ctx, a.key(t.ID, ""))
	if err != nil {
		return nil, err
	}
	c := &Contents{Timeline: t}
	data, infos := map[Mark]stored{}, []Mark{}
	for _, o := range objects {
		c.Bytes += o.size
		if mark, ok := c.sort(o, data); ok {
			infos = append(infos, mark)
		}
	}
	if err := a.readInfos(ctx, c, data, infos); err != nil {
		return nil, err
	}
	for m, o := range data {
		c.Uncommitted, c.Begun = append(c.Uncommitted, o.name), append(c.Begun, m)
	}
	if err := a.readPruned(ctx, c, objects); err != nil {
		return nil, err
	}
	if a.asks() {
		c.Idle = nil // nobody signs them
	}
	c.order()
	return c, nil
}

// sort puts an object where it belongs; of an .info it gives the mark.
func (c *Contents) sort(o stored, data map[Mark]stored) (Mark, bool) {
	if s, ok := parseSegment(o); ok && o.size < minSegment {
		c.Damaged = append(c.Damaged, fmt.Errorf("read %s: %w", o.name, damaged("it has %d bytes, and is cut", o.size)))
		return Mark{}, false
	} else if ok {
		c.Segments = append(c.Segments, s)
		return Mark{}, false
	}
	if m, ok := parseMark(idlePattern, o.name); ok {
		c.Idle = append(c.Idle, m)
		return Mark{}, false
	}
	if name, ok := strings.CutSuffix(o.name, infoSuffix); ok {
		if m, ok := parseMark(basePattern, name); ok {
			return m, true
		}
	}
	if name, ok := strings.CutSuffix(strings.TrimSuffix(o.name, ageSuffix), baseSuffix); ok {
		if m, ok := parseMark(basePattern, name); ok {
			data[m] = o
			return Mark{}, false
		}
	}
	if o.name != timelineObject && o.name != prunedObject && o.name != verifiedObject {
		c.Strange = append(c.Strange, o.name)
	}
	return Mark{}, false
}

func (a *Archive) readInfos(ctx context.Context, c *Contents, data map[Mark]stored, infos []Mark) error {
	for _, m := range infos {
		b, err := a.readInfo(ctx, c.Timeline.ID, m)
		o, there := data[m]
		delete(data, m)
		switch {
		case errors.Is(err, ErrDamaged):
			c.Damaged = append(c.Damaged, err)
		case errors.Is(err, ErrNotFound): // pruned meanwhile
		case err != nil:
			return err
		case !there:
			c.Damaged = append(c.Damaged, fmt.Errorf("base of revision %d: %w", m.Revision, damaged("its data is missing, and its .info is there")))
		case o.size != b.Info.StoredSize:
			c.Damaged = append(c.Damaged, fmt.Errorf("read %s: %w", o.name, damaged("it has %d bytes, and should have %d", o.size, b.Info.StoredSize)))
		default:
			b.Sealed = strings.HasSuffix(o.name, ageSuffix)
			c.Bases = append(c.Bases, b)
		}
	}
	return nil
}

func (a *Archive) readPruned(ctx context.Context, c *Contents, objects []stored) error {
	if !slices.ContainsFunc(objects, func(o stored) bool { return o.name == prunedObject }) {
		return nil
	}
	_, err := a.getDocument(ctx, c.Timeline.ID, prunedObject, &c.Pruned)
	if errors.Is(err, ErrDamaged) {
		c.Damaged, err = append(c.Damaged, err), nil
	}
	return err
}

// Without is what there is without some bases and segments.
func (c *Contents) Without(bases []Mark, segments []Segment) *Contents {
	rest := *c
	rest.runs = nil
	rest.Bases = slices.DeleteFunc(slices.Clone(c.Bases), func(b Base) bool { return slices.Contains(bases, b.Mark) })
	rest.Segments = slices.DeleteFunc(slices.Clone(c.Segments), func(s Segment) bool { return slices.Contains(segments, s) })
	return &rest
}

func (c *Contents) order() {
	slices.SortFunc(c.Bases, func(a, b Base) int {
		return cmp.Or(cmp.Compare(a.Info.Last, b.Info.Last), a.Time.Compare(b.Time), cmp.Compare(a.Writer, b.Writer))
	})
	sortSegments(c.Segments)
	slices.SortFunc(c.Idle, func(a, b Mark) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Revision, b.Revision)) })
	slices.SortFunc(c.Pruned, func(a, b Hole) int { return cmp.Compare(a.First, b.First) })
	slices.Sort(c.Strange)
}

package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
)

var noon = time.Date(2026, 7, 25, 12, 0, 0, 0, time.UTC)

func at(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }

func baseAt(minutes int, floor, last segment.Revision) Base {
	return Base{Mark: Mark{Revision: last, Time: at(minutes), Writer: 1}, Info: Info{Last: last, Floor: floor, StoredSize: 100}}
}

func segmentAt(minutes int, first, last segment.Revision) Segment {
	return Segment{Name: segment.Name{First: first, Last: last, Time: at(minutes), Writer: 1}, Size: 10}
}

// history is a timeline's contents out of bases and segments.
func history(bases []Base, segments ...Segment) *Contents {
	c := &Contents{Timeline: Timeline{ID: "20260725T120000Z-00000001"}, Bases: bases, Segments: segments}
	c.order()
	for _, b := range bases {
		c.Bytes += b.Info.StoredSize
	}
	for _, s := range segments {
		c.Bytes += s.Size
	}
	return c
}

// chainText is "base of 10: 11-20 21-30, beside 12-15".
func chainText(c Chain) string {
	text := fmt.Sprintf("base of %d:", c.Base.Info.Last)
	for _, s := range c.Segments {
		text += fmt.Sprintf(" %d-%d", s.First, s.Last)
	}
	for _, s := range c.Beside {
		text += fmt.Sprintf(", beside %d-%d", s.First, s.Last)
	}
	return text
}

func TestChain(t *testing.T) {
	c := history([]Base{baseAt(0, 5, 10), baseAt(30, 60, 100), baseAt(60, 190, 200)},
		segmentAt(1, 9, 20), segmentAt(2, 21, 40), segmentAt(2, 15, 35), segmentAt(1, 10, 12), segmentAt(3, 41, 50),
		segmentAt(31, 98, 120), segmentAt(32, 121, 150))
	for _, test := range []struct {
		revision segment.Revision
		want     string
		err      error
	}{
		{4, "", ErrNoBase}, {5, "base of 10:", nil}, {10, "base of 10:", nil}, {11, "base of 10: 9-20", nil},
		{20, "base of 10: 9-20, beside 10-12", nil}, {21, "base of 10: 9-20 21-40, beside 10-12", nil}, {34, "base of 10: 9-20 21-40, beside 10-12", nil},
		{35, "base of 10: 9-20 21-40, beside 10-12, beside 15-35", nil}, {50, "base of 10: 9-20 21-40 41-50, beside 10-12, beside 15-35", nil},
		{51, "", ErrGap}, {59, "", ErrGap}, {60, "base of 100:", nil}, {99, "base of 100:", nil}, {101, "base of 100: 98-120", nil},
		{150, "base of 100: 98-120 121-150", nil}, {151, "", ErrGap}, {189, "", ErrGap}, {190, "base of 200:", nil}, {200, "base of 200:", nil}, {201, "", ErrNoBase},
	} {
		chain, err := c.Chain(test.revision)
		if !errors.Is(err, test.err) || err == nil && chainText(chain) != test.want {
			t.Errorf("revision %d: %s, %v, want %s, %v", test.revision, chainText(chain), err, test.want, test.err)
		}
	}
	if _, err := c.Chain(55); err == nil || !strings.Contains(err.Error(), "the last before it is 50") || !strings.Contains(err.Error(), "the first after it 60") {
		t.Errorf("the gap's error names no way: %v", err)
	}
	var spans []string
	for _, s := range c.Spans() {
		spans = append(spans, fmt.Sprintf("%d-%d", s.First, s.Last))
	}
	if diff := cmp.Diff([]string{"5-50", "60-150", "190-200"}, spans); diff != "" {
		t.Error(diff)
	}
}

func TestKnown(t *testing.T) {
	c := history([]Base{baseAt(0, 1, 10), baseAt(60, 80, 100)}, segmentAt(5, 11, 20))
	c.Idle = []Mark{{Revision: 20, Time: at(9), Writer: 1}}
	for _, test := range []struct {
		revision segment.Revision
		minutes  int
		want     bool
	}{
		{10, 3, true}, {20, 5, true}, {20, 9, true}, {20, 10, false}, {100, 60, true}, {100, 61, false},
	} {
		if got := c.Known(test.revision, at(test.minutes)); got != test.want {
			t.Errorf("revision %d known to be the last %d minutes on: %v, want %v", test.revision, test.minutes, got, test.want)
		}
	}
	if last, until := history(nil).Latest(); last != 0 || !until.IsZero() {
		t.Errorf("of nothing the latest is %d at %s", last, until)
	}
}

func TestPlanPruning(t *testing.T) {
	var bases []Base
	var segments []Segment
	const hours = 24 * 10
	for hour := range hours { // a base and a segment an hour
		first := segment.Revision(1 + 10*hour)
		bases = append(bases, baseAt(60*hour, first-1, first))
		segments = append(segments, segmentAt(60*hour+59, first+1, first+10))
	}
	c := history(bases, segments...)
	now := at(60 * hours)
	for _, test := range []struct {
		name            string
		keep            Keep
		bases, segments int // that go
	}{
		{"all within", Keep{Within: 1000 * time.Hour}, 0, 0},
		{"a day of all", Keep{Within: 24 * time.Hour}, hours - 25, hours - 25},
		{"three days of all", Keep{Within: 72 * time.Hour}, hours - 73, hours - 73},
		{"the last", Keep{Last: 1}, hours - 23, hours - 24}, // a day is spared
		{"the last hundred", Keep{Last: 100}, hours - 100, hours - 100},
		{"one a day besides", Keep{Within: 24 * time.Hour, Daily: 8}, hours - 25 - 6, hours - 25},
		{"by size", Keep{Within: 1000 * time.Hour, MaxSize: 110 * 50}, hours - 50, hours - 50},
		{"by size alone", Keep{MaxSize: 110 * 50}, hours - 50, hours - 50},
		{"small enough", Keep{MaxSize: 1 << 30}, 0, 0},
		{"by size, old bases first", Keep{Within: 48 * time.Hour, Daily: 9, MaxSize: 110*49 + 100*3}, hours - 49 - 3, hours - 49},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := c.PlanPruning(test.keep, now)
			if len(p.Bases) != test.bases || len(p.Segments) != test.segments {
				t.Errorf("%d bases and %d segments go, want %d and %d", len(p.Bases), len(p.Segments), test.bases, test.segments)
			}
			if len(p.Kept)+len(p.Bases) != hours {
				t.Errorf("%d are kept, %d go, of %d", len(p.Kept), len(p.Bases), hours)
			}
			if newest := p.Kept[len(p.Kept)-1]; newest.Info.Last != bases[hours-1].Info.Last {
				t.Errorf("the newest base goes")
			}
		})
	}
}

// What is left after a pruning can be restored, and what can't is noted as a hole.
func TestPruningLeavesWhatItSays(t *testing.T) {
	c := history([]Base{baseAt(0, 0, 10), baseAt(1440, 19, 20), baseAt(2880, 29, 30), baseAt(4320, 39, 40)},
		segmentAt(5, 11, 20), segmentAt(1445, 21, 30), segmentAt(2885, 31, 40), segmentAt(4325, 41, 50))
	p := c.PlanPruning(Keep{Last: 1, Daily: 2}, at(10000))
	if len(p.Bases) != 2 || len(p.Segments) != 3 {
		t.Fatalf("%d bases and %d segments go, want 2 and 3", len(p.Bases), len(p.Segments))
	}
	after := history(p.Kept, segmentAt(4325, 41, 50))
	for revision := segment.Revision(1); revision <= 50; revision++ {
		_, err := after.Chain(revision)
		hole := false
		for _, h := range p.Holes {
			hole = hole || h.First <= revision && revision <= h.Last
		}
		if (err != nil) != hole {
			t.Errorf("revision %d: %v, and noted as a hole: %v", revision, err, hole)
		}
	}
}

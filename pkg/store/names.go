package store

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
)

const (
	timelineObject = "timeline.json"
	prunedObject   = "pruned.json"
	infoSuffix     = ".info"
	baseSuffix     = ".db.zst"
	ageSuffix      = ".age"

	timelineLayout = "20060102T150405Z"
)

var (
	folderPattern   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
	timelinePattern = regexp.MustCompile(`^([0-9]{8}T[0-9]{6}Z)-[0-9a-f]{8}$`)
	basePattern     = regexp.MustCompile(`^base-([0-9a-f]{16})-([0-9]{8}T[0-9]{6}\.[0-9]{3}Z)-([0-9a-f]{8})$`)
	idlePattern     = regexp.MustCompile(`^idle-([0-9a-f]{16})-([0-9]{8}T[0-9]{6}\.[0-9]{3}Z)-([0-9a-f]{8})$`)
)

// TimelineID names an unbroken history: when it was opened, and eight random digits.
type TimelineID string

// NewTimelineID names a timeline that is opened now.
func NewTimelineID(now time.Time, random uint32) TimelineID {
	return TimelineID(fmt.Sprintf("%s-%08x", now.UTC().Format(timelineLayout), random))
}

func parseTimelineID(s string) (TimelineID, bool) {
	m := timelinePattern.FindStringSubmatch(s)
	if m == nil {
		return "", false
	}
	_, err := time.Parse(timelineLayout, m[1])
	return TimelineID(s), err == nil
}

// Mark is what the name of a base or an idle note tells.
type Mark struct {
	// Revision is one that a linearizable read through the member gave: a base holds it
	// and perhaps later ones; an idle note tells that there was none after it by Time.
	Revision segment.Revision
	Time     time.Time // to the millisecond
	Writer   segment.WriterID
}

func (m Mark) name(kind string) string {
	return fmt.Sprintf("%s-%s-%s-%s", kind, m.Revision, m.Time.UTC().Format(segment.TimeLayout), m.Writer)
}

func parseMark(pattern *regexp.Regexp, s string) (Mark, bool) {
	part := pattern.FindStringSubmatch(s)
	if part == nil {
		return Mark{}, false
	}
	revision, err1 := strconv.ParseInt(part[1], 16, 64)
	at, err2 := time.Parse(segment.TimeLayout, part[2])
	writer, err3 := strconv.ParseUint(part[3], 16, 32)
	ok := err1 == nil && err2 == nil && err3 == nil && revision > 0
	return Mark{segment.Revision(revision), at.UTC(), segment.WriterID(writer)}, ok
}

// stored is an object as the bucket lists it.
type stored struct {
	name string // in the timeline's folder
	size int64
	at   time.Time // when it was last written, by the store's clock
}

// Segment is a segment's object.
type Segment struct {
	segment.Name
	Sealed bool  // encrypted
	Size   int64 // bytes, the envelope included
}

// object is its name in the timeline's folder.
func (s Segment) object() string { return sealedName(s.String(), s.Sealed) }

func sealedName(name string, sealed bool) string {
	if sealed {
		return name + ageSuffix
	}
	return name
}

func parseSegment(o stored) (Segment, bool) {
	plain, sealed := strings.CutSuffix(o.name, ageSuffix)
	name, err := segment.ParseName(plain)
	return Segment{Name: name, Sealed: sealed, Size: o.size}, err == nil
}

// sortSegments puts them in the order of their first revision; of several that begin with
// one, the longest first.
func sortSegments(list []Segment) {
	slices.SortFunc(list, func(a, b Segment) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(b.Last, a.Last), cmp.Compare(a.Writer, b.Writer))
	})
}

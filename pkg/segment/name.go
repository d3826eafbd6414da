package segment

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// Name is what an object's name tells of the segment in it, so that a listing is enough to
// find one. Names of one timeline sort by first revision.
type Name struct {
	First, Last Revision
	Time        time.Time // the segment's LastTime, rounded down to TimeLayout's milliseconds
	Writer      WriterID
}

// TimeLayout is how times stand in names, in UTC: text that sorts as the times do.
const TimeLayout = "20060102T150405.000Z"

// String is seg-FIRST-LAST-TIME-WRITER.kseg, with revisions and writer in hexadecimal.
func (n Name) String() string {
	return fmt.Sprintf("seg-%s-%s-%s-%s.kseg", n.First, n.Last, n.Time.UTC().Format(TimeLayout), n.Writer)
}

var namePattern = regexp.MustCompile(`^seg-([0-9a-f]{16})-([0-9a-f]{16})-([0-9]{8}T[0-9]{6}\.[0-9]{3}Z)-([0-9a-f]{8})\.kseg$`)

// ParseName reads what String made, and nothing else.
func ParseName(s string) (Name, error) {
	part := namePattern.FindStringSubmatch(s)
	if part == nil {
		return Name{}, fmt.Errorf("parse %q: not a segment's name", s)
	}
	first, err1 := strconv.ParseInt(part[1], 16, 64)
	last, err2 := strconv.ParseInt(part[2], 16, 64)
	if err1 != nil || err2 != nil || first < 1 || last < first {
		return Name{}, fmt.Errorf("parse %q: its revisions can't be", s)
	}
	at, err := time.Parse(TimeLayout, part[3])
	if err != nil {
		return Name{}, fmt.Errorf("parse %q: its time can't be", s)
	}
	writer, err := strconv.ParseUint(part[4], 16, 32)
	if err != nil {
		return Name{}, fmt.Errorf("parse %q: %w", s, err)
	}
	return Name{Revision(first), Revision(last), at.UTC(), WriterID(writer)}, nil
}

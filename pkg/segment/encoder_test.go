package segment

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"
)

// A record that can't follow is refused, and leaves no trace.
func TestEncoderRefuses(t *testing.T) {
	before := spec{Progress{Revision: 9, Time: at(5)}, change(10, 20, put("a", "1")), Progress{Revision: 10, Time: at(25)}}
	after := change(11, 30, put("b", "1"))
	want, _ := append(before[:len(before):len(before)], after).encode(t)
	interval := func(lower, upper time.Time) Change {
		return Change{Revision: 11, Lower: lower, Upper: upper, Events: after.Events}
	}
	for _, test := range []struct {
		name   string
		record Record
		reason string
	}{
		{"gap", change(12, 30, put("b", "1")), "revision 12 follows 10"},
		{"again", change(10, 30, put("b", "1")), "revision 10 follows 10"},
		{"time back", change(11, 24, put("b", "1")), "time goes back"},
		{"lower bound back", interval(at(18), at(30)), "time goes back"},
		{"lower above upper", interval(at(31), at(30)), "committed between"},
		{"no time", interval(time.Time{}, at(30)), "can't be"},
		{"1970", interval(time.Unix(0, 0), at(30)), "can't be"},
		{"far future", interval(at(30), time.Date(2263, 1, 1, 0, 0, 0, 0, time.UTC)), "can't be"},
		{"no event", change(11, 30), "no event"},
		{"negative", change(-1, 30, put("b", "1")), "not above 0"},
		{"no key", change(11, 30, put("", "1")), "put of an empty key"},
		{"a mark beside others", change(11, 30, put("b", "1"), Event{}), "event 1: put of an empty key"},
		{"other mod revision", change(11, 30, putOf(keyValue{key: []byte("b"), create: 9, modified: 10, version: 2})), "mod revision 10"},
		{"create after mod", change(11, 30, putOf(keyValue{key: []byte("b"), create: 12, modified: 11, version: 2})), "create revision 12"},
		{"no version", change(11, 30, putOf(keyValue{key: []byte("b"), create: 11, modified: 11})), "version 0"},
		{"tombstone with a value", change(11, 30, Event{Tombstone: true, Record: put("b", "1").Record}), "delete holds more"},
		{"tombstone of nothing", change(11, 30, Event{Tombstone: true}), "delete of an empty key"},
		{"garbage", change(11, 30, Event{Record: []byte("x")}), "no KeyValue"},
		{"cut record", change(11, 30, Event{Record: []byte{0x0a, 5, 'k'}}), "no KeyValue"},
		{"lease 0", Lease{TTL: 5}, "lease 0"},
		{"negative TTL", Lease{ID: 5, TTL: -1}, "TTL of -1"},
		{"leases descend", Leases{IDs: []LeaseID{5, 4}}, "do not ascend"},
		{"lease twice", Leases{IDs: []LeaseID{5, 5}}, "do not ascend"},
		{"progress beyond", Progress{Revision: 11, Time: at(30)}, "progress of revision 11 follows revision 10"},
		{"progress back in time", Progress{Revision: 10, Time: at(24)}, "time goes back"},
		{"progress of nothing", Progress{Time: at(30)}, "progress of revision 0"},
		{"compaction of nothing", Compact{}, "compaction at revision 0"},
		{"hash of nobody", Hash{Revision: 10, Hash: 1}, "hash of member 0"},
		{"hash before its beginning", Hash{Member: 1, Revision: 10, CompactRevision: 11}, "compacted at 11"},
	} {
		var body bytes.Buffer
		e := NewEncoder(&body)
		for _, record := range before {
			if err := e.Encode(record); err != nil {
				t.Fatal(err)
			}
		}
		if err := e.Encode(test.record); err == nil || !strings.Contains(err.Error(), test.reason) {
			t.Errorf("%s: Encode = %v, want %q", test.name, err, test.reason)
		}
		if err := e.Encode(after); err != nil {
			t.Errorf("%s: afterwards Encode = %v", test.name, err)
		}
		if _, err := e.Close(); err != nil || !bytes.Equal(body.Bytes(), want) {
			t.Errorf("%s: the body has a trace of it (%v)", test.name, err)
		}
	}
}

// A progress before any change tells what must not follow.
func TestEncoderProgressFirst(t *testing.T) {
	e := NewEncoder(io.Discard)
	if err := e.Encode(Progress{Revision: 10, Time: at(5)}); err != nil {
		t.Fatal(err)
	}
	if err := e.Encode(change(10, 20, put("a", "1"))); err == nil {
		t.Error("a change was taken that an earlier progress had told of")
	}
}

// A revision that fits no block: the caller has to know, for a new base is the way out.
func TestEncoderTooLarge(t *testing.T) {
	huge := change(11, 30)
	event := putOf(keyValue{key: []byte("a"), create: 11, modified: 11, version: 1, value: make([]byte, 1<<20)})
	for range maxChange>>20 + 1 {
		huge.Events = append(huge.Events, event)
	}
	e := NewEncoder(io.Discard)
	if err := e.Encode(huge); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Encode = %v", err)
	}
	if err := e.Encode(change(11, 30, put("a", "1"))); err != nil {
		t.Errorf("afterwards Encode = %v", err)
	}
}

func TestEncoderEmpty(t *testing.T) {
	e := NewEncoder(io.Discard)
	if err := e.Encode(Progress{Revision: 10, Time: at(5)}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Close(); err == nil {
		t.Error("a body without a change was closed")
	}
}

func TestEncoderClosed(t *testing.T) {
	e := NewEncoder(io.Discard)
	if err := e.Encode(change(10, 20, put("a", "1"))); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := e.Encode(change(11, 20, put("a", "1"))); err == nil {
		t.Error("a closed encoder took a change")
	}
	if _, err := e.Close(); err == nil {
		t.Error("it was closed twice")
	}
}

// What is encoded is the caller's again: nothing of it is kept.
func TestEncoderKeepsNothing(t *testing.T) {
	body, _ := smallSpec().encode(t)
	var got bytes.Buffer
	e := NewEncoder(&got)
	for _, record := range smallSpec() {
		if err := e.Encode(record); err != nil {
			t.Fatal(err)
		}
		if c, ok := record.(Change); ok {
			for i := range c.Events {
				clear(c.Events[i].Record)
				c.Events[i] = Event{}
			}
		}
	}
	if _, err := e.Close(); err != nil || !bytes.Equal(got.Bytes(), body) {
		t.Errorf("another body (%v)", err)
	}
}

type failing struct{ left int }

var errDiskFull = errors.New("disk full")

func (f *failing) Write(p []byte) (int, error) {
	if f.left--; f.left < 0 {
		return 0, errDiskFull
	}
	return len(p), nil
}

// The writer's error comes out at once, and again.
func TestEncoderWriteError(t *testing.T) {
	for writes := range 8 { // head, 3 blocks of 2 writes, footer
		e := NewEncoder(&failing{writes})
		e.block = smallBlock
		var err error
		for _, record := range smallSpec() {
			err = errors.Join(err, e.Encode(record))
		}
		_, closed := e.Close()
		if !errors.Is(closed, errDiskFull) {
			t.Errorf("after %d writes Close = %v", writes, closed)
		}
		if early := writes < 5; errors.Is(err, errDiskFull) != early {
			t.Errorf("after %d writes Encode = %v", writes, err)
		}
	}
}

// Blocks hold what they should: no revision is split, none but the large are over the size.
func TestBlocks(t *testing.T) {
	var s spec
	for i := range 3000 {
		s = append(s, change(Revision(i+2), int64(i), put("key", strings.Repeat("v", 1000)), put("other", "v")))
	}
	s[1000] = change(1002, 1000, put("large", strings.Repeat("l", 5*BlockSize)), put("b", ""))
	body, _ := s.encode(t)
	records, _, err := readAll(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	same(t, s, records)
	r, err := NewReader(bytes.NewReader(body), int64(len(body)))
	if err != nil {
		t.Fatal(err)
	}
	var sizes []int
	for _, entry := range r.index {
		head, err := parseBlockHead(body[entry.offset : entry.offset+blockHeadSize])
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, int(head.size)>>10)
		if alone := head.span.first == head.span.last; head.size > BlockSize && !alone {
			t.Errorf("the revisions %d to %d share %d bytes", head.span.first, head.span.last, head.size)
		}
	}
	if want := []int{1020, 5120, 1023, 1018}; !reflect.DeepEqual(sizes, want) {
		t.Errorf("blocks of %d KiB, want %d", sizes, want)
	}
}

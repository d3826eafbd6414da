package segment

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// spec is a segment's records, written down so that a test can be read.
type spec []Record

// encode gives the body, and what the encoder said of it.
func (s spec) encode(t testing.TB) ([]byte, Summary) {
	t.Helper()
	return s.encodeIn(t, BlockSize)
}

// encodeIn is encode with blocks of another size.
func (s spec) encodeIn(t testing.TB, block int) ([]byte, Summary) {
	t.Helper()
	var body bytes.Buffer
	e := NewEncoder(&body)
	e.block = block
	for _, record := range s {
		if err := e.Encode(record); err != nil {
			t.Fatalf("Encode(%+v) = %v", record, err)
		}
	}
	summary, err := e.Close()
	if err != nil {
		t.Fatal(err)
	}
	return body.Bytes(), summary
}

// segment gives the whole object.
func (s spec) segment(t testing.TB) []byte {
	t.Helper()
	body, summary := s.encode(t)
	return seal(t, body, summary)
}

// small is a segment of three blocks in a few hundred bytes, and how many of them are the
// envelope's.
func small(t testing.TB) (object []byte, head int) {
	t.Helper()
	body, summary := smallSpec().encodeIn(t, smallBlock)
	object = seal(t, body, summary)
	return object, len(object) - len(body)
}

// smallBlock is so small that each change has a block.
const smallBlock = 1

func smallSpec() spec {
	return spec{
		change(42, 10, put("/registry/pods/default/web-0", "web"), put("/registry/leases/a", "")),
		Lease{ID: 0x694d7c1f5e8a2b03, TTL: 3600},
		Leases{IDs: []LeaseID{0x694d7c1f5e8a2b03, 0x694d7c1f5e8a2b07}},
		Hash{Member: 0x8e9e05c52164694d, Revision: 42, CompactRevision: 30, Hash: 0xdeadbeef},
		change(43, 20, tombstone("/registry/leases/a")),
		Progress{Revision: 43, Time: at(25)},
		change(44, 30, put("b", "2"), tombstone("b")),
		Compact{Revision: 40},
	}
}

// seal puts an envelope before a body.
func seal(t testing.TB, body []byte, summary Summary) []byte {
	t.Helper()
	b, err := envelope(body, summary).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return append(b, body...)
}

// envelope is an envelope that fits.
func envelope(body []byte, summary Summary) *Envelope {
	return &Envelope{
		Identity:  Identity{KubeSystemUID: "5a1b0b0e-5d3c-4a44-8f0c-0d8f6f1f7c11", Cluster: 0xcdf818194e3a8c32, Members: []ID{0x8e9e05c52164694d, 0xfd422379fda50e48}},
		Timeline:  "20260725T143000Z-0badcafe",
		Writer:    0x1a2b3c4d,
		Summary:   summary,
		Body:      Body{int64(len(body)), digestOf(body)},
		Before:    digestOf([]byte("the segment before")),
		Signature: []byte("the store's"),
	}
}

// readAll reads a body in front, as far as it goes.
func readAll(r io.Reader) (records []Record, summary Summary, err error) {
	d := NewDecoder(r)
	records, err = drain(d)
	return records, d.Summary(), err
}

func drain(d *Decoder) (records []Record, err error) {
	for {
		record, err := d.Next()
		if errors.Is(err, io.EOF) {
			return records, nil
		}
		if err != nil {
			return records, err
		}
		records = append(records, record)
	}
}

// readSegment reads an object as a restore does: all of it, with every check.
func readSegment(object []byte) ([]Record, *Envelope, error) {
	r := bytes.NewReader(object)
	e, err := ReadEnvelope(r)
	if err != nil {
		return nil, nil, err
	}
	records, summary, err := readAll(e.CheckBody(r))
	if err != nil {
		return nil, nil, err
	}
	return records, e, e.Check(summary)
}

// same compares records. Only when they differ it looks how, for that takes long.
func same(t testing.TB, want, got []Record) {
	t.Helper()
	if !reflect.DeepEqual(want, got) {
		t.Errorf("records (-want +got):\n%s", cmp.Diff(want, got))
	}
}

// at is a time, in milliseconds after some start.
func at(ms int64) time.Time {
	return time.Date(2026, 7, 25, 14, 30, 0, 0, time.UTC).Add(time.Duration(ms) * time.Millisecond)
}

// change is a revision that was seen at ms, and committed at most a millisecond before.
func change(revision Revision, ms int64, events ...Event) Change {
	for i := range events {
		events[i].Record = atRevision(events[i].Record, revision)
	}
	return Change{Revision: revision, Lower: at(ms - 1), Upper: at(ms), Events: events}
}

// put makes a key: version 1. The change that it stands in gives it its revision.
func put(key, value string) Event {
	return putOf(keyValue{key: []byte(key), value: []byte(value), version: 1})
}

func putOf(kv keyValue) Event { return Event{Record: marshal(kv)} }

func tombstone(key string) Event {
	return Event{Tombstone: true, Record: marshal(keyValue{key: []byte(key)})}
}

// atRevision fills in the revisions that a put left out.
func atRevision(record []byte, revision Revision) []byte {
	kv, err := parseKeyValue(record)
	if err != nil || kv.version == 0 || kv.modified != 0 {
		return record
	}
	if kv.create == 0 {
		kv.create = int64(revision)
	}
	kv.modified = int64(revision)
	return marshal(kv)
}

// marshal encodes as protobuf does; TestEtcd holds it against the real one.
func marshal(kv keyValue) []byte {
	var b []byte
	text := func(field byte, v []byte) {
		if len(v) > 0 {
			b = binary.AppendUvarint(append(b, field<<3|wireBytes), uint64(len(v)))
			b = append(b, v...)
		}
	}
	number := func(field byte, v int64) {
		if v != 0 {
			b = binary.AppendUvarint(append(b, field<<3|wireVarint), uint64(v))
		}
	}
	text(fieldKey, kv.key)
	number(fieldCreate, kv.create)
	number(fieldModified, kv.modified)
	number(fieldVersion, kv.version)
	text(fieldValue, kv.value)
	number(fieldLease, kv.lease)
	return b
}

// sample has a record of every kind, and three blocks.
func sample() spec {
	large := strings.Repeat("all work and no play makes jack a dull boy\n", 16<<10)
	return spec{
		Progress{Revision: 41, Time: at(0)},
		Leases{IDs: []LeaseID{-7, 0x694d7c1f5e8a2b03, 0x694d7c1f5e8a2b07}},
		change(42, 10, put("/registry/pods/default/web-0", "web"), put("/registry/leases/a", "")),
		Lease{ID: 0x694d7c1f5e8a2b03, TTL: 3600},
		Lease{ID: -7},
		change(43, 10, putOf(keyValue{key: []byte("/registry/events/e1"), value: []byte("event"), version: 1, lease: 0x694d7c1f5e8a2b03})),
		change(44, 25, tombstone("/registry/pods/default/web-0"), put("a", large)),
		Compact{Revision: 30},
		Hash{Member: 0x8e9e05c52164694d, Revision: 44, CompactRevision: -1, Hash: 0xdeadbeef},
		change(45, 30, putOf(keyValue{key: []byte("a"), create: 44, version: 2, value: []byte(large), lease: -7})),
		Progress{Revision: 45, Time: at(31)},
		Leases{},
		Change{Revision: 46, Lower: at(29), Upper: at(40), Events: []Event{{Record: []byte{}}}}, // etcdutl's mark
		change(47, 41, put("b", large), tombstone("b"), tombstone("\x00\xff")),
		Hash{Member: 0xfd422379fda50e48, Revision: 46, CompactRevision: 30, Hash: 1},
		Progress{Revision: 47, Time: at(2000)},
	}
}

var freeze = flag.Bool("freeze", false, "write the frozen segment of a version that has none yet")

const frozen = "testdata/v1.kseg"

// TestFrozen: what version 1 wrote must decode for ever, to the same records.
func TestFrozen(t *testing.T) {
	if _, err := os.Stat(frozen); *freeze && errors.Is(err, os.ErrNotExist) {
		if err := os.WriteFile(frozen, sample().segment(t), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	object, err := os.ReadFile(frozen)
	if err != nil {
		t.Fatal(err)
	}
	records, e, err := readSegment(object)
	if err != nil {
		t.Fatal(err)
	}
	same(t, sample(), records)
	want := envelope(nil, Summary{
		First: 42, Last: 47, FirstTime: at(10), LastTime: at(2000), Events: 10, Size: 2113923,
		LastChange:  digestIn(t, "4718cdfb38f651d57ecbe526030d79cbb84103094596f7a788447a200a699976"),
		Attestation: Hash{Member: 0xfd422379fda50e48, Revision: 46, CompactRevision: 30, Hash: 1},
	})
	want.Body = Body{1305, digestIn(t, "b39713553a02cb0d76c26ebb2babf81472a1be201f3025869783a6fef9be60d4")}
	if diff := cmp.Diff(want, e); diff != "" {
		t.Errorf("envelope (-want +got):\n%s", diff)
	}
	if got, want := e.Digest(), digestIn(t, "b284568d1b104b051523ded3f5286ce87c7d92dd8bb21fb7fcd1f16563244e16"); got != want {
		t.Errorf("Digest = %s, want %s", got, want)
	}
	if got, want := e.Name().String(), "seg-000000000000002a-000000000000002f-20260725T143002.000Z-1a2b3c4d.kseg"; got != want {
		t.Errorf("Name = %s, want %s", got, want)
	}
}

func digestOf(b []byte) Digest { return sha256.Sum256(b) }

func digestIn(t testing.TB, text string) Digest {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(Digest{}) {
		t.Fatalf("%q is no digest", text)
	}
	return Digest(b)
}

package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// Any byte that changes is found, in each way to read.
func TestFlippedByte(t *testing.T) {
	object, head := small(t)
	if _, _, err := readSegment(object); err != nil {
		t.Fatal(err)
	}
	for i := range object {
		for _, flip := range []byte{0x01, 0x80, 0xff} {
			object[i] ^= flip
			if _, _, err := readSegment(object); !errors.Is(err, ErrDamaged) {
				t.Errorf("byte %d of %d with bits %#x flipped: %v", i, len(object), flip, err)
			}
			if i >= head {
				checkDamagedBody(t, i-head, object[head:])
			}
			object[i] ^= flip
		}
	}
}

// checkDamagedBody: also without the envelope's SHA-256, and by the index.
func checkDamagedBody(t *testing.T, i int, body []byte) {
	t.Helper()
	if _, _, err := readAll(bytes.NewReader(body)); !errors.Is(err, ErrDamaged) {
		t.Errorf("byte %d flipped: the decoder says %v", i, err)
	}
	r, err := NewReader(bytes.NewReader(body), int64(len(body)))
	if err == nil {
		err = drainFrom(r, 42)
	}
	if !errors.Is(err, ErrDamaged) {
		t.Errorf("byte %d flipped: the reader says %v", i, err)
	}
}

func drainFrom(r *Reader, revision Revision) error {
	d, err := r.FromRevision(revision)
	if err != nil {
		return err
	}
	_, err = drain(d)
	return err
}

func TestTruncated(t *testing.T) {
	object, head := small(t)
	for n := range object {
		if _, _, err := readSegment(object[:n]); !errors.Is(err, ErrDamaged) || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes of %d: %v", n, len(object), err)
		}
		if n < head {
			continue
		}
		body := object[head:n]
		if _, _, err := readAll(bytes.NewReader(body)); !errors.Is(err, ErrDamaged) || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes of the body: the decoder says %v", len(body), err)
		}
		if _, err := NewReader(bytes.NewReader(body), int64(len(body))); !errors.Is(err, ErrDamaged) {
			t.Errorf("%d bytes of the body: the reader says %v", len(body), err)
		}
	}
}

func TestTrailing(t *testing.T) {
	object, head := small(t)
	for _, tail := range []string{"\x00", string(object), string(object[len(object)-footerEndSize:])} {
		longer := append(bytes.Clone(object), tail...)
		if _, _, err := readSegment(longer); !errors.Is(err, ErrDamaged) {
			t.Errorf("with %d bytes behind it: %v", len(tail), err)
		}
		if _, _, err := readAll(bytes.NewReader(longer[head:])); !errors.Is(err, ErrDamaged) {
			t.Errorf("with %d bytes behind it: the decoder says %v", len(tail), err)
		}
		if r, err := NewReader(bytes.NewReader(longer[head:]), int64(len(longer)-head)); err == nil && drainFrom(r, 42) == nil {
			t.Errorf("with %d bytes behind it: the reader says nothing", len(tail))
		}
	}
}

// A newer version is told apart from damage, while the checksums are right.
func TestVersion(t *testing.T) {
	object, head := small(t)
	body := bytes.Clone(object[head:])
	binary.BigEndian.PutUint16(body[8:], Version+1)
	if _, _, err := readAll(bytes.NewReader(body)); !errors.Is(err, ErrDamaged) {
		t.Errorf("a body with another version and the old checksum: %v", err)
	}
	binary.BigEndian.PutUint32(body[12:], checksum(body[:12]))
	if _, _, err := readAll(bytes.NewReader(body)); !errors.Is(err, ErrVersion) || errors.Is(err, ErrDamaged) {
		t.Errorf("a newer body: %v", err)
	}
	if _, err := NewReader(bytes.NewReader(body), int64(len(body))); !errors.Is(err, ErrVersion) {
		t.Errorf("a newer body: the reader says %v", err)
	}
	for version, want := range map[uint16]error{Version + 1: ErrVersion, 0: ErrDamaged} {
		e := bytes.Clone(object[:head-32])
		binary.BigEndian.PutUint16(e[8:], version)
		sum := digestOf(e)
		if _, err := ReadEnvelope(bytes.NewReader(append(e, sum[:]...))); !errors.Is(err, want) {
			t.Errorf("an envelope of version %d: %v", version, err)
		}
	}
}

// allocated is how many bytes of memory f took in all.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// No claim takes memory: only what is really there does.
func TestAbsurdClaims(t *testing.T) {
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	packed := z.EncodeAll([]byte("0123456789"), nil)
	// A frame of one segment that claims 1 GiB, then the block of the honest frame: RFC 8878 3.1.1.
	frame := append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0x40, 0, 0, 0, 0}, 0x51, 0, 0)
	frame = append(frame, "0123456789"...)
	// One that claims it in many segments, with a window of 1 KiB; and one with a window of 256 MiB.
	segments := append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x80, 0, 0, 0, 0, 0x40}, frame[13:]...)
	window := append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 18 << 3}, frame[13:]...)
	of := func(size uint32, packed []byte) []byte {
		head := blockHead{packed: uint32(len(packed)), size: size, events: 1, checksum: checksum(packed), span: span{42, 42, 1, 1}}
		return append(head.append(newBodyHead()), packed...)
	}
	// Half a GiB that is announced and does not come.
	absent := blockHead{packed: MaxBlock, size: MaxBlock, events: MaxBlock / minEvent, span: span{42, 42, 1, 1}}
	// 64 MiB for 10 bytes, and they do come.
	padded := blockHead{packed: 64 << 20, size: 10, events: 1, span: span{42, 42, 1, 1}}
	for name, body := range map[string][]byte{
		"padding":         append(padded.append(newBodyHead()), make([]byte, 64<<20)...),
		"plain size":      of(MaxBlock, packed),
		"frame":           of(MaxBlock, frame),
		"frame of small":  of(10, frame),
		"segments":        of(10, segments),
		"window":          of(MaxBlock, window),
		"window of small": of(10, window),
		"packed size":     append(absent.append(newBodyHead()), packed...),
	} {
		var err error
		took := allocated(func() { _, _, err = readAll(bytes.NewReader(body)) })
		if !errors.Is(err, ErrDamaged) || took > 16<<20 {
			t.Errorf("%s: took %d MiB: %v", name, took>>20, err)
		}
	}
}

// Nor does a claim in a record.
func TestAbsurdRecords(t *testing.T) {
	absurd := binary.AppendUvarint(nil, 1<<40)
	zeros := make([]byte, 8<<20)
	changed := []byte{byte(kindChange), 42, 1, 0}
	for name, plain := range map[string][]byte{
		"leases":            append([]byte{byte(kindLeases)}, absurd...),
		"events":            slices.Concat(changed, absurd),
		"events of nothing": slices.Concat(changed, binary.AppendUvarint(nil, 8<<20), zeros),
		"negative events":   slices.Concat(changed, binary.AppendUvarint(nil, 1<<63+1), zeros),
		"an event":          slices.Concat(changed, []byte{1}, absurd, zeros),
	} {
		var err error
		took := allocated(func() { _, err = (&records{scanner: scanner{b: plain}}).next() })
		if err == nil || took > 4<<20 {
			t.Errorf("%s: took %d MiB: %v", name, took>>20, err)
		}
	}
}

// The reader's own errors are not damage.
func TestReadError(t *testing.T) {
	object, head := small(t)
	// As Go's HTTP client says it.
	cut := fmt.Errorf("connection reset: %w", io.ErrUnexpectedEOF)
	for n := range object {
		r := io.MultiReader(bytes.NewReader(object[:n]), &cutReader{cut})
		e, err := ReadEnvelope(r)
		if err == nil {
			_, _, err = readAll(e.CheckBody(r))
		}
		if !errors.Is(err, cut) || errors.Is(err, ErrDamaged) {
			t.Errorf("after %d bytes: %v", n, err)
		}
		if n < head {
			continue
		}
		seeker, err := NewReader(&cutReader{cut}, int64(len(object)-head))
		if !errors.Is(err, cut) || errors.Is(err, ErrDamaged) {
			t.Errorf("NewReader = %v, %v", seeker, err)
		}
	}
}

type cutReader struct{ err error }

func (c *cutReader) Read([]byte) (int, error)          { return 0, c.err }
func (c *cutReader) ReadAt([]byte, int64) (int, error) { return 0, c.err }

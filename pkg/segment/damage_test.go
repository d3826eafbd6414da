package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
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

// block is a block before its checksums are made, for damage that checksums don't tell.
type block struct {
	blockHead
	plain []byte
}

// blocks takes a body apart.
func blocks(t testing.TB, body []byte) (parts []block) {
	t.Helper()
	r, err := NewReader(bytes.NewReader(body), int64(len(body)))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range r.index {
		b := body[entry.offset:]
		head, err := parseBlockHead(b[:blockHeadSize])
		if err != nil {
			t.Fatal(err)
		}
		plain, err := new(unpacker).unpack(b[blockHeadSize:blockHeadSize+int(head.packed)], int(head.size))
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, block{head, plain})
	}
	return parts
}

// assemble makes a body of blocks, with all checksums right.
func assemble(t testing.TB, parts []block) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil, zstd.WithEncoderCRC(false))
	if err != nil {
		t.Fatal(err)
	}
	body := newBodyHead()
	var index []indexEntry
	for _, part := range parts {
		packed := z.EncodeAll(part.plain, nil)
		head := part.blockHead
		head.packed, head.checksum = uint32(len(packed)), checksum(packed)
		index = append(index, indexEntry{int64(len(body)), head.span})
		body = append(head.append(body), packed...)
	}
	return appendFooter(body, index, func([]byte) Digest {
		// appendFooter has not returned yet: the index is what it will append.
		var listed []byte
		for _, entry := range index {
			listed = entry.span.append(binary.BigEndian.AppendUint64(listed, uint64(entry.offset)))
		}
		begin := binary.BigEndian.AppendUint32([]byte(footerMagic), uint32(len(index)))
		return digestOf(bytes.Join([][]byte{body, begin, listed}, nil))
	})
}

// Damage with all checksums recomputed: what a writer of ours never writes.
func TestForged(t *testing.T) {
	body, _ := smallSpec().encodeIn(t, smallBlock)
	if !bytes.Equal(assemble(t, blocks(t, body))[:16], body[:16]) {
		t.Fatal("assemble makes other bodies")
	}
	if _, _, err := readAll(bytes.NewReader(assemble(t, blocks(t, body)))); err != nil {
		t.Fatal(err)
	}
	only := func(b []block, records ...Record) []block {
		b[1].plain = nil
		var at cursor
		for _, record := range records {
			b[1].plain = record.append(b[1].plain, &at)
		}
		b[1].size = uint32(len(b[1].plain))
		return b
	}
	for _, test := range []struct {
		name   string
		forge  func(b []block) []block
		reason string
	}{
		{"blocks swapped", func(b []block) []block { b[0], b[1] = b[1], b[0]; return b }, "block 1 after revision 43: segment is damaged: it begins at revision 42, after 43"},
		{"a block missing", func(b []block) []block { return append(b[:1], b[2:]...) }, "block 1 after revision 42: segment is damaged: it begins at revision 44, after 42"},
		{"a block twice", func(b []block) []block { return append(b[:1], b...) }, "begins at revision 42, after 42"},
		{"no block", func([]block) []block { return nil }, "no block begins here"},
		{"a block's time back", func(b []block) []block { b[1].span.firstTime = 1; return b }, "time goes back"},
		{"a span upside down", func(b []block) []block { b[0].span.last = 41; return b }, "it spans the revisions 42 to 41"},
		{"a span of nothing", func(b []block) []block { b[0].span.first = 0; return b }, "it spans the revisions 0 to 42"},
		{"a block without a change", func(b []block) []block { return only(b, Lease{ID: 5}) }, "its header tells of other records"},
		{"a header with fewer events", func(b []block) []block { b[0].events--; return b }, "its header tells of other records"},
		{"a header with more revisions", func(b []block) []block { b[2].span.last++; return b }, "its header tells of other records"},
		{"a header of another time", func(b []block) []block { b[2].span.lastTime++; return b }, "its header tells of other records"},
		{"a size too small", func(b []block) []block { b[0].size--; return b }, "block 0: segment is damaged: unpack"},
		{"a size too large", func(b []block) []block { b[0].size++; return b }, "unpack"},
		{"no record", func(b []block) []block { b[0].plain, b[0].size = nil, 0; return b }, "claims"},
		{"a size beyond all", func(b []block) []block { b[0].size = MaxBlock + 1; return b }, "claims"},
		{"events beyond the size", func(b []block) []block { b[0].events = b[0].size; return b }, "claims"},
		{"a revision again", func(b []block) []block { return only(b, change(42, 20, put("a", ""))) }, "revision 42 follows 42"},
		{"a revision missing", func(b []block) []block { return only(b, change(44, 20, put("a", ""))) }, "revision 44 follows 42"},
		{"time back", func(b []block) []block { return only(b, change(43, 9, put("a", ""))) }, "time goes back"},
		{"a record that can't be", func(b []block) []block { return only(b, change(43, 20, put("", ""))) }, "block 1 after revision 42: segment is damaged: revision 43: event 0: put of an empty key"},
		{"a record of another revision", func(b []block) []block {
			return only(b, change(43, 20, putOf(keyValue{key: []byte("a"), create: 2, modified: 42, version: 1})))
		}, "mod revision 42"},
		{"an unknown record", func(b []block) []block { b[0].plain[0] = 99; return b }, "malformed record"},
		{"a record cut short", func(b []block) []block { b[0].plain = b[0].plain[:b[0].size-1]; b[0].size--; return b }, "malformed record"},
		{"a record of half a varint", func(b []block) []block {
			b[0].plain = append(b[0].plain, byte(kindCompact), 0x80)
			b[0].size += 2
			return b
		}, "malformed record"},
		{"too many events", func(b []block) []block { b[0].plain[len("?r")+9+1] = 0x7f; return b }, "malformed record"},
	} {
		forged := assemble(t, test.forge(blocks(t, body)))
		_, _, err := readAll(bytes.NewReader(forged))
		if !errors.Is(err, ErrDamaged) || !strings.Contains(fmt.Sprint(err), test.reason) {
			t.Errorf("%s: %v, want %q", test.name, err, test.reason)
		}
		r, err := NewReader(bytes.NewReader(forged), int64(len(forged)))
		if err == nil {
			err = drainFrom(r, r.index[0].span.first)
		}
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: the reader says %v", test.name, err)
		}
	}
}

// A footer that is whole in itself but not of these blocks.
func TestForgedFooter(t *testing.T) {
	body, _ := smallSpec().encodeIn(t, smallBlock)
	r, err := NewReader(bytes.NewReader(body), int64(len(body)))
	if err != nil {
		t.Fatal(err)
	}
	front := body[:len(body)-len(r.footer)]
	for name, forge := range map[string]func(index []indexEntry) []indexEntry{
		"offset":       func(index []indexEntry) []indexEntry { index[1].offset++; return index },
		"time":         func(index []indexEntry) []indexEntry { index[2].span.lastTime++; return index },
		"a block less": func(index []indexEntry) []indexEntry { return index[:2] },
		"a block more": func(index []indexEntry) []indexEntry {
			last := index[2]
			last.offset++
			last.span.first, last.span.last = 45, 45
			return append(index, last)
		},
		"sha256 only": func(index []indexEntry) []indexEntry { return index },
	} {
		index := forge(append([]indexEntry(nil), r.index...))
		forged := appendFooter(bytes.Clone(front), index, func([]byte) Digest { return Digest{1} })
		if _, _, err := readAll(bytes.NewReader(forged)); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "footer") {
			t.Errorf("%s: %v", name, err)
		}
		seeker, err := NewReader(bytes.NewReader(forged), int64(len(forged)))
		if err == nil {
			err = drainFrom(seeker, 42)
		}
		// What was not read can't be compared with its SHA-256.
		if name != "sha256 only" && !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: the reader says %v", name, err)
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
	// And one with a window of 1 GiB.
	window := append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 20 << 3}, frame[13:]...)
	of := func(size uint32, packed []byte) []byte {
		head := blockHead{packed: uint32(len(packed)), size: size, events: 1, checksum: checksum(packed), span: span{42, 42, 1, 1}}
		return append(head.append(newBodyHead()), packed...)
	}
	// Half a GiB that is announced and does not come.
	absent := blockHead{packed: MaxBlock, size: MaxBlock, events: MaxBlock / minEvent, span: span{42, 42, 1, 1}}
	for name, body := range map[string][]byte{
		"plain size":      of(MaxBlock, packed),
		"frame":           of(MaxBlock, frame),
		"frame of small":  of(10, frame),
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

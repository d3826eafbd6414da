package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

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

// What has to be 0 is, under the right checksums.
func TestForgedZeros(t *testing.T) {
	object, head := small(t)
	for _, i := range []int{10, 11} {
		e := bytes.Clone(object[:head-32])
		e[i] = 1
		sum := digestOf(e)
		if _, err := ReadEnvelope(bytes.NewReader(append(e, sum[:]...))); !errors.Is(err, ErrDamaged) {
			t.Errorf("byte %d of the envelope: %v", i, err)
		}
		body := bytes.Clone(object[head:])
		body[i] = 1
		binary.BigEndian.PutUint32(body[12:], checksum(body[:12]))
		if _, err := NewReader(bytes.NewReader(body), int64(len(body))); !errors.Is(err, ErrDamaged) {
			t.Errorf("byte %d of the body: %v", i, err)
		}
	}
}

// An index whose blocks stand where none can.
func TestForgedOffsets(t *testing.T) {
	body, _ := smallSpec().encodeIn(t, smallBlock)
	r, err := NewReader(bytes.NewReader(body), int64(len(body)))
	if err != nil {
		t.Fatal(err)
	}
	front := len(body) - len(r.footer)
	for _, offset := range []int64{-1, 0, bodyHeadSize, int64(front), int64(len(body)) + 1, -1 << 63} {
		for i := range r.index[1:] {
			index := append([]indexEntry(nil), r.index...)
			index[i+1].offset = offset
			forged := appendFooter(bytes.Clone(body[:front]), index, func([]byte) Digest { return Digest{1} })
			if _, err := NewReader(bytes.NewReader(forged), int64(len(forged))); !errors.Is(err, ErrDamaged) {
				t.Errorf("block %d at %d: %v", i+1, offset, err)
			}
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

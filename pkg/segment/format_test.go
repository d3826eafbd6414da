package segment_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
)

// TestFormat reads the frozen segment with a reader that was written from
// docs/archive-format.md alone, and shares nothing with the package.
func TestFormat(t *testing.T) {
	object, err := os.ReadFile("testdata/v1.kseg")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	r := bytes.NewReader(object)
	e, err := segment.ReadEnvelope(r)
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, fmt.Sprintf("segment %d-%d %d-%d events %d size %d cluster %x writer %x uid %s timeline %s members %d attestation %d",
		e.Summary.First, e.Summary.Last, e.Summary.FirstTime.UnixNano(), e.Summary.LastTime.UnixNano(), e.Summary.Events, e.Summary.Size,
		uint64(e.Identity.Cluster), uint32(e.Writer), e.Identity.KubeSystemUID, e.Timeline, len(e.Identity.Members), e.Summary.Attestation.Revision))
	d := segment.NewDecoder(r)
	for {
		record, err := d.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, describe(record))
	}
	got, err := readByDescription(object)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-the package +a reader by the description):\n%s", diff)
	}
}

func describe(record segment.Record) string {
	switch r := record.(type) {
	case segment.Change:
		var s strings.Builder
		fmt.Fprintf(&s, "change %d %d %d", r.Revision, r.Lower.UnixNano(), r.Upper.UnixNano())
		for _, event := range r.Events {
			fmt.Fprintf(&s, " %t %x", event.Tombstone, sha256.Sum256(event.Record))
		}
		return s.String()
	case segment.Lease:
		return fmt.Sprintf("lease %d %d", int64(r.ID), r.TTL)
	case segment.Leases:
		s := "leases"
		for _, id := range r.IDs {
			s += fmt.Sprintf(" %d", int64(id))
		}
		return s
	case segment.Progress:
		return fmt.Sprintf("progress %d %d", r.Revision, r.Time.UnixNano())
	case segment.Compact:
		return fmt.Sprintf("compact %d", r.Revision)
	case segment.Hash:
		return fmt.Sprintf("hash %d %d %d %d", uint64(r.Member), r.Revision, r.CompactRevision, r.Hash)
	}
	return "?"
}

var errDescription = errors.New("it is not as described")

// readByDescription goes through the description from top to bottom. It panics where
// bytes are missing.
func readByDescription(object []byte) (lines []string, err error) {
	u64 := func(b []byte, at int) uint64 { return binary.BigEndian.Uint64(b[at:]) }
	u32 := func(b []byte, at int) uint32 { return binary.BigEndian.Uint32(b[at:]) }
	size := u32(object, 12)
	envelope, body := object[:size], object[size:]
	m, u, t, s := int(envelope[208]), int(envelope[209]), int(envelope[210]), int(envelope[211])
	sum := sha256.Sum256(envelope[:size-32])
	stored := sha256.Sum256(body)
	if string(envelope[:8]) != "KETCDSEG" || envelope[9] != 1 || int(size) != 212+8*m+u+t+s+32 ||
		!bytes.Equal(sum[:], envelope[size-32:]) || int(u64(envelope, 64)) != len(body) || !bytes.Equal(stored[:], envelope[72:104]) {
		return nil, fmt.Errorf("envelope: %w", errDescription)
	}
	text := string(envelope[212+8*m:])
	lines = append(lines, fmt.Sprintf("segment %d-%d %d-%d events %d size %d cluster %x writer %x uid %s timeline %s members %d attestation %d",
		u64(envelope, 16), u64(envelope, 24), u64(envelope, 32), u64(envelope, 40), u64(envelope, 48), u64(envelope, 56),
		u64(envelope, 168), u32(envelope, 176), text[:u], text[u:u+t], m, u64(envelope, 192)))

	end := len(body)
	footer := body[end-int(u32(body, end-16)):]
	n := int(u32(footer, 4))
	hashed := len(body) - len(footer) + 8 + 40*n
	sum = sha256.Sum256(body[:hashed])
	if string(body[:8]) != "KETCDLOG" || u32(body, 12) != castagnoli(body[:12]) || string(footer[:4]) != "FOOT" || string(body[end-8:]) != "KETCDEND" ||
		!bytes.Equal(sum[:], body[hashed:hashed+32]) || u32(body, end-12) != castagnoli(footer[:len(footer)-12]) {
		return nil, fmt.Errorf("body: %w", errDescription)
	}
	for i := range n {
		entry := footer[8+40*i : 48+40*i]
		block := body[u64(entry, 0):]
		records := block[56 : 56+u32(block, 4)]
		if string(block[:4]) != "BLCK" || !bytes.Equal(entry[8:], block[16:48]) || u32(block, 48) != castagnoli(records) || u32(block, 52) != castagnoli(block[:52]) {
			return nil, fmt.Errorf("block %d: %w", i, errDescription)
		}
		z, err := zstd.NewReader(bytes.NewReader(records))
		if err != nil {
			return nil, err
		}
		plain, err := io.ReadAll(z)
		z.Close()
		if err != nil || len(plain) != int(u32(block, 8)) {
			return nil, fmt.Errorf("block %d: %w", i, errors.Join(errDescription, err))
		}
		lines = slices.Concat(lines, recordsByDescription(plain))
	}
	return lines, nil
}

func castagnoli(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

func recordsByDescription(plain []byte) (lines []string) {
	b := bytes.NewBuffer(plain)
	u := func() uint64 { v, _ := binary.ReadUvarint(b); return v }
	v := func() int64 { v, _ := binary.ReadVarint(b); return v }
	var revision, upper uint64
	for b.Len() > 0 {
		switch kind := b.Next(1)[0]; kind {
		case 1:
			revision += u()
			upper += u()
			line := fmt.Sprintf("change %d %d %d", revision, upper-u(), upper)
			for range u() {
				head := u()
				line += fmt.Sprintf(" %t %x", head&1 == 1, sha256.Sum256(b.Next(int(head/2))))
			}
			lines = append(lines, line)
		case 2:
			lines = append(lines, fmt.Sprintf("lease %d %d", v(), u()))
		case 3:
			line, n := "leases", u()
			var id int64
			for i := range n {
				if i == 0 {
					id = v()
				} else {
					id += int64(u())
				}
				line += fmt.Sprintf(" %d", id)
			}
			lines = append(lines, line)
		case 4:
			lines = append(lines, fmt.Sprintf("progress %d %d", u(), u()))
		case 5:
			lines = append(lines, fmt.Sprintf("compact %d", u()))
		case 6:
			lines = append(lines, fmt.Sprintf("hash %d %d %d %d", u(), u(), v(), binary.BigEndian.Uint32(b.Next(4))))
		default:
			return append(lines, fmt.Sprintf("kind %d", kind))
		}
	}
	return lines
}

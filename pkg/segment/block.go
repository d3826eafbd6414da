package segment

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"
)

// The body's parts begin with these.
const (
	bodyMagic   = "KETCDLOG"
	blockMagic  = "BLCK"
	footerMagic = "FOOT"
	endMagic    = "KETCDEND"
)

// Sizes in bytes.
const (
	bodyHeadSize   = 16
	blockHeadSize  = 56
	indexEntrySize = 40
	// footerSize is that of a footer without a block.
	footerSize = 8 + sha256.Size + footerEndSize
	// footerEndSize is that of the last part of it, by which a reader finds its beginning.
	footerEndSize = 4 + 4 + 8
)

// newBodyHead is what a body begins with.
func newBodyHead() []byte {
	b := []byte(bodyMagic)
	b = binary.BigEndian.AppendUint16(b, Version)
	b = append(b, 0, 0)
	return binary.BigEndian.AppendUint32(b, checksum(b))
}

// checkBodyHead judges the bodyHeadSize bytes that a body begins with.
func checkBodyHead(b []byte) error {
	if string(b[:8]) != bodyMagic {
		return damaged("it does not begin as a body does")
	}
	if checksum(b[:12]) != binary.BigEndian.Uint32(b[12:]) {
		return damaged("checksum of its first bytes")
	}
	if err := checkVersion(binary.BigEndian.Uint16(b[8:])); err != nil {
		return err
	}
	if b[10] != 0 || b[11] != 0 {
		return damaged("its first bytes")
	}
	return nil
}

// span is the changes of a block. Times are nanoseconds since 1970.
type span struct {
	first, last Revision
	firstTime   int64 // the first change's upper bound
	lastTime    int64 // the last that the block tells
}

func (s span) append(b []byte) []byte {
	for _, v := range []int64{int64(s.first), int64(s.last), s.firstTime, s.lastTime} {
		b = binary.BigEndian.AppendUint64(b, uint64(v))
	}
	return b
}

func parseSpan(b []byte) span {
	at := func(i int) int64 { return int64(binary.BigEndian.Uint64(b[8*i:])) }
	return span{Revision(at(0)), Revision(at(1)), at(2), at(3)}
}

// follows judges a span against the one before, whose zero value is none.
func (s span) follows(before span) error {
	switch {
	case s.first < 1 || s.last < s.first || s.firstTime < 1 || s.lastTime < s.firstTime:
		return fmt.Errorf("it spans the revisions %d to %d", s.first, s.last)
	case before.last != 0 && s.first != before.last+1:
		return fmt.Errorf("it begins at revision %d, after %d", s.first, before.last)
	case s.firstTime < before.lastTime:
		return fmt.Errorf("time goes back to %s", stamp(moment(s.firstTime)))
	}
	return nil
}

// see widens the span to a record.
func (s *span) see(record Record) {
	switch r := record.(type) {
	case Change:
		s.last, s.lastTime = r.Revision, r.Upper.UnixNano()
		if s.first == 0 {
			s.first, s.firstTime = s.last, s.lastTime
		}
	case Progress:
		s.lastTime = r.Time.UnixNano()
	}
}

// blockHead stands before each block's compressed records.
type blockHead struct {
	packed   uint32 // size, compressed
	size     uint32 // size, uncompressed
	events   uint32
	checksum uint32 // crc32c of the compressed bytes
	span     span
}

func (h blockHead) append(b []byte) []byte {
	begin := len(b)
	b = append(b, blockMagic...)
	for _, v := range []uint32{h.packed, h.size, h.events} {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	b = h.span.append(b)
	b = binary.BigEndian.AppendUint32(b, h.checksum)
	return binary.BigEndian.AppendUint32(b, checksum(b[begin:]))
}

// parseBlockHead decodes blockHeadSize bytes whose magic was seen already, and bounds
// what they claim.
func parseBlockHead(b []byte) (blockHead, error) {
	const end = blockHeadSize - 4
	if checksum(b[:end]) != binary.BigEndian.Uint32(b[end:]) {
		return blockHead{}, fmt.Errorf("checksum of its header")
	}
	h := blockHead{
		packed:   binary.BigEndian.Uint32(b[4:]),
		size:     binary.BigEndian.Uint32(b[8:]),
		events:   binary.BigEndian.Uint32(b[12:]),
		span:     parseSpan(b[16:]),
		checksum: binary.BigEndian.Uint32(b[48:]),
	}
	// zstd adds 3 bytes to each 128 KiB that it can't compress, and a header.
	most := uint64(h.size) + uint64(h.size)>>10 + 64
	if h.size > MaxBlock || uint64(h.packed) > most || uint64(h.events) > 1+uint64(h.size)/minEvent {
		return blockHead{}, fmt.Errorf("it claims %d bytes for %d bytes with %d events", h.packed, h.size, h.events)
	}
	return h, nil
}

// indexEntry is where a block stands and what it holds.
type indexEntry struct {
	offset int64 // of the block's header, from the body's first byte
	span   span
}

// appendFooter appends the body's last part. sum gives the SHA-256 of the body up to the
// index's end, of which this has written the last bytes.
func appendFooter(b []byte, index []indexEntry, sum func(index []byte) Digest) []byte {
	begin := len(b)
	b = append(b, footerMagic...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(index)))
	for _, entry := range index {
		b = binary.BigEndian.AppendUint64(b, uint64(entry.offset))
		b = entry.span.append(b)
	}
	digest := sum(b[begin:])
	b = append(b, digest[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(b)-begin+footerEndSize))
	b = binary.BigEndian.AppendUint32(b, checksum(b[begin:]))
	return append(b, endMagic...)
}

// Summary is what a body holds. Its envelope repeats it.
type Summary struct {
	First, Last Revision
	// FirstTime is the first change's upper bound; LastTime the last time that anything
	// in the body tells: up to then, there was no change but these.
	FirstTime, LastTime time.Time
	Events              int64
	Size                int64 // bytes of records, uncompressed
	// LastChange is the last change's DigestWithoutValues.
	LastChange Digest
	// Attestation is the last Hash; its zero value: none.
	Attestation Hash
}

// see counts a record, but for sizes and the last change's digest.
func (s *Summary) see(record Record) {
	switch r := record.(type) {
	case Change:
		s.Last, s.LastTime = r.Revision, moment(r.Upper.UnixNano())
		if s.First == 0 {
			s.First, s.FirstTime = s.Last, s.LastTime
		}
		s.Events += int64(len(r.Events))
	case Progress:
		s.LastTime = moment(r.Time.UnixNano())
	case Hash:
		s.Attestation = r
	}
}

package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sort"
	"time"
)

// Reader finds places in a body that can be read at any offset. Only what is read is
// checked; what a Decoder in front of the whole checks beside is the body's SHA-256.
type Reader struct {
	r      io.ReaderAt
	size   int64
	footer []byte
	index  []indexEntry
}

// NewReader reads the footer of a body of size bytes.
func NewReader(r io.ReaderAt, size int64) (*Reader, error) {
	reader := &Reader{r: r, size: size}
	if err := reader.open(); err != nil {
		return nil, fmt.Errorf("read footer: %w", err)
	}
	return reader, nil
}

func (r *Reader) open() error {
	head, err := r.read(0, bodyHeadSize)
	if err != nil {
		return err
	}
	if err := checkBodyHead(head); err != nil {
		return err
	}
	end, err := r.read(r.size-footerEndSize, footerEndSize)
	if err != nil {
		return err
	}
	size := int64(binary.BigEndian.Uint32(end))
	if string(end[8:]) != endMagic || size < footerSize || (size-footerSize)%indexEntrySize != 0 {
		return damaged("it does not end as a body does")
	}
	if r.footer, err = r.read(r.size-size, size); err != nil {
		return err
	}
	return r.parse()
}

// parse decodes the footer into the index.
func (r *Reader) parse() error {
	sumAt := len(r.footer) - footerEndSize + 4
	if string(r.footer[:4]) != footerMagic || checksum(r.footer[:sumAt]) != binary.BigEndian.Uint32(r.footer[sumAt:]) {
		return damaged("its checksum")
	}
	n := (len(r.footer) - footerSize) / indexEntrySize
	if n == 0 || uint32(n) != binary.BigEndian.Uint32(r.footer[4:]) {
		return damaged("it claims %d blocks", binary.BigEndian.Uint32(r.footer[4:]))
	}
	before := indexEntry{offset: bodyHeadSize - 1}
	for i := range n {
		b := r.footer[8+i*indexEntrySize:]
		entry := indexEntry{int64(binary.BigEndian.Uint64(b)), parseSpan(b[8:])}
		if entry.offset <= before.offset || entry.offset >= r.size-int64(len(r.footer)) {
			return damaged("block %d at %d", i, entry.offset)
		}
		if err := entry.span.follows(before.span); err != nil {
			return damaged("block %d: %w", i, err)
		}
		r.index = append(r.index, entry)
		before = entry
	}
	return nil
}

// read gives n bytes at an offset. It takes no more memory than there is body.
func (r *Reader) read(offset, n int64) ([]byte, error) {
	if offset < 0 || n > r.size-offset {
		return nil, damaged("%w", io.ErrUnexpectedEOF)
	}
	b := make([]byte, n)
	got, err := r.r.ReadAt(b, offset)
	if got == len(b) {
		return b, nil
	}
	if errors.Is(err, io.EOF) {
		err = damaged("%w", io.ErrUnexpectedEOF)
	}
	return nil, err
}

// ErrOutside: the revision is not one of this segment's.
var ErrOutside = errors.New("revision is not in this segment")

// FromRevision reads from a revision's change on. Notes before it are not given.
func (r *Reader) FromRevision(revision Revision) (*Decoder, error) {
	first, last := r.index[0].span.first, r.index[len(r.index)-1].span.last
	if revision < first || revision > last {
		return nil, fmt.Errorf("find revision %d in %d to %d: %w", revision, first, last, ErrOutside)
	}
	block := sort.Search(len(r.index), func(i int) bool { return r.index[i].span.last >= revision })
	return r.from(block, func(c Change) bool { return c.Revision >= revision })
}

// FromTime reads from the first change on that may have been committed at t or later: its
// upper bound is not before t. Where there is none, Next gives io.EOF. Notes before the
// change are not given.
func (r *Reader) FromTime(t time.Time) (*Decoder, error) {
	block := sort.Search(len(r.index), func(i int) bool { return !moment(r.index[i].span.lastTime).Before(t) })
	return r.from(block, func(c Change) bool { return !c.Upper.Before(t) })
}

// from reads from the first change on that wanted wants, which is in the block or behind.
func (r *Reader) from(block int, wanted func(Change) bool) (*Decoder, error) {
	d := &Decoder{index: r.index, footer: r.footer, blocks: block}
	d.offset = r.size - int64(len(r.footer))
	if block < len(r.index) {
		d.offset = r.index[block].offset
	}
	if block > 0 {
		before := r.index[block-1].span
		d.order = order{last: before.last, time: moment(before.lastTime)}
	}
	d.r = source{Reader: io.NewSectionReader(r.r, d.offset, r.size-d.offset)}
	for {
		record, err := d.Next()
		if errors.Is(err, io.EOF) {
			return d, nil
		}
		if err != nil {
			return nil, err
		}
		if change, ok := record.(Change); ok && wanted(change) {
			d.ahead = record
			return d, nil
		}
	}
}

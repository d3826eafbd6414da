package segment

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/zstd"
)

// Encoder writes a body. It is for one goroutine.
type Encoder struct {
	w       io.Writer
	zstd    *zstd.Encoder
	sum     hash.Hash // of all that was written
	written int64
	order   order
	summary Summary
	index   []indexEntry
	err     error // w's, for good

	// The block that fills.
	block    int // how many bytes it may have
	plain    []byte
	packed   []byte
	head     blockHead
	cursor   cursor
	lastAt   int    // where its last change begins in plain
	lastFrom cursor // before that change
}

// NewEncoder writes a body to w, in a few large writes.
func NewEncoder(w io.Writer) *Encoder {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(BlockSize), zstd.WithEncoderCRC(false))
	if err != nil {
		panic("segment: internal error: " + err.Error())
	}
	return &Encoder{w: w, zstd: z, sum: sha256.New(), block: BlockSize}
}

// Encode appends a record, and keeps nothing of it. A record that can't follow those
// before it is refused, and the encoder goes on as if it had not been tried; ErrTooLarge
// among them. An error of the writer's is for good.
func (e *Encoder) Encode(record Record) error {
	if e.err != nil {
		return e.err
	}
	if change, ok := record.(Change); ok {
		return e.encodeChange(change)
	}
	plain := record.append(e.plain, &e.cursor)
	if len(plain) > MaxBlock {
		return fmt.Errorf("encode %T: %w", record, ErrTooLarge)
	}
	if err := e.order.admit(record); err != nil {
		return fmt.Errorf("encode record: %w", err)
	}
	e.plain = plain
	e.see(record)
	return nil
}

func (e *Encoder) encodeChange(change Change) error {
	size := change.size()
	// Notes stay with the change before them, so that each block has a change.
	full := e.head.span.first != 0 && len(e.plain)+size > e.block
	if size > maxChange || !full && len(e.plain)+size > MaxBlock {
		return fmt.Errorf("encode revision %d of %d bytes: %w", change.Revision, size, ErrTooLarge)
	}
	if err := e.order.admit(change); err != nil {
		return fmt.Errorf("encode record: %w", err)
	}
	if full {
		if err := e.flush(); err != nil {
			return err
		}
	}
	e.lastAt, e.lastFrom = len(e.plain), e.cursor
	e.plain = change.append(e.plain, &e.cursor)
	e.head.events += uint32(len(change.Events))
	e.see(change)
	return nil
}

func (e *Encoder) see(record Record) {
	e.head.span.see(record)
	e.summary.see(record)
}

// Size is the body's so far, in bytes: what was written, and the records of the block that
// fills, which will be compressed.
func (e *Encoder) Size() int64 { return e.written + int64(len(e.plain)) }

// Close ends the body. One without a change can't be. It does not close the writer.
func (e *Encoder) Close() (Summary, error) {
	if e.err != nil {
		return Summary{}, e.err
	}
	if e.summary.First == 0 {
		return Summary{}, errors.New("encode segment: there is no change in it")
	}
	e.summary.LastChange = e.lastChange().DigestWithoutValues()
	if err := e.flush(); err != nil {
		return Summary{}, err
	}
	footer := appendFooter(nil, e.index, e.digest)
	if err := e.write(footer); err != nil {
		return Summary{}, err
	}
	e.err = errors.New("encode segment: it is closed")
	return e.summary, nil
}

// lastChange reads it back from the block: the caller's is the caller's again.
func (e *Encoder) lastChange() Change {
	r := records{scanner: scanner{b: e.plain[e.lastAt:]}, at: e.lastFrom}
	record, err := r.next()
	if err != nil {
		panic("segment: internal error: " + err.Error())
	}
	return record.(Change)
}

// flush writes the block that fills and begins another.
func (e *Encoder) flush() error {
	if e.written == 0 {
		if err := e.write(newBodyHead()); err != nil {
			return err
		}
	}
	e.packed = e.zstd.EncodeAll(e.plain, e.packed[:0])
	e.head.size, e.head.packed = uint32(len(e.plain)), uint32(len(e.packed))
	e.head.checksum = checksum(e.packed)
	e.index = append(e.index, indexEntry{e.written, e.head.span})
	e.summary.Size += int64(len(e.plain))
	if err := e.write(e.head.append(nil)); err != nil {
		return err
	}
	if err := e.write(e.packed); err != nil {
		return err
	}
	e.plain, e.packed = keepSmall(e.plain), keepSmall(e.packed)
	e.head, e.cursor = blockHead{}, cursor{}
	return nil
}

// keepSmall is b to be used again, unless one large revision made it larger than others
// need.
func keepSmall(b []byte) []byte {
	if cap(b) > 4*BlockSize {
		return nil
	}
	return b[:0]
}

func (e *Encoder) write(b []byte) error {
	if _, err := e.w.Write(b); err != nil {
		e.err = fmt.Errorf("write segment: %w", err)
		return e.err
	}
	e.sum.Write(b)
	e.written += int64(len(b))
	return nil
}

// digest is that of all that was written, and more.
func (e *Encoder) digest(more []byte) Digest {
	e.sum.Write(more)
	return Digest(e.sum.Sum(nil))
}

package segment

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
)

// Decoder reads a body from its beginning, or, when a Reader made it, from within. It is
// for one goroutine.
//
// What it gives stays valid, for no block's memory is used twice; a record that is kept
// keeps the memory of its block.
type Decoder struct {
	r       source
	unpack  unpacker
	offset  int64     // in the body
	sum     hash.Hash // of all that was read; nil when it began within
	order   order
	summary Summary
	last    Change // the last one given
	part    string // what is being read, for errors

	index  []indexEntry // of the blocks so far; when it began within, of all
	blocks int          // how many of them are behind, or being read
	footer []byte       // what it has to be, when it began within; else nil

	// The block that is being read.
	head    blockHead
	seen    span // what was read of it
	events  int
	records records
	packed  bytes.Buffer

	ahead Record // what Next gives first, when set
	err   error  // for good
}

// NewDecoder reads a body from its first byte.
func NewDecoder(r io.Reader) *Decoder {
	return &Decoder{r: source{Reader: r}, sum: sha256.New(), part: "its beginning"}
}

// Next is the next record, or io.EOF when the body has ended as it must, with all its
// checksums right and nothing behind it. Else the error is ErrDamaged, ErrVersion or the
// reader's; it names the place, and stays.
//
// A record's bytes were under its block's checksum when it is given, but only io.EOF tells
// that none is missing behind it.
func (d *Decoder) Next() (Record, error) {
	if record := d.ahead; record != nil {
		d.ahead = nil
		return record, nil
	}
	if d.err != nil {
		return nil, d.err
	}
	record, err := d.next()
	switch {
	case err != nil:
		d.err = fmt.Errorf("read %s: %w", d.place(), err)
	case record == nil:
		d.err = io.EOF
	}
	return record, d.err
}

func (d *Decoder) place() string {
	if d.order.last == 0 {
		return d.part
	}
	return fmt.Sprintf("%s after revision %d", d.part, d.order.last)
}

// Summary is of what was read so far: after io.EOF, of all of the body, if it was read from
// the beginning.
func (d *Decoder) Summary() Summary {
	if d.last.Events != nil {
		d.summary.LastChange = d.last.DigestWithoutValues()
	}
	return d.summary
}

// next has no record, and no error, at the end.
func (d *Decoder) next() (Record, error) {
	if d.offset == 0 {
		if err := d.begin(); err != nil {
			return nil, err
		}
	}
	if len(d.records.b) == 0 {
		if more, err := d.nextPart(); !more {
			return nil, err
		}
	}
	record, err := d.records.next()
	if err == nil {
		err = d.order.admit(record)
	}
	if err != nil {
		return nil, damaged("%w", err)
	}
	d.see(record)
	if err := d.checkBlock(); err != nil {
		return nil, err
	}
	return record, nil
}

func (d *Decoder) see(record Record) {
	d.seen.see(record)
	d.summary.see(record)
	if change, ok := record.(Change); ok {
		d.events += len(change.Events)
		d.last = change
	}
}

// checkBlock compares what a block held with what its header told, at its end.
func (d *Decoder) checkBlock() error {
	if len(d.records.b) > 0 {
		return nil
	}
	if d.seen != d.head.span || d.events != int(d.head.events) {
		return damaged("its header tells of other records: %d events of the revisions %d to %d",
			d.head.events, d.head.span.first, d.head.span.last)
	}
	d.summary.Size += int64(d.head.size)
	return nil
}

func (d *Decoder) begin() error {
	var head [bodyHeadSize]byte
	if err := d.fill(head[:]); err != nil {
		return err
	}
	d.hash(head[:])
	return checkBodyHead(head[:])
}

// nextPart reads a block, or the footer: then there is no more.
func (d *Decoder) nextPart() (more bool, err error) {
	d.part = fmt.Sprintf("block %d", d.blocks)
	magic := make([]byte, len(blockMagic), blockHeadSize)
	if err := d.fill(magic); err != nil {
		return false, err
	}
	switch {
	case string(magic) == blockMagic:
		err := d.nextBlock(magic[:blockHeadSize])
		return err == nil, err
	case string(magic) == footerMagic && d.blocks > 0:
		d.part = "footer"
		return false, d.end()
	}
	return false, damaged("no block begins here")
}

// nextBlock reads a block, the magic of whose header was read.
func (d *Decoder) nextBlock(head []byte) error {
	entry := indexEntry{offset: d.offset - int64(len(blockMagic))}
	if err := d.fill(head[len(blockMagic):]); err != nil {
		return err
	}
	var err error
	if d.head, err = parseBlockHead(head); err != nil {
		return damaged("%w", err)
	}
	entry.span = d.head.span
	if err := d.register(entry); err != nil {
		return damaged("%w", err)
	}
	d.hash(head)
	return d.open()
}

// register puts a block into the index, or finds it there.
func (d *Decoder) register(entry indexEntry) error {
	var before span
	if d.blocks > 0 {
		before = d.index[d.blocks-1].span
	}
	if err := entry.span.follows(before); err != nil {
		return err
	}
	if d.footer == nil {
		d.index = append(d.index, entry)
	} else if d.blocks == len(d.index) || d.index[d.blocks] != entry {
		return fmt.Errorf("the index tells of another block")
	}
	d.blocks++
	return nil
}

// open reads and unpacks the records of the block whose header was read.
func (d *Decoder) open() error {
	if d.packed.Cap() > 4*BlockSize { // one large revision does not keep it so
		d.packed = bytes.Buffer{}
	}
	d.packed.Reset()
	d.offset += int64(d.head.packed)
	if _, err := io.CopyN(&d.packed, &d.r, int64(d.head.packed)); err != nil { // takes memory as the bytes come
		return d.r.ended()
	}
	d.hash(d.packed.Bytes())
	if checksum(d.packed.Bytes()) != d.head.checksum {
		return damaged("checksum of its records")
	}
	plain, err := d.unpack.unpack(d.packed.Bytes(), int(d.head.size))
	if err != nil {
		return damaged("%w", err)
	}
	d.records = records{scanner: scanner{b: plain}, events: make([]Event, 0, min(d.head.events, maxRoom))}
	d.seen, d.events = span{}, 0
	return nil
}

// end compares the footer with what was read, and wants nothing behind it.
func (d *Decoder) end() error {
	want := d.footer
	if want == nil {
		want = appendFooter(nil, d.index, func(index []byte) Digest {
			d.hash(index)
			return Digest(d.sum.Sum(nil))
		})
	}
	got := make([]byte, len(want))
	copy(got, footerMagic)
	if err := d.fill(got[len(footerMagic):]); err != nil {
		return err
	}
	if d.blocks != len(d.index) || !bytes.Equal(got, want) {
		return damaged("it is not of these blocks")
	}
	if n, _ := io.ReadFull(&d.r, got[:1]); n > 0 {
		return damaged("there are bytes behind it")
	}
	return d.r.err
}

// fill reads all of b.
func (d *Decoder) fill(b []byte) error {
	d.offset += int64(len(b))
	return d.r.fill(b)
}

func (d *Decoder) hash(b []byte) {
	if d.sum != nil {
		d.sum.Write(b)
	}
}

package restore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// The layout of a bbolt file (go.etcd.io/bbolt internal/common: page.go, meta.go,
// bucket.go). It is written in the byte order of the machine, as bbolt does.
const (
	boltMagic   = 0xED0CDAED
	boltVersion = 2

	pageHeaderSize  = 16 // id u64, flags u16, count u16, overflow u32
	pageElementSize = 16 // leaf: flags, pos, ksize, vsize u32; branch: pos, ksize u32, page u64
	metaSize        = 64 // magic, version, page size, flags u32; root, sequence, free list, high water, txid, checksum u64
	bucketHeader    = 16 // root page u64, sequence u64; root 0: the page itself follows

	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagMeta     = 0x04
	flagFreelist = 0x10
	flagBucket   = 0x01 // of a leaf element

	noFreelist   = ^uint64(0)
	maxTreeDepth = 40 // bbolt's branches hold two pages or more, so 2^40 pages
)

var bo = binary.NativeEndian

// boltFile reads a bbolt file page by page, and trusts none of them. bbolt itself maps
// the file and follows what it finds there: a damaged page makes it fault or recurse
// without end, which no recover() catches. So nothing damaged may get as far as bbolt.
type boltFile struct {
	r        io.ReaderAt
	size     int64
	pageSize int64
	meta     boltMeta
	claimed  bitmap // pages that the tree or the free list owns; nil: not counted
	buffers  [maxTreeDepth][]byte
}

type boltMeta struct {
	pageSize             uint32
	root, freelist, high uint64 // pages
	txid                 uint64
}

// bucket is one top-level bucket: the page of its root, or the page itself.
type bucket struct {
	name   []byte
	root   uint64
	inline []byte
}

// entry is one element of a leaf. Key and value are valid until the callback returns.
type entry struct {
	flags      uint32
	key, value []byte
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

// openBolt finds the meta page in use and checks that the file holds all the pages it
// speaks of. It reads no tree yet.
func openBolt(r io.ReaderAt, size int64) (*boltFile, error) {
	meta, err := findMeta(r, size)
	if err != nil {
		return nil, err
	}
	f := &boltFile{r: r, size: size, pageSize: int64(meta.pageSize), meta: meta}
	if pages := uint64(size) / uint64(f.pageSize); meta.high > pages || pages < 2 {
		return nil, damaged("it is cut off: %d of %d pages are there", pages, meta.high)
	}
	return f, f.checkMetaPages()
}

// checkMetaPages looks at the headers of pages 0 and 1, which no checksum covers.
func (f *boltFile) checkMetaPages() error {
	for id := range uint64(2) {
		var header [pageHeaderSize]byte
		if _, err := f.r.ReadAt(header[:], int64(id)*f.pageSize); err != nil {
			return err
		}
		if p := parsePage(header[:]); p.id != id || p.flags != flagMeta {
			return damaged("page %d says that it is page %d with flags %#x", id, p.id, p.flags)
		}
	}
	return nil
}

// findMeta returns the newest valid meta page, looking for the second one as bbolt
// does when the first is not valid: its place depends on the page size.
func findMeta(r io.ReaderAt, size int64) (boltMeta, error) {
	first, ok := readMeta(r, 0)
	if ok {
		if second, ok := readMeta(r, int64(first.pageSize)); ok && second.txid > first.txid && second.pageSize == first.pageSize {
			return second, nil
		}
		return first, nil
	}
	for offset := int64(1024); offset <= 1<<24 && offset < size; offset *= 2 {
		if second, ok := readMeta(r, offset); ok && int64(second.pageSize) == offset {
			return second, nil
		}
	}
	return boltMeta{}, damaged("neither of its two meta pages is valid")
}

func readMeta(r io.ReaderAt, offset int64) (boltMeta, bool) {
	var b [metaSize]byte
	if _, err := r.ReadAt(b[:], offset+pageHeaderSize); err != nil {
		return boltMeta{}, false
	}
	sum := fnv.New64a()
	sum.Write(b[:metaSize-8])
	m := boltMeta{
		pageSize: bo.Uint32(b[8:]), root: bo.Uint64(b[16:]), freelist: bo.Uint64(b[32:]),
		high: bo.Uint64(b[40:]), txid: bo.Uint64(b[48:]),
	}
	ok := bo.Uint32(b[:]) == boltMagic && bo.Uint32(b[4:]) == boltVersion && bo.Uint64(b[56:]) == sum.Sum64()
	return m, ok && m.pageSize >= 1024 && m.pageSize <= 1<<24 && m.pageSize&(m.pageSize-1) == 0
}

// buckets lists the top-level buckets in order.
func (f *boltFile) buckets(ctx context.Context) ([]bucket, error) {
	var all []bucket
	err := f.descend(ctx, f.meta.root, bounds{}, 0, func(e entry) error {
		if e.flags != flagBucket || len(e.value) < bucketHeader {
			return damaged("%q at the top is no bucket", e.key)
		}
		b := bucket{name: bytes.Clone(e.key), root: bo.Uint64(e.value)}
		if b.root == 0 {
			b.inline = bytes.Clone(e.value[bucketHeader:])
		}
		all = append(all, b)
		return nil
	})
	return all, err
}

// walk calls fn for every entry of the bucket, in the order of its keys.
func (f *boltFile) walk(ctx context.Context, b bucket, fn func(entry) error) error {
	flat := func(e entry) error {
		if e.flags != 0 {
			return damaged("bucket %q: entry %q has unknown flags %#x", b.name, e.key, e.flags)
		}
		return fn(e)
	}
	if b.inline == nil {
		return f.descend(ctx, b.root, bounds{}, 0, flat)
	}
	if len(b.inline) < pageHeaderSize {
		return damaged("bucket %q: its page of %d bytes is too short", b.name, len(b.inline))
	}
	p := parsePage(b.inline)
	if p.flags != flagLeaf {
		return damaged("bucket %q: its page has flags %#x", b.name, p.flags)
	}
	return p.leaves(bounds{}, flat)
}

// bounds is what the branches above say about a page's keys: lo <= key < hi; nil: open.
type bounds struct{ lo, hi []byte }

func (f *boltFile) descend(ctx context.Context, id uint64, in bounds, depth int, fn func(entry) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p, err := f.page(id, depth)
	if err != nil {
		return err
	}
	switch p.flags {
	case flagLeaf:
		return p.leaves(in, fn)
	case flagBranch:
		return f.children(ctx, p, in, depth, fn)
	}
	return damaged("page %d: flags %#x are neither a leaf's nor a branch's", id, p.flags)
}

func (f *boltFile) children(ctx context.Context, p page, in bounds, depth int, fn func(entry) error) error {
	if p.count == 0 {
		return damaged("page %d: a branch without children", p.id)
	}
	key, child, err := p.branch(0)
	for i := 0; i < p.count; i++ {
		if err != nil {
			return err
		}
		below := bounds{lo: key, hi: in.hi}
		next, nextChild := []byte(nil), uint64(0)
		if i+1 < p.count {
			if next, nextChild, err = p.branch(i + 1); err != nil {
				return err
			}
			below.hi = next
		}
		if err := p.inOrder(i, key, in.lo, below.hi); err != nil {
			return err
		}
		if err := f.descend(ctx, child, below, depth+1, fn); err != nil {
			return err
		}
		key, child = next, nextChild
	}
	return nil
}

// last returns the greatest key of the bucket, nil when it is empty.
func (f *boltFile) last(ctx context.Context, b bucket) (key []byte, err error) {
	if b.inline != nil {
		err := f.walk(ctx, b, func(e entry) error { key = bytes.Clone(e.key); return nil })
		return key, err
	}
	id := b.root
	for depth := 0; ; depth++ {
		p, err := f.page(id, depth)
		if err != nil {
			return nil, err
		}
		if p.flags == flagLeaf {
			if p.count == 0 {
				return nil, nil
			}
			e, err := p.leaf(p.count - 1)
			return bytes.Clone(e.key), err
		}
		if p.flags != flagBranch || p.count == 0 {
			return nil, damaged("page %d: flags %#x and %d elements are no tree's", id, p.flags, p.count)
		}
		if _, id, err = p.branch(p.count - 1); err != nil {
			return nil, err
		}
	}
}

// page reads a page and those that it flows over into, into the buffer of its depth:
// the pages above stay valid, and with them the bounds that point into them.
func (f *boltFile) page(id uint64, depth int) (page, error) {
	if depth >= maxTreeDepth {
		return page{}, damaged("page %d: the tree is deeper than %d", id, maxTreeDepth)
	}
	header, err := f.read(id, 1, depth)
	if err != nil {
		return page{}, err
	}
	p := parsePage(header)
	if p.id != id {
		return page{}, damaged("page %d says that it is page %d", id, p.id)
	}
	if p.overflow > 0 {
		if p.data, err = f.read(id, p.overflow+1, depth); err != nil {
			return page{}, err
		}
	}
	if f.claimed != nil {
		if err := f.claim(id, p.overflow+1); err != nil {
			return page{}, err
		}
	}
	return p, nil
}

func (f *boltFile) read(id, pages uint64, depth int) ([]byte, error) {
	if id < 2 || id >= f.meta.high || pages > f.meta.high-id {
		return nil, damaged("page %d and %d behind it are outside the file's %d", id, pages-1, f.meta.high)
	}
	n := int64(pages) * f.pageSize
	if int64(cap(f.buffers[depth])) < n {
		f.buffers[depth] = make([]byte, n)
	}
	b := f.buffers[depth][:n]
	if _, err := f.r.ReadAt(b, int64(id)*f.pageSize); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, damaged("it is cut off inside page %d", id)
		}
		return nil, err
	}
	return b, nil
}

func (f *boltFile) claim(id, pages uint64) error {
	for ; pages > 0; id, pages = id+1, pages-1 {
		if id >= f.meta.high {
			return damaged("page %d is outside the file's %d", id, f.meta.high)
		}
		if f.claimed.has(id) {
			return damaged("page %d is used twice", id)
		}
		f.claimed.set(id)
	}
	return nil
}

// checkFreelist claims the free pages: one that the tree uses too would be overwritten
// by etcd's next write. Snapshots of etcd have no list (NoFreelistSync).
func (f *boltFile) checkFreelist() error {
	if f.meta.freelist == noFreelist {
		return nil
	}
	p, err := f.page(f.meta.freelist, 0)
	if err != nil {
		return err
	}
	if p.flags != flagFreelist {
		return damaged("page %d: flags %#x are not a free list's", p.id, p.flags)
	}
	ids, count := p.data[pageHeaderSize:], uint64(p.count)
	if count == 0xFFFF { // it did not fit into 16 bits: the first element is the count
		count, ids = bo.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids)/8) {
		return damaged("page %d: a free list of %d pages does not fit", p.id, count)
	}
	for ; count > 0; count, ids = count-1, ids[8:] {
		if id := bo.Uint64(ids); id < 2 || f.claim(id, 1) != nil {
			return damaged("page %d is free and in use", id)
		}
	}
	return nil
}

package restore

import "bytes"

// page is a page of a bbolt file, and those that it flows over into.
type page struct {
	id       uint64
	flags    uint16
	count    int
	overflow uint64
	data     []byte
}

// parsePage wants at least pageHeaderSize bytes.
func parsePage(data []byte) page {
	return page{
		id: bo.Uint64(data), flags: bo.Uint16(data[8:]), count: int(bo.Uint16(data[10:])),
		overflow: uint64(bo.Uint32(data[12:])), data: data,
	}
}

// leaves calls fn for every element, after checking that its key is in order.
func (p page) leaves(in bounds, fn func(entry) error) error {
	var previous []byte
	for i := range p.count {
		e, err := p.leaf(i)
		if err != nil {
			return err
		}
		if err := p.inOrder(i, e.key, in.lo, in.hi); err != nil {
			return err
		}
		if i > 0 && bytes.Compare(previous, e.key) >= 0 {
			return damaged("page %d: key %d is not above the one before it", p.id, i)
		}
		if err := fn(e); err != nil {
			return err
		}
		previous = e.key
	}
	return nil
}

func (p page) inOrder(i int, key, lo, hi []byte) error {
	if lo != nil && bytes.Compare(key, lo) < 0 || hi != nil && bytes.Compare(key, hi) >= 0 {
		return damaged("page %d: key %d is outside what the branch above it says", p.id, i)
	}
	return nil
}

func (p page) leaf(i int) (entry, error) {
	at, err := p.element(i)
	if err != nil {
		return entry{}, err
	}
	h := p.data[at:]
	pos, ksize, vsize := uint64(bo.Uint32(h[4:])), uint64(bo.Uint32(h[8:])), uint64(bo.Uint32(h[12:]))
	if uint64(at)+pos+ksize+vsize > uint64(len(p.data)) {
		return entry{}, damaged("page %d: element %d reaches beyond the page", p.id, i)
	}
	body := h[pos : pos+ksize+vsize]
	return entry{flags: bo.Uint32(h), key: body[:ksize:ksize], value: body[ksize:]}, nil
}

func (p page) branch(i int) (key []byte, child uint64, err error) {
	at, err := p.element(i)
	if err != nil {
		return nil, 0, err
	}
	h := p.data[at:]
	pos, ksize := uint64(bo.Uint32(h)), uint64(bo.Uint32(h[4:]))
	if uint64(at)+pos+ksize > uint64(len(p.data)) {
		return nil, 0, damaged("page %d: element %d reaches beyond the page", p.id, i)
	}
	return h[pos : pos+ksize : pos+ksize], bo.Uint64(h[8:]), nil
}

// element returns where the i-th element's header begins.
func (p page) element(i int) (int, error) {
	at := pageHeaderSize + i*pageElementSize
	if at+pageElementSize > len(p.data) {
		return 0, damaged("page %d: element %d of %d is beyond the page", p.id, i, p.count)
	}
	return at, nil
}

// bitmap is a set of small numbers.
type bitmap []uint64

func newBitmap(n uint64) bitmap { return make(bitmap, n/64+1) }

func (b bitmap) set(i uint64) { b[i/64] |= 1 << (i % 64) }

func (b bitmap) has(i uint64) bool { return b[i/64]&(1<<(i%64)) != 0 }

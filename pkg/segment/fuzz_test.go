package segment

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// FuzzDecode: whatever the bytes, there is an error or an end, and no more memory than
// what they unpack to is worth.
func FuzzDecode(f *testing.F) {
	body, _ := smallSpec().encodeIn(f, smallBlock)
	f.Add(body)
	f.Add(body[:len(body)/2])
	f.Add([]byte(bodyMagic))
	f.Fuzz(func(t *testing.T, body []byte) { checkDecode(t, body) })
}

// FuzzForged: as FuzzDecode, but with the checksums right, so that what is behind them is
// reached: a block of any plain records under any header.
func FuzzForged(f *testing.F) {
	body, _ := sample().encodeIn(f, BlockSize)
	for _, part := range blocks(f, body)[:1] {
		f.Add(part.plain, part.events, int64(part.span.first), int64(part.span.last), part.span.firstTime, part.span.lastTime)
	}
	f.Fuzz(func(t *testing.T, plain []byte, events uint32, first, last, firstTime, lastTime int64) {
		head := blockHead{size: uint32(len(plain)), events: events, span: span{Revision(first), Revision(last), firstTime, lastTime}}
		checkDecode(t, assemble(t, []block{{head, plain}}))
	})
}

func checkDecode(t *testing.T, body []byte) {
	t.Helper()
	d := NewDecoder(bytes.NewReader(body))
	var plain int
	took := allocated(func() {
		for {
			_, err := d.Next()
			if err != nil {
				break
			}
			if len(d.index) > 0 {
				plain = max(plain, int(d.head.size))
			}
		}
	})
	if most := uint64(8<<20 + 16*d.summary.Size + 16*int64(plain)); took > most {
		t.Errorf("%d bytes took %d MiB", len(body), took>>20)
	}
	_, err := d.Next()
	if !errors.Is(err, io.EOF) && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrVersion) {
		t.Errorf("Next = %v", err)
	}
	r, seekErr := NewReader(bytes.NewReader(body), int64(len(body)))
	if seekErr == nil {
		seekErr = drainFrom(r, r.index[0].span.first)
	}
	if errors.Is(err, io.EOF) && seekErr != nil {
		t.Errorf("the decoder takes it, the reader says %v", seekErr)
	}
}

// FuzzRoundTrip: records that the fuzzer made up come out as they went in, whatever the
// size of the blocks.
func FuzzRoundTrip(f *testing.F) {
	for _, s := range []spec{smallSpec(), sample()[:6]} {
		var plain []byte
		var at cursor
		for _, record := range s {
			plain = record.append(plain, &at)
		}
		f.Add(plain, 64)
	}
	f.Fuzz(func(t *testing.T, plain []byte, block int) {
		var want spec
		var o order
		r := records{scanner: scanner{b: plain}}
		for len(r.b) > 0 {
			record, err := r.next()
			if err != nil {
				break
			}
			if o.admit(record) == nil {
				want = append(want, record)
			}
		}
		if o.last == 0 {
			return
		}
		for _, record := range want {
			if c, ok := record.(Change); ok {
				for _, event := range c.Events {
					checkKeyValue(t, event.Record)
				}
			}
		}
		body, told := want.encodeIn(t, block)
		got, read, err := readAll(bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		same(t, want, got)
		if told != read {
			t.Errorf("the encoder tells %+v, the decoder %+v", told, read)
		}
	})
}

// FuzzFlip: a segment in which one byte is another is never read as if nothing were.
func FuzzFlip(f *testing.F) {
	object := sample().segment(f)
	f.Add(uint(0), byte(1))
	f.Add(uint(len(object)-1), byte(0x80))
	f.Fuzz(func(t *testing.T, i uint, flip byte) {
		if flip == 0 {
			return
		}
		flipped := bytes.Clone(object)
		flipped[i%uint(len(object))] ^= flip
		if _, _, err := readSegment(flipped); !errors.Is(err, ErrDamaged) {
			t.Errorf("byte %d flipped: %v", i%uint(len(object)), err)
		}
	})
}

// FuzzEnvelope: what is taken is what would be written.
func FuzzEnvelope(f *testing.F) {
	e, _ := smallEnvelope(f)
	f.Add(e.encode()[:e.size()-32])
	f.Fuzz(func(t *testing.T, front []byte) {
		sum := digestOf(front)
		encoded := append(bytes.Clone(front), sum[:]...)
		e, err := ReadEnvelope(bytes.NewReader(encoded))
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrVersion) {
				t.Errorf("ReadEnvelope = %v", err)
			}
			return
		}
		again, err := e.MarshalBinary()
		if err != nil || !bytes.HasPrefix(encoded, again) {
			t.Errorf("%q became %q (%v)", encoded, again, err)
		}
	})
}

// FuzzName: what is taken is what would be written.
func FuzzName(f *testing.F) {
	f.Add(Name{1, 2, at(0), 3}.String())
	f.Fuzz(func(t *testing.T, s string) {
		if name, err := ParseName(s); err == nil && name.String() != s {
			t.Errorf("%q became %q", s, name)
		}
	})
}

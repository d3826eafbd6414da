package segment

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"
)

// From each place, by revision and by time, come exactly the records behind it, wherever
// the blocks are cut.
func TestSeek(t *testing.T) {
	all := sample()
	for _, block := range []int{smallBlock, 100, BlockSize, MaxBlock} {
		body, _ := all.encodeIn(t, block)
		r, err := NewReader(bytes.NewReader(body), int64(len(body)))
		if err != nil {
			t.Fatal(err)
		}
		for i, record := range all {
			c, ok := record.(Change)
			if !ok {
				continue
			}
			checkFrom(t, all[i:])(r.FromRevision(c.Revision))
			checkFrom(t, all[firstAt(all, c.Upper):])(r.FromTime(c.Upper))
			checkFrom(t, all[firstAt(all, c.Upper.Add(1)):])(r.FromTime(c.Upper.Add(1)))
		}
		checkFrom(t, all[2:])(r.FromTime(time.Time{}))
		checkFrom(t, nil)(r.FromTime(at(3000)))
		for _, outside := range []Revision{-1, 0, 41, 48} {
			if _, err := r.FromRevision(outside); !errors.Is(err, ErrOutside) {
				t.Errorf("FromRevision(%d) = %v", outside, err)
			}
		}
	}
}

// firstAt is where the first change is whose upper bound is not before t.
func firstAt(s spec, t time.Time) int {
	for i, record := range s {
		if c, ok := record.(Change); ok && !c.Upper.Before(t) {
			return i
		}
	}
	return len(s)
}

func checkFrom(t *testing.T, want spec) func(*Decoder, error) {
	return func(d *Decoder, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		got, err := drain(d)
		if err != nil {
			t.Fatal(err)
		}
		same(t, append([]Record(nil), want...), got)
	}
}

// counting tells how much was read.
type counting struct {
	r io.ReaderAt
	n int
}

func (c *counting) ReadAt(p []byte, at int64) (int, error) {
	c.n += len(p)
	return c.r.ReadAt(p, at)
}

// A place near the end does not cost what is before it.
func TestSeekReadsLittle(t *testing.T) {
	changes := kubernetesLike(20_000)
	body := encodeChanges(t, changes)
	at := &counting{r: bytes.NewReader(body)}
	r, err := NewReader(at, int64(len(body)))
	if err != nil {
		t.Fatal(err)
	}
	last := changes[len(changes)-1].Revision
	d, err := r.FromRevision(last)
	if err != nil {
		t.Fatal(err)
	}
	if record, err := d.Next(); err != nil || record.(Change).Revision != last {
		t.Fatalf("Next = %+v, %v", record, err)
	}
	if blocks := len(r.index); blocks < 10 || at.n > 2*len(body)/blocks {
		t.Errorf("%d of %d bytes read for one block of %d", at.n, len(body), blocks)
	}
}

package restore

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// patched is a bbolt file of 1 KiB pages under a test's knife.
type patched struct {
	*boltFile
	data    []byte
	buckets map[string]bucket
}

func patch(t *testing.T) patched {
	t.Helper()
	data := sample(t)
	d, err := openDatabase(t.Context(), bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return patched{d.file, data, d.buckets}
}

// at is the page's own bytes.
func (p patched) at(id uint64) []byte { return p.data[int64(id)*p.pageSize:][:p.pageSize] }

// element is the header of a page's i-th element.
func (p patched) element(id uint64, i int) []byte {
	return p.at(id)[pageHeaderSize+i*pageElementSize:]
}

// child is the page that the root of bucket "key" leads to first.
func (p patched) child() uint64 { return bo.Uint64(p.element(p.buckets[keyBucket].root, 0)[8:]) }

func TestBoltFileFindsDamage(t *testing.T) {
	for _, tc := range []struct {
		name   string
		damage func(p patched, root uint64)
		text   string
	}{
		{"a branch that leads to itself", func(p patched, root uint64) { bo.PutUint64(p.element(root, 0)[8:], root) }, "used twice"},
		{"a page in two places", func(p patched, root uint64) { bo.PutUint64(p.element(root, 1)[8:], p.child()) }, "used twice"},
		{"a free page in use", func(p patched, root uint64) {
			list := p.at(p.meta.freelist)
			bo.PutUint16(list[10:], 1)
			bo.PutUint64(list[pageHeaderSize:], root)
		}, "free and in use"},
		{"a free list of another kind", func(p patched, _ uint64) { bo.PutUint16(p.at(p.meta.freelist)[8:], flagLeaf) }, "not a free list's"},
		{"a free list that is too long", func(p patched, _ uint64) { bo.PutUint16(p.at(p.meta.freelist)[10:], 9999) }, "does not fit"},
		{"a page outside the file", func(p patched, root uint64) { bo.PutUint64(p.element(root, 0)[8:], 1<<40) }, "outside the file"},
		{"a page with another number", func(p patched, _ uint64) { bo.PutUint64(p.at(p.child()), 1) }, "says that it is page 1"},
		{"a page of unknown kind", func(p patched, _ uint64) { bo.PutUint16(p.at(p.child())[8:], 3) }, "neither a leaf's nor a branch's"},
		{"a page that flows over the end", func(p patched, _ uint64) { bo.PutUint32(p.at(p.child())[12:], 1<<20) }, "outside the file"},
		{"an empty branch", func(p patched, root uint64) { bo.PutUint16(p.at(root)[10:], 0) }, "0 elements"},
		{"more elements than fit", func(p patched, _ uint64) { bo.PutUint16(p.at(p.child())[10:], 5000) }, "beyond the page"},
		{"a value beyond the page", func(p patched, _ uint64) { bo.PutUint32(p.element(p.child(), 0)[12:], 1<<30) }, "beyond the page"},
		{"keys out of order", func(p patched, _ uint64) {
			a, b := p.element(p.child(), 1), p.element(p.child(), 2)
			first, second := bo.Uint32(a[4:]), bo.Uint32(b[4:])
			bo.PutUint32(a[4:], second+pageElementSize) // positions count from their element
			bo.PutUint32(b[4:], first-pageElementSize)
		}, "not above the one before"},
		{"a bucket inside a bucket", func(p patched, _ uint64) { bo.PutUint32(p.element(p.child(), 0), flagBucket) }, "unknown flags"},
		{"no bucket at the top", func(p patched, _ uint64) { bo.PutUint32(p.element(p.meta.root, 0), 0) }, "is no bucket"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := patch(t)
			tc.damage(p, p.buckets[keyBucket].root)
			if err := readBytes(t, sealed(p.data)); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("error is %v, want ErrDamaged with %q", err, tc.text)
			}
		})
	}
}

// The second meta page counts when the first is not valid, as with bbolt.
func TestBoltFileReadsTheOtherMeta(t *testing.T) {
	twin := func() patched { // both alike, as in a snapshot
		p := patch(t)
		other := uint64(1)
		if m, _ := readMeta(bytes.NewReader(p.data), p.pageSize); m.txid == p.meta.txid {
			other = 0
		}
		copy(p.at(other)[pageHeaderSize:], p.at(1 - other)[pageHeaderSize:])
		return p
	}
	for id := range uint64(2) {
		p := twin()
		p.at(id)[pageHeaderSize+56] ^= 1 // its checksum
		if err := readBytes(t, sealed(p.data)); err != nil {
			t.Errorf("meta page %d: %v", id, err)
		}
	}
	p := twin()
	p.at(0)[pageHeaderSize+56] ^= 1
	p.at(1)[pageHeaderSize+56] ^= 1
	if err := readBytes(t, sealed(p.data)); !errors.Is(err, ErrDamaged) {
		t.Errorf("both: %v", err)
	}
}

func TestParseRevision(t *testing.T) {
	for _, b := range []string{"", "short", "0123456789abcdefg", "\xff1234567_12345678", "12345678_\xff2345678", "12345678_123456789x"} {
		if r, err := parseRevision([]byte(b)); !errors.Is(err, ErrDamaged) {
			t.Errorf("%q: %+v, %v", b, r, err)
		}
	}
	want := revisionKey{main: 77}
	if r, err := parseRevision(revisionBytes(77)); err != nil || r != want {
		t.Errorf("%+v, %v", r, err)
	}
	want.tombstone = true
	if r, err := parseRevision(append(revisionBytes(77), 't')); err != nil || r != want {
		t.Errorf("%+v, %v", r, err)
	}
}

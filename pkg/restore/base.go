package restore

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"sort"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
)

// Base is what an archive notes of a snapshot, so that changes can go on from it.
type Base struct {
	Contents etcd.Contents
	// LastChange is the digest without values of the last revision, Change that of the
	// revision that was asked for; zero: the snapshot does not hold it whole.
	LastChange, Change segment.Digest
	AuthRevision       uint64
	Leases             int
}

// InspectBase reads the size bytes of a snapshot whose sha256 was found to agree. at is a
// revision whose events are wanted; 0: none.
func InspectBase(ctx context.Context, r io.ReaderAt, size int64, at segment.Revision) (*Base, error) {
	s, err := read(ctx, r, size, func(context.Context, io.ReaderAt, int64) (string, error) { return "", nil })
	if err != nil {
		return nil, fmt.Errorf("read base: %w", err)
	}
	d, err := openDatabase(ctx, r, size-sealSize)
	if err != nil {
		return nil, fmt.Errorf("read base: %w", err)
	}
	base := &Base{Contents: s.Contents}
	if base.LastChange, err = d.change(ctx, segment.Revision(d.revision)); err == nil && at > 0 {
		base.Change, err = d.change(ctx, at)
	}
	if err == nil {
		base.Leases, base.AuthRevision, err = d.counts(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("read base: %w", err)
	}
	return base, nil
}

// change is the digest without values of a revision; zero where a compaction may have taken
// some of its records.
func (d *database) change(ctx context.Context, revision segment.Revision) (segment.Digest, error) {
	if int64(revision) <= d.compact {
		return segment.Digest{}, nil
	}
	c := segment.Change{Revision: revision}
	low, high := revisionBytes(int64(revision)), revisionBytes(int64(revision)+1)
	err := d.file.between(ctx, d.buckets[keyBucket], low, high, func(e entry) error {
		r, err := parseRevision(e.key)
		if err == nil {
			c.Events = append(c.Events, segment.Event{Tombstone: r.tombstone, Record: bytes.Clone(e.value)})
		}
		return err
	})
	if err != nil || len(c.Events) == 0 {
		return segment.Digest{}, err
	}
	c.Lower, c.Upper = time.Unix(1, 0), time.Unix(1, 0) // a digest has no time in it
	if err := c.Validate(); err != nil {
		return segment.Digest{}, damaged("%v", err)
	}
	return c.DigestWithoutValues(), nil
}

// counts are the leases, and how often etcd's users and roles were changed
// (server/storage/schema/auth.go).
func (d *database) counts(ctx context.Context) (leases int, auth uint64, err error) {
	if b, ok := d.buckets[leaseBucket]; ok {
		err = d.file.walk(ctx, b, func(entry) error { leases++; return nil })
	}
	if err != nil {
		return 0, 0, err
	}
	values, err := d.small(ctx, "auth")
	if value := values["authRevision"]; len(value) == 8 {
		auth = binary.BigEndian.Uint64(value)
	}
	return leases, auth, err
}

// between gives the entries of a bucket from low up to, but without, high, and reads only
// the pages on the way to them.
func (f *boltFile) between(ctx context.Context, b bucket, low, high []byte, fn func(entry) error) error {
	within := func(e entry) error {
		if bytes.Compare(e.key, low) < 0 || bytes.Compare(e.key, high) >= 0 {
			return nil
		}
		return fn(e)
	}
	if b.inline != nil {
		return f.walk(ctx, b, within)
	}
	return f.pagesBetween(ctx, b.root, 0, low, high, within)
}

func (f *boltFile) pagesBetween(ctx context.Context, id uint64, depth int, low, high []byte, fn func(entry) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p, err := f.page(id, depth)
	if err != nil {
		return err
	}
	if p.flags == flagLeaf {
		return p.leaves(bounds{}, fn)
	}
	if p.flags != flagBranch {
		return damaged("page %d: flags %#x are no tree's", id, p.flags)
	}
	var failed error
	first := sort.Search(p.count, func(i int) bool { // the first child that begins after low
		key, _, err := p.branch(i)
		failed = firstError(failed, err)
		return bytes.Compare(key, low) > 0
	})
	children := make([]uint64, 0, 2) // the page's memory is used again by the next
	for i := max(first-1, 0); i < p.count && failed == nil; i++ {
		key, child, err := p.branch(i)
		if failed = firstError(failed, err); i >= first && bytes.Compare(key, high) >= 0 {
			break
		}
		children = append(children, child)
	}
	for _, child := range children {
		if failed == nil {
			failed = f.pagesBetween(ctx, child, depth+1, low, high, fn)
		}
	}
	return failed
}

func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

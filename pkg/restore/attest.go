package restore

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
)

// ErrUnproven: the hash can't be computed from this snapshot, which says nothing against it.
var ErrUnproven = errors.New("the hash goes back to before the base")

// ErrHash: a snapshot hashes to something else than its source.
var ErrHash = errors.New("the hash is not the source's")

// Attested compares a snapshot with what a member of its source answered to HashKV at a
// revision of the snapshot's past. Errors are ErrHash, ErrUnproven and those of the file.
func Attested(ctx context.Context, path string, hash segment.Hash) error {
	file, size, err := openRegular(path)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // only read
	return attested(ctx, file, size, hash)
}

func attested(ctx context.Context, r io.ReaderAt, size int64, hash segment.Hash) error {
	d, err := openDatabase(ctx, r, size-sealSize)
	if err != nil {
		return err
	}
	finished, err := d.finished()
	if err != nil {
		return err
	}
	compact := int64(hash.CompactRevision)
	if compact < finished || int64(hash.Revision) > d.revision {
		return fmt.Errorf("%w: from revision %d to %d, of a snapshot from %d to %d", ErrUnproven, compact, hash.Revision, finished, d.revision)
	}
	d.revision = int64(hash.Revision)
	found, err := d.scan(ctx)
	if err != nil {
		return err
	}
	got, err := d.hashKV(ctx, found.set, compact)
	if err == nil && got != hash.Hash {
		err = fmt.Errorf("%w: %d at revision %d, and member %s had %d", ErrHash, got, hash.Revision, hash.Member, hash.Hash)
	}
	return err
}

// finished is the compaction whose records are gone; -1: none.
func (d *database) finished() (int64, error) {
	value, ok := d.meta[finishedCompactKey]
	if !ok {
		return -1, nil
	}
	r, err := parseRevision(value)
	return r.main, err
}

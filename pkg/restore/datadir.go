package restore

import (
	"context"
	"fmt"
	"io"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// DataDir is what a member's data directory says by itself.
type DataDir struct {
	Database string        // the path of its database
	Members  []etcd.Member // as this member last knew them
	Revision int64         // of the last record in the database; the log behind it may reach further
}

// triesWhileWritten is how often a database that a running etcd changes is read anew.
const triesWhileWritten = 20

// ReadDatabase looks into the database of a member's data directory (member/snap/db), also while its etcd runs: nothing
// is locked, mapped or written. etcd commits about ten times a second and writes over
// pages of the state before the last; what was read counts only if no commit came
// meanwhile. It does not tell whether the database is whole: Open does.
func ReadDatabase(ctx context.Context, path string) (*DataDir, error) {
	file, _, err := openRegular(path)
	if err != nil {
		return nil, fmt.Errorf("read database %s: %w", path, err)
	}
	defer file.Close() //nolint:errcheck // only read
	found := &DataDir{Database: path}
	for range triesWhileWritten {
		switch whole, err := found.readOnce(ctx, file, func() (int64, error) { return fileSize(file) }); {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case whole && err != nil:
			return nil, fmt.Errorf("read database %s: %w", path, err)
		case whole:
			return found, nil
		}
	}
	return nil, fmt.Errorf("read database %s: it is changed faster than it can be read", path)
}

// readOnce reads the state of the last commit; whole: that is still the last one, and
// the file did not grow for one that came before the first look at it.
func (d *DataDir) readOnce(ctx context.Context, r io.ReaderAt, sizeNow func() (int64, error)) (whole bool, err error) {
	size, err := sizeNow()
	if err != nil {
		return true, err
	}
	before, err := findMeta(r, size)
	if err != nil {
		return true, err // one of the two is valid at any moment
	}
	err = d.readState(ctx, r, size)
	after, again := findMeta(r, size)
	later, failed := sizeNow()
	return again == nil && after.txid == before.txid && failed == nil && later == size, err
}

func (d *DataDir) readState(ctx context.Context, r io.ReaderAt, size int64) error {
	db, err := openDatabase(ctx, r, size)
	if err != nil {
		return err
	}
	d.Revision = db.revision
	d.Members, err = db.members(ctx)
	return err
}

package restore

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

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

// ReadDataDir looks into a member's data directory, also while its etcd runs: nothing
// is locked, mapped or written. etcd commits about ten times a second and writes over
// pages of the state before the last; what was read counts only if no commit came
// meanwhile. It does not tell whether the database is whole: Open does.
func ReadDataDir(ctx context.Context, dir string) (*DataDir, error) {
	path := filepath.Join(dir, "member", "snap", "db")
	file, _, err := openRegular(path)
	if err != nil {
		return nil, fmt.Errorf("read database %s: %w", path, err)
	}
	defer file.Close() //nolint:errcheck // only read
	found := &DataDir{Database: path}
	for range triesWhileWritten {
		info, err := file.Stat() // a running etcd makes it grow
		if err != nil {
			return nil, fmt.Errorf("read database %s: %w", path, bare(err))
		}
		switch whole, err := found.readOnce(ctx, file, info.Size()); {
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

// readOnce reads the state of the last commit; whole: that is still the last one.
func (d *DataDir) readOnce(ctx context.Context, r io.ReaderAt, size int64) (whole bool, err error) {
	before, err := findMeta(r, size)
	if err != nil {
		return true, err // one of the two is valid at any moment
	}
	err = d.readState(ctx, r, size)
	after, again := findMeta(r, size)
	return again == nil && after.txid == before.txid, err
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

package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
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
		var whole bool
		if whole, err = found.readOnce(ctx, file); whole {
			break
		}
		err = errors.New("it is changed faster than it can be read")
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read database %s: %w", path, err)
	}
	return found, nil
}

// readOnce reads the state of the last commit; whole: that is still the last one.
func (d *DataDir) readOnce(ctx context.Context, file *os.File) (whole bool, err error) {
	info, err := file.Stat()
	if err != nil {
		return true, bare(err)
	}
	before, err := findMeta(file, info.Size())
	if err != nil {
		return true, err // one of the two is valid at any moment
	}
	err = d.readState(ctx, file, info.Size())
	after, again := findMeta(file, info.Size())
	return again == nil && after.txid == before.txid, err
}

func (d *DataDir) readState(ctx context.Context, file *os.File, size int64) error {
	db, err := openDatabase(ctx, file, size)
	if err != nil {
		return err
	}
	d.Revision = db.revision
	d.Members, err = db.members(ctx)
	return err
}

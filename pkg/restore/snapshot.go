package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/nameless"
)

// Snapshot is a verified snapshot file.
type Snapshot struct {
	Path     string        `json:"path"`
	Size     int64         `json:"size"`
	SHA256   string        `json:"sha256"` // of the whole file, in hex
	Contents etcd.Contents `json:"contents"`
	Members  []etcd.Member `json:"members"` // as the snapshot's own member list has them
	Alarms   []etcd.Alarm  `json:"alarms,omitempty"`
	Version  string        `json:"version"` // cluster version stored in it; empty before 3.5
	// Warnings tell what is odd about it but does not keep it from being restored.
	Warnings []string `json:"warnings,omitempty"`

	file *os.File // where it is in an open file, which may have no name: not its own to close
}

// Open verifies path (its sha256, the database's structure, the revision chain's
// meta) and reads what it holds. Errors are ErrNotSnapshot (with ErrNoChecksum where
// that is the only fault) or ErrDamaged, wrapped, besides those of reading files.
//
// It reads the file three times from start to end, writes nothing, and needs memory
// by the number of live keys, see liveSet, and of the largest value.
func Open(ctx context.Context, path string) (*Snapshot, error) {
	s, err := open(ctx, path, checkSHA256)
	if err != nil {
		return nil, fmt.Errorf("read snapshot %s: %w", path, err)
	}
	return s, nil
}

// Inspect is Open for a file that was just written, for backup.Options.Inspect: sum is
// the CRC-32C of the bytes as they were written, after their sha256 was found to agree.
// That they are what is read back is seen by the sum, which costs a tenth of the sha256.
func Inspect(ctx context.Context, path string, sum uint32) (etcd.Contents, error) {
	s, err := open(ctx, path, func(ctx context.Context, r io.ReaderAt, size int64) (string, error) {
		return "", checkCRC(ctx, r, size, sum)
	})
	if err != nil {
		return etcd.Contents{}, fmt.Errorf("read snapshot %s: %w", path, err)
	}
	return s.Contents, nil
}

// check compares the size bytes of r with a sum and returns their sha256 if it knows it.
type check func(ctx context.Context, r io.ReaderAt, size int64) (sha256 string, err error)

// OpenFile is Open of a file that is open already, and must stay so as long as the snapshot is
// used.
func OpenFile(ctx context.Context, file *os.File) (*Snapshot, error) {
	s, err := openFile(ctx, file, checkSHA256)
	if err != nil {
		return nil, fmt.Errorf("read snapshot %s: %w", file.Name(), err)
	}
	return s, nil
}

func openFile(ctx context.Context, file *os.File, check check) (*Snapshot, error) {
	size, err := fileSize(file)
	if err != nil {
		return nil, err
	}
	s, err := read(ctx, file, size, check)
	if err != nil {
		return nil, err
	}
	s.Path, s.file = file.Name(), file
	return s, nil
}

func fileSize(file *os.File) (int64, error) {
	info, err := file.Stat()
	if err != nil {
		return 0, bare(err)
	}
	return info.Size(), nil
}

// reopen opens the snapshot's file once more, to read.
func (s *Snapshot) reopen() (*os.File, int64, error) {
	if s.file == nil {
		return openRegular(s.Path)
	}
	file, err := nameless.Again(s.file)
	if err != nil {
		return nil, 0, err
	}
	size, err := fileSize(file)
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, size, nil
}

func open(ctx context.Context, path string, check check) (*Snapshot, error) {
	file, size, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // only read
	s, err := read(ctx, file, size, check)
	if err != nil {
		return nil, err
	}
	s.Path = path
	return s, nil
}

// read is Open of the size bytes of r.
func read(ctx context.Context, r io.ReaderAt, size int64, check check) (*Snapshot, error) {
	if err := checkSeal(r, size); err != nil {
		return nil, err
	}
	sum, err := check(ctx, r, size)
	if err != nil {
		return nil, err
	}
	d, err := openDatabase(ctx, r, size-sealSize)
	if err != nil {
		return nil, err
	}
	s, err := d.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	s.Size, s.SHA256 = size, sum
	return s, nil
}

// openRegular opens path for reading. Anything but a file is no snapshot.
func openRegular(path string) (*os.File, int64, error) {
	info, err := os.Stat(path) // before opening: opening a pipe would wait for its writer
	if err != nil {
		return nil, 0, bare(err)
	}
	switch {
	case info.IsDir():
		return nil, 0, fmt.Errorf("%w: it is a directory", ErrNotSnapshot)
	case !info.Mode().IsRegular():
		return nil, 0, fmt.Errorf("%w: it is no regular file", ErrNotSnapshot)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, bare(err)
	}
	return file, info.Size(), nil
}

// bare drops the path from a file error: the caller names it.
func bare(err error) error {
	if e, ok := err.(*fs.PathError); ok { //nolint:errorlint // only what os itself returned
		return e.Err
	}
	return err
}

func (d *database) snapshot(ctx context.Context) (*Snapshot, error) {
	found, err := d.scan(ctx)
	if err != nil {
		return nil, err
	}
	s := &Snapshot{Contents: etcd.Contents{
		Revision: d.revision, CompactRevision: d.compact,
		Keys: found.set.keys(), Records: int64(found.set.records),
		Hash: found.hash.Sum32(), Kubernetes: found.kubernetes, Partial: found.kubernetes && !found.namespaces,
		StorageVersion: string(d.meta[storageVersionKey]),
	}}
	if s.Contents.HashKV, err = d.hashKV(ctx, found.set, d.compact); err != nil {
		return nil, err
	}
	if s.Members, err = d.members(ctx); err != nil {
		return nil, err
	}
	if s.Alarms, err = d.alarms(ctx); err != nil {
		return nil, err
	}
	cluster, err := d.small(ctx, clusterBucket)
	if err != nil {
		return nil, err
	}
	s.Version = string(cluster[clusterVersionKey])
	if found.missing > 0 {
		s.Warnings = append(s.Warnings, fmt.Sprintf("%d revisions between %d and %d have no record: the source had lost them", found.missing, max(d.compact, 1), d.revision))
	}
	return s, nil
}

package restore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// copySnapshot copies the database of a snapshot to a new file, without its sha256, and
// checks that it is still the file that was planned with.
func copySnapshot(ctx context.Context, snapshot Snapshot, to string) error {
	file, size, err := openRegular(snapshot.Path)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // only read
	if size != snapshot.Size {
		return damaged("%s has changed since it was verified", snapshot.Path)
	}
	h := sha256.New()
	source := io.TeeReader(io.NewSectionReader(file, 0, size-sealSize), h)
	if err := writeFile(ctx, to, source); err != nil {
		return err
	}
	if hex.EncodeToString(h.Sum(nil)) != snapshot.SHA256 {
		return damaged("%s has changed since it was verified", snapshot.Path)
	}
	return nil
}

func copyFile(ctx context.Context, from, to string) error {
	file, err := os.Open(from)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // only read
	return writeFile(ctx, to, file)
}

// writeFile makes a new file, for the owner only.
func writeFile(ctx context.Context, path string, source io.Reader) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = copyContext(ctx, file, source)
	return errors.Join(err, file.Close())
}

// makeParents is os.MkdirAll that tells what it made, from the top.
func makeParents(dir string) ([]string, error) {
	var missing []string
	for {
		_, err := os.Stat(dir)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		missing = append(missing, dir)
		dir = filepath.Dir(dir)
	}
	var made []string
	for i := len(missing) - 1; i >= 0; i-- {
		if err := os.Mkdir(missing[i], 0o700); err != nil {
			return made, err
		}
		made = append(made, missing[i])
	}
	return made, nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// syncTree makes a tree durable: each file, then the directory that holds it.
func syncTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		sync := syncFile
		if entry.IsDir() {
			sync = syncTree
		}
		if err := sync(path); err != nil {
			return err
		}
	}
	return syncDir(dir)
}

func syncFile(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

// syncDir makes the names in a directory durable, where directories can be synced.
func syncDir(path string) error {
	if runtime.GOOS == "windows" { // not there
		return nil
	}
	dir, err := os.Open(path)
	if err == nil {
		err = errors.Join(dir.Sync(), dir.Close())
	}
	if unsyncable(err) {
		return nil
	}
	return err
}

// unsyncable tells that a directory can't be synced here at all: the file system can't
// (some CIFS and FUSE mounts), or one may write there but not list. The files in it are
// synced themselves; to refuse them for this would help nobody.
func unsyncable(err error) bool {
	var path *fs.PathError
	if !errors.As(err, &path) {
		return false
	}
	if path.Op == "open" {
		return errors.Is(path, syscall.EACCES)
	}
	return errors.Is(path, syscall.EINVAL) || errors.Is(path, errors.ErrUnsupported)
}

package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// SyncTree puts a tree on the disk: each file, then the directory that holds it.
func SyncTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		sync := syncFile
		if entry.IsDir() {
			sync = SyncTree
		}
		if err := sync(path); err != nil {
			return err
		}
	}
	return SyncDir(dir)
}

func syncFile(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

// SyncDir puts the names in a directory on the disk, where directories can be synced.
func SyncDir(dir string) error {
	if runtime.GOOS == "windows" { // not there
		return nil
	}
	d, err := os.Open(dir)
	if err == nil {
		err = errors.Join(d.Sync(), d.Close())
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

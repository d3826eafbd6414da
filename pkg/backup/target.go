package backup

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// target is the file to make: a temporary one beside it until all is well.
type target struct {
	path      string
	overwrite bool
	temp      string
	file      *os.File // nil once closed
}

// newTarget checks path and makes the temporary file, which shows, before anything
// is asked of etcd, that the directory can be written to.
func newTarget(path string, overwrite bool) (*target, error) {
	switch info, err := os.Lstat(path); {
	case path == "":
		return nil, fmt.Errorf("%w: no file is named", ErrWrite)
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrWrite, err)
	case info.IsDir():
		return nil, fmt.Errorf("%w: %s is a directory", ErrWrite, path)
	case !overwrite:
		return nil, fmt.Errorf("%w: %s: %w", ErrWrite, path, fs.ErrExist)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%w: %s is no regular file", ErrWrite, path)
	}
	// CreateTemp opens with O_EXCL and 0600.
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.part")
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrWrite, path, cause(err))
	}
	return &target{path: path, overwrite: overwrite, temp: file.Name(), file: file}, nil
}

// Write appends to the temporary file. Errors name the file that was asked for.
func (t *target) Write(p []byte) (int, error) {
	n, err := t.file.Write(p)
	return n, t.wrap(err)
}

// rewind empties the file for another try.
func (t *target) rewind() error {
	if _, err := t.file.Seek(0, io.SeekStart); err != nil {
		return t.wrap(err)
	}
	return t.wrap(t.file.Truncate(0))
}

func (t *target) sync() error { return t.wrap(t.file.Sync()) }

// commit gives the file its name. What exists is never replaced unless asked for,
// also if it came to be only now.
func (t *target) commit() error {
	file := t.file
	t.file = nil
	if err := file.Close(); err != nil {
		return t.wrap(err)
	}
	publish := t.link
	if t.overwrite {
		publish = t.rename
	}
	if err := publish(); err != nil {
		return t.wrap(err)
	}
	return t.wrap(syncDir(filepath.Dir(t.path)))
}

func (t *target) rename() error {
	if err := os.Rename(t.temp, t.path); err != nil {
		return err
	}
	t.temp = ""
	return nil
}

// link gives the file its second name, which fails if that exists, and drops the
// first. Where there are no links the name is reserved by an empty file instead.
func (t *target) link() error {
	switch err := os.Link(t.temp, t.path); {
	case errors.Is(err, fs.ErrExist):
		return err
	case err != nil:
		return t.reserve()
	}
	if err := os.Remove(t.temp); err != nil {
		return err
	}
	t.temp = ""
	return nil
}

func (t *target) reserve() error {
	file, err := os.OpenFile(t.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(file.Close(), t.rename()); err != nil {
		return errors.Join(err, os.Remove(t.path))
	}
	return nil
}

// discard removes the temporary file if it is still there.
func (t *target) discard() {
	if t.file != nil {
		_ = t.file.Close() // what was written is not wanted
	}
	if t.temp != "" {
		_ = os.Remove(t.temp) // its name says that it is a part
	}
}

func (t *target) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %s: %w", ErrWrite, t.path, cause(err))
}

// cause is err without the temporary file's name.
func cause(err error) error {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &link):
		return link.Err
	}
	return err
}

// syncDir makes a rename outlive a power cut, where directories can be synced.
func syncDir(dir string) error {
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

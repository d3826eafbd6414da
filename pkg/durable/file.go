// Package durable makes files that outlive a power cut.
//
// Its one idea: a name appears when what it names is whole and on the disk, and never
// in place of something else unless that was asked for.
package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// File is a file to make: a temporary one beside it, for the owner only, until Commit.
// Its errors name the file that was asked for and hold the system's own (fs.ErrExist,
// fs.ErrPermission, syscall.ENOSPC).
type File struct {
	path      string
	overwrite bool
	temp      string   // empty once it is gone
	file      *os.File // nil once closed
}

// Create checks path and makes the temporary file, which shows that the directory can
// be written to before there is anything to write. What exists is an error unless
// overwrite; then it must be a regular file.
func Create(path string, overwrite bool) (*File, error) {
	switch info, err := os.Lstat(path); {
	case path == "":
		return nil, errors.New("no file is named")
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fmt.Errorf("%s is a directory", path)
	case !overwrite:
		return nil, fmt.Errorf("%s: %w", path, fs.ErrExist)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	// CreateTemp opens with O_EXCL and 0600.
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.part")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, cause(err))
	}
	return &File{path: path, overwrite: overwrite, temp: file.Name(), file: file}, nil
}

// Temp is the temporary file's path.
func (f *File) Temp() string { return f.temp }

// Write appends to the temporary file.
func (f *File) Write(p []byte) (int, error) {
	n, err := f.file.Write(p)
	return n, f.wrap(err)
}

// Rewind empties the file for another try.
func (f *File) Rewind() error {
	if _, err := f.file.Seek(0, io.SeekStart); err != nil {
		return f.wrap(err)
	}
	return f.wrap(f.file.Truncate(0))
}

// Commit puts what was written on the disk and gives the file its name. What exists
// is never replaced unless asked for, also if it came to be only now.
func (f *File) Commit() error {
	file := f.file
	f.file = nil
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return f.wrap(err)
	}
	publish := f.link
	if f.overwrite {
		publish = f.rename
	}
	if err := publish(); err != nil {
		return f.wrap(err)
	}
	return f.wrap(SyncDir(filepath.Dir(f.path)))
}

func (f *File) rename() error {
	if err := os.Rename(f.temp, f.path); err != nil {
		return err
	}
	f.temp = ""
	return nil
}

// link gives the file its second name, which fails if that exists, and drops the
// first. Where there are no links the name is reserved by an empty file instead.
func (f *File) link() error {
	switch err := os.Link(f.temp, f.path); {
	case errors.Is(err, fs.ErrExist):
		return err
	case err != nil:
		return f.reserve()
	}
	if err := os.Remove(f.temp); err != nil {
		return err
	}
	f.temp = ""
	return nil
}

func (f *File) reserve() error {
	file, err := os.OpenFile(f.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(file.Close(), f.rename()); err != nil {
		return errors.Join(err, os.Remove(f.path))
	}
	return nil
}

// Discard removes the temporary file if it is still there. After Commit it does nothing.
func (f *File) Discard() {
	if f.file != nil {
		_ = f.file.Close() // what was written is not wanted
	}
	if f.temp != "" {
		_ = os.Remove(f.temp) // its name says that it is a part
	}
}

func (f *File) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", f.path, cause(err))
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

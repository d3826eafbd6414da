package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestSyncDir asks /proc, which can't sync, as some network and FUSE mounts can't.
func TestSyncDir(t *testing.T) {
	for _, dir := range []string{t.TempDir(), "/proc"} {
		if err := SyncDir(dir); err != nil {
			t.Errorf("%s: %v", dir, err)
		}
	}
	if err := SyncDir(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("SyncDir of nothing = %v", err)
	}
}

func TestUnsyncable(t *testing.T) {
	for _, test := range []struct {
		op   string
		err  error
		want bool
	}{
		{"sync", syscall.EINVAL, true},
		{"sync", syscall.ENOTSUP, true},
		{"sync", syscall.EIO, false},
		{"sync", syscall.ENOSPC, false},
		{"sync", syscall.EACCES, false},
		{"open", syscall.EACCES, true}, // one may write there, but not list
		{"open", syscall.EMFILE, false},
	} {
		if got := unsyncable(&fs.PathError{Op: test.op, Path: "d", Err: test.err}); got != test.want {
			t.Errorf("%s: %v: %t, want %t", test.op, test.err, got, test.want)
		}
	}
}

func TestSyncTree(t *testing.T) {
	dir := t.TempDir()
	deep := filepath.Join(dir, "a", "b")
	if err := errors.Join(os.MkdirAll(deep, 0o700), os.WriteFile(filepath.Join(deep, "f"), []byte("x"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := SyncTree(dir); err != nil {
		t.Errorf("SyncTree = %v", err)
	}
	if err := os.Symlink("nothing", filepath.Join(deep, "g")); err != nil {
		t.Fatal(err)
	}
	if err := SyncTree(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("with a file that can't be opened, deep in it: SyncTree = %v", err)
	}
}

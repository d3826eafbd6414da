package restore

import (
	"errors"
	"io/fs"
	"path/filepath"
	"syscall"
	"testing"
)

// TestSyncDir asks /proc, which can't sync, as some network and FUSE mounts can't.
func TestSyncDir(t *testing.T) {
	for _, dir := range []string{t.TempDir(), "/proc"} {
		if err := syncDir(dir); err != nil {
			t.Errorf("%s: %v", dir, err)
		}
	}
	if err := syncDir(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("syncDir of nothing = %v", err)
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

//go:build unix

package flock

import (
	"os"
	"path/filepath"
	"testing"
)

// Between opening the file and locking it, its holder may remove it, and another
// process make it anew: a lock on the old one would keep nobody out.
func TestStillAt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	create := func() *os.File {
		t.Helper()
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	old := create()
	if !stillAt(path, old) {
		t.Error("the file that was just made is not there")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if stillAt(path, old) {
		t.Error("the removed file counts as there")
	}
	create()
	if stillAt(path, old) {
		t.Error("another file of the same name counts as the old one")
	}
}

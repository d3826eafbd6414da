package discover

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// TestReadNodeWithoutRights reads as a user without rights, also where the test is root:
// this thread's file system user is another for the time (setfsuid(2)).
func TestReadNodeWithoutRights(t *testing.T) {
	root := t.TempDir()
	if err := os.CopyFS(root, os.DirFS(onNode+"kubeadm")); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, kubeadmManifests)
	for path, mode := range map[string]os.FileMode{filepath.Dir(root): 0o755, root: 0o755, filepath.Join(dir, "etcd.yaml"): 0, dir: 0o755} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		mode os.FileMode // of the manifests' directory
		want string      // the path in the error
	}{
		{0, dir},
		{0o755, filepath.Join(dir, "etcd.yaml")},
	} {
		if err := os.Chmod(dir, test.mode); err != nil {
			t.Fatal(err)
		}
		_, err := readAsNobody(t, root)
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), test.want+": permission denied") {
			t.Errorf("got %v, want one that names %s", err, test.want)
		}
	}
}

func readAsNobody(t *testing.T, root string) (*Local, error) {
	t.Helper()
	if os.Geteuid() == 0 {
		runtime.LockOSThread() // not unlocked: the thread ends with the goroutine
		if err := syscall.Setfsuid(65534); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = syscall.Setfsuid(0) }()
	}
	return ReadNode(root)
}

// A pipe among the manifests is noted: reading it would wait for its writer for ever.
func TestPipeAmongManifests(t *testing.T) {
	root := copyNode(t, "kubeadm")
	pipe := filepath.Join(root, kubeadmManifests, "pipe.yaml")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	local, _ := readOne(t, root)
	if len(local.Notes) != 1 || !strings.Contains(local.Notes[0], pipe+": it is no regular file") {
		t.Errorf("notes %q", local.Notes)
	}
}

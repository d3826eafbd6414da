package backup

import (
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
)

// twoStubs are two members that would both give a snapshot.
func twoStubs(t *testing.T) []Source {
	database := make([]byte, 256<<10)
	sum := sha256.Sum256(database)
	var sources []Source
	for _, name := range []string{"a", "b"} {
		stub := &etcdtest.Stub{Messages: etcdtest.SnapshotMessages(database, sum[:])}
		stub.OnStatus = func() (*pb.StatusResponse, error) {
			return &pb.StatusResponse{Header: &pb.ResponseHeader{ClusterId: 7, MemberId: 2}, Leader: 1}, nil
		}
		sources = append(sources, Source{Name: name, Client: stub.Open(t, name)})
	}
	return sources
}

// TestFullDisk writes to the kernel's own full device.
func TestFullDisk(t *testing.T) {
	full := func() *os.File {
		file, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { file.Close() })
		return file
	}
	retries := 0
	options := Options{OnEvent: func(e Event) {
		if e.Retry != nil {
			retries++
		}
	}}
	check := func(err error) {
		t.Helper()
		if !errors.Is(err, syscall.ENOSPC) || !errors.Is(err, ErrWrite) || errors.Is(err, ErrNoMember) || retries != 0 {
			t.Errorf("%v after %d retries, want ENOSPC and no retry", err, retries)
		}
	}
	_, err := WriteTo(t.Context(), twoStubs(t), full(), options)
	check(err)

	disk := &target{path: "/backups/s.db", temp: "", file: full()}
	_, err = run(t.Context(), twoStubs(t), options, func(ctx context.Context, a *attempt) (*Report, error) {
		return a.stream(ctx, disk)
	})
	check(err)
	if !strings.Contains(err.Error(), "/backups/s.db: no space left on device") {
		t.Errorf("%v: it does not name the file", err)
	}
}

// TestNoLinks is a target where no link can be made: the name is reserved instead.
func TestNoLinks(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s.db")
	target, err := newTarget(path, false)
	if err != nil {
		t.Fatal(err)
	}
	defer target.discard()
	if _, err := target.Write([]byte("whole")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := target.reserve(); !errors.Is(err, fs.ErrExist) {
		t.Errorf("reserve over a file = %v", err)
	}
	if content, _ := os.ReadFile(path); string(content) != "theirs" {
		t.Errorf("it was written over: %q", content)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := target.reserve(); err != nil {
		t.Errorf("reserve = %v", err)
	}
	if content, _ := os.ReadFile(path); string(content) != "whole" {
		t.Errorf("content %q", content)
	}
}

// TestReadOnlyFolder: to root no folder is read-only by its mode, but /sys is.
func TestReadOnlyFolder(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		dir = "/sys"
	}
	path := filepath.Join(dir, "s.db")
	_, err := SaveFile(t.Context(), []Source{{Name: "a", Client: untouched(t)}}, Options{Path: path})
	if !errors.Is(err, ErrWrite) || (!errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.EROFS)) || !strings.Contains(err.Error(), path) {
		t.Errorf("SaveFile = %v", err)
	}
}

// untouched is a client that must not be used.
func untouched(t *testing.T) *etcd.Client {
	client, err := etcd.Open(etcd.Endpoint{Name: "a", URL: "http://127.0.0.1:1", Dial: func(context.Context) (net.Conn, error) {
		t.Error("etcd was asked although nothing could be written")
		return nil, errors.New("not to be dialled")
	}}, etcd.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

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

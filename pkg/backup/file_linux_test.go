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

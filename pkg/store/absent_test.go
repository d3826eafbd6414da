package store

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/test/azure"
)

// TestForbiddenIsNotAbsent: gocloud.dev's own driver says "not found" where Google forbids.
func TestForbiddenIsNotAbsent(t *testing.T) {
	bucket := openAnswering(t, func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "forbidden by the test", http.StatusForbidden)
	})
	a := &Archive{bucket: bucket, id: ArchiveID{"cluster", "main"}}
	if list, err := a.Timelines(t.Context()); err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("timelines %v, %v, want an error that says it is forbidden", list, err)
	}
	if _, err := bucket.open(t.Context(), "x", -1); err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("open: %v, want an error that says it is forbidden", err)
	}
	if err := a.remove(t.Context(), "x", "y"); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("remove: %v, want an error that says it is forbidden", err)
	}
}

// TestUnknownHostIsNotAbsent: gocloud.dev says so of Azure's hosts.
func TestUnknownHostIsNotAbsent(t *testing.T) {
	server := &azure.Server{Address: "no..host", Container: "archive"} // which asks no DNS
	server.Login(t)
	bucket, err := OpenBucket(t.Context(), server.URL(""), false)
	if err != nil {
		t.Fatal(err)
	}
	defer bucket.Close()
	_, err = bucket.objects(t.Context(), "")
	if dns := (*net.DNSError)(nil); !errors.As(err, &dns) || errors.Is(err, ErrNotFound) {
		t.Errorf("list: %v, want the error of the name's look-up", err)
	}
}

// openAnswering opens a bucket of Google's that is only these answers.
func openAnswering(t *testing.T, answer http.HandlerFunc) *Bucket {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	t.Setenv("STORAGE_EMULATOR_HOST", strings.TrimPrefix(server.URL, "http://"))
	bucket, err := OpenBucket(t.Context(), "gs://archive/prefix", false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bucket.Close() })
	return bucket
}

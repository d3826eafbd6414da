//go:build unix

// Package gcs runs an emulator of Google Cloud Storage (fake-gcs-server, in memory) for
// tests.
package gcs

import (
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/test/cluster/binaries"
	"github.com/kubectl-etcd/kubectl-etcd/test/process"
)

// Server is a running emulator with one empty bucket. It ends with its test.
type Server struct {
	Address string // 127.0.0.1:PORT
	Bucket  string
}

// Start builds the emulator if it is not in the cache, and starts it.
func Start(t testing.TB) *Server {
	t.Helper()
	bin, err := binaries.Ensure(t.Context(), t.Output(), binaries.FakeGCS)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Bucket: "archive"}
	seed := t.TempDir() // of which each folder becomes a bucket
	if err := os.Mkdir(filepath.Join(seed, s.Bucket), 0o755); err != nil {
		t.Fatal(err)
	}
	s.Address = process.Serve(t, func(address string) *exec.Cmd {
		return command(filepath.Join(bin, "fake-gcs-server"), address, seed)
	}, func(ctx context.Context, address string) error {
		return process.Answers(ctx, "http://"+address+"/_internal/healthcheck")
	})
	return s
}

// Login makes the emulator what Google's clients talk to, here and in child processes,
// until the test ends. It wants no credentials.
func (s *Server) Login(t testing.TB) {
	t.Helper()
	t.Setenv("STORAGE_EMULATOR_HOST", s.Address)
}

// URL names the part of the bucket below prefix.
func (s *Server) URL(prefix string) string {
	u := url.URL{Scheme: "gs", Host: s.Bucket, Path: "/" + prefix}
	return u.String()
}

func command(binary, address, seed string) *exec.Cmd {
	host, port, _ := strings.Cut(address, ":")
	return exec.Command(binary, "-scheme", "http", "-host", host, "-port", port, "-backend", "memory", "-data", seed, "-log-level", "warn")
}

//go:build unix

package s3_test

import (
	"bytes"
	"context"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gocloud.dev/blob"
	_ "gocloud.dev/blob/s3blob"
	"gocloud.dev/gcerrors"

	"github.com/kubectl-etcd/kubectl-etcd/test/s3"
)

// Sizes that s3blob sends as one PUT, and in parts.
const (
	small = 1 << 20
	large = 17 << 20
)

var sizes = map[string]int{"small": small, "large": large}

func TestServer(t *testing.T) {
	server := s3.Start(t)
	server.Login(t)
	b := open(t, server.URL(""))

	for name, size := range sizes {
		t.Run("put "+name, func(t *testing.T) {
			key, want := "put/"+name, content(size, 'a')
			if err := put(t.Context(), b, key, want); err != nil {
				t.Fatal(err)
			}
			got, err := b.ReadAll(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			kept, err := os.ReadFile(filepath.Join(server.Dir, server.Bucket, key))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) || !bytes.Equal(kept, want) {
				t.Errorf("%d bytes read, %d kept, not the %d that were put", len(got), len(kept), len(want))
			}
		})
		t.Run("put twice "+name, func(t *testing.T) {
			key, first := "twice/"+name, content(size, 'a')
			if err := put(t.Context(), b, key, first); err != nil {
				t.Fatal(err)
			}
			err := put(t.Context(), b, key, content(size, 'b'))
			if gcerrors.Code(err) != gcerrors.FailedPrecondition {
				t.Errorf("second put: %v, want a failed precondition", err)
			}
			if got, err := b.ReadAll(t.Context(), key); err != nil || !bytes.Equal(got, first) {
				t.Errorf("the first object has changed (%v)", err)
			}
		})
		t.Run("cancel before close "+name, func(t *testing.T) {
			before := files(t, server)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			key := "cancelled/" + name
			w, err := b.NewWriter(ctx, key, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(content(size, 'a')); err != nil {
				t.Fatal(err)
			}
			cancel()
			if err := w.Close(); err == nil {
				t.Error("close does not say that it was cancelled")
			}
			wantNone(t, b, key)
			if diff := cmp.Diff(before, files(t, server)); diff != "" {
				t.Errorf("left behind (+):\n%s", diff)
			}
		})
	}
}

// TestRefusalsArrive puts more than a socket holds: the server refuses it unread.
func TestRefusalsArrive(t *testing.T) {
	server := s3.Start(t)
	server.Login(t)
	for name, location := range map[string]string{"server": server.URL(""), "proxy": server.Faulty(t).URL("")} {
		t.Run(name, func(t *testing.T) {
			b := open(t, location)
			data := content(3<<20, 'a')
			if err := put(t.Context(), b, name, data); err != nil {
				t.Fatal(err)
			}
			for range 10 {
				if err := put(t.Context(), b, name, data); gcerrors.Code(err) != gcerrors.FailedPrecondition {
					t.Fatalf("second put: %v, want a failed precondition", err)
				}
			}
		})
	}
}

func TestServersAreApart(t *testing.T) {
	one, other := s3.Start(t), s3.Start(t)
	one.Login(t)
	data := content(small, 'a')
	if err := put(t.Context(), open(t, one.URL("")), "key", data); err != nil {
		t.Fatal(err)
	}
	err := put(t.Context(), open(t, other.URL("")), "key", data)
	if err == nil || !strings.Contains(err.Error(), "SignatureDoesNotMatch") {
		t.Errorf("put with another server's keys: %v, want a signature that does not match", err)
	}
	if got := files(t, other); len(got) != 0 {
		t.Errorf("the other server has %v", got)
	}
}

func TestServerEndsWithItsTest(t *testing.T) {
	var server *s3.Server
	t.Run("uses it", func(t *testing.T) { server = s3.Start(t) })
	address := strings.TrimPrefix(server.Endpoint, "http://")
	if c, err := net.Dial("tcp", address); err == nil {
		c.Close()
		t.Errorf("%s is served after the test", address)
	}
	if _, err := os.Stat(server.Dir); !os.IsNotExist(err) {
		t.Errorf("its folder is left: %v", err)
	}
}

func TestURL(t *testing.T) {
	server := &s3.Server{Endpoint: "http://127.0.0.1:9000", Bucket: "archive"}
	want := "s3://archive/prod/eu%20west?endpoint=http%3A%2F%2F127.0.0.1%3A9000&region=us-east-1&use_path_style=true"
	if got := server.URL("prod/eu west"); got != want {
		t.Errorf("URL = %s, want %s", got, want)
	}
}

func open(t *testing.T, location string) *blob.Bucket {
	t.Helper()
	b, err := blob.OpenBucket(t.Context(), location)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func put(ctx context.Context, b *blob.Bucket, key string, data []byte) error {
	return b.WriteAll(ctx, key, data, &blob.WriterOptions{IfNotExist: true})
}

func content(size int, letter byte) []byte { return bytes.Repeat([]byte{letter}, size) }

func wantNone(t *testing.T, b *blob.Bucket, key string) {
	t.Helper()
	there, err := b.Exists(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if there {
		t.Errorf("%s is there", key)
	}
}

// files are those in the server's folder, also what is no object yet.
func files(t *testing.T, s *s3.Server) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(s.Dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, strings.TrimPrefix(path, s.Dir+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

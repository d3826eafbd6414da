package main

import (
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// What a registry has afterwards is what the binaries name: the same digest.
func TestPush(t *testing.T) {
	server := httptest.NewServer(registry.New())
	defer server.Close()
	to := strings.TrimPrefix(server.URL, "http://") + "/ops/kubectl-etcd:v1"
	file := filepath.Join(t.TempDir(), "image.tar")
	digest, err := run(to, file, []string{"linux/amd64=" + write(t, "the one"), "linux/arm64=" + write(t, "the other")})
	if err != nil {
		t.Fatal(err)
	}
	if err := push(to, file); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{to, repository(to) + "@" + digest.String()} {
		reference, err := name.ParseReference(at)
		if err != nil {
			t.Fatal(err)
		}
		index, err := remote.Index(reference)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := index.Digest(); err != nil || got != digest {
			t.Errorf("%s has digest %s, %v, want %s", at, got, err, digest)
		}
		if err := validate.Index(index); err != nil {
			t.Error(err)
		}
	}
}

func TestPushErrors(t *testing.T) {
	server := httptest.NewServer(registry.New())
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	for _, test := range []struct{ to, file, want string }{
		{host + "/ops/kubectl-etcd:v1", filepath.Join(t.TempDir(), "none.tar"), "no such file"},
		{host + "/ops/kubectl-etcd:v1", write(t, "no tar at all, but long enough for a header"+strings.Repeat(".", 600)), "invalid tar header"},
		{"no name", "image.tar", "could not parse reference"},
	} {
		if err := push(test.to, test.file); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s, %s: %v, want %q", test.to, test.file, err, test.want)
		}
	}
}

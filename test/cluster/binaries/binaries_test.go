//go:build unix

package binaries

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func TestVersionsAreThoseOfTheTools(t *testing.T) {
	for _, c := range []struct{ module, line string }{
		{"../tools/go.mod", "k8s.io/kubernetes v" + KubernetesVersion},
		{"../tools/go.mod", "go.etcd.io/etcd/server/v3 v" + EtcdVersion},
		{"../tools/etcd-3.5/go.mod", "go.etcd.io/etcd/server/v3 v" + strings.TrimPrefix(string(Etcd35), "etcd-")},
		{"../tools/etcd-3.6/go.mod", "go.etcd.io/etcd/server/v3 v" + strings.TrimPrefix(string(Etcd36), "etcd-")},
		{"../tools/versitygw/go.mod", "github.com/versity/versitygw v" + strings.TrimPrefix(string(VersityGW), "versitygw-")},
		{"../tools/fake-gcs-server/go.mod", "github.com/fsouza/fake-gcs-server v" + strings.TrimPrefix(string(FakeGCS), "fake-gcs-server-")},
	} {
		raw, err := os.ReadFile(c.module)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(raw), c.line) {
			t.Errorf("%s does not require %q", c.module, c.line)
		}
	}
}

func TestCachedFillsOnce(t *testing.T) {
	t.Setenv("KUBECTL_ETCD_CACHE", t.TempDir())
	var filled atomic.Int32
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			dir, err := Cached(t.Context(), "bin/set-1", func(_ context.Context, dir string) error {
				filled.Add(1)
				return os.WriteFile(filepath.Join(dir, "program"), []byte("x"), 0o700)
			})
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := os.Stat(filepath.Join(dir, "program")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if filled.Load() != 1 {
		t.Errorf("filled %d times, want once", filled.Load())
	}
}

func TestCachedLeavesNothingHalfMade(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("KUBECTL_ETCD_CACHE", cache)
	broken := errors.New("compiler went away")
	half := func(_ context.Context, dir string) error {
		return errors.Join(os.WriteFile(filepath.Join(dir, "half"), nil, 0o600), broken)
	}
	if _, err := Cached(t.Context(), "bin/set-1", half); !errors.Is(err, broken) {
		t.Fatalf("error = %v, want that of the filler", err)
	}
	left, err := os.ReadDir(filepath.Join(cache, "bin"))
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestEnsureRefusesUnknownSets(t *testing.T) {
	t.Setenv("KUBECTL_ETCD_CACHE", t.TempDir())
	if _, err := Etcd(t.Context(), io.Discard, "3.4.1"); err == nil || !strings.Contains(err.Error(), "etcd-3.4.1") {
		t.Errorf("error = %v, want one that names the set", err)
	}
}

func TestOSRelease(t *testing.T) {
	file := filepath.Join(t.TempDir(), "os-release")
	if err := os.WriteFile(file, []byte("NAME=\"Debian GNU/Linux\"\nID=debian\n\nVERSION_ID=\"12\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := osRelease(file)
	if err != nil {
		t.Fatal(err)
	}
	if got["ID"] != "debian" || got["VERSION_ID"] != "12" {
		t.Errorf("osRelease = %v", got)
	}
}

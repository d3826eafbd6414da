package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
)

// A data directory is read while its etcd runs and writes, as often as not right in the
// middle of a commit, and after it has ended.
func TestReadDataDirOfARunningMember(t *testing.T) {
	cluster := etcdtest.Start(t, 3, etcdtest.Options{})
	want, err := cluster.Open(0).Members(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var writing errgroup.Group
	writing.Go(func() error {
		client := cluster.Open(cluster.Leader()).Raw()
		for i := 0; ctx.Err() == nil; i++ {
			_, _ = client.Put(ctx, fmt.Sprintf("/k/%d", i%100), string(make([]byte, 10000)))
		}
		return nil
	})
	var last int64
	for range 200 {
		data, err := ReadDataDir(t.Context(), cluster.Members[0].Dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(data.Members) != len(want) || data.Revision < last {
			t.Fatalf("read %d members, revision %d after %d", len(data.Members), data.Revision, last)
		}
		last = data.Revision
	}
	stop()
	_ = writing.Wait() // its writes were cut off
	status, err := cluster.Open(0).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range cluster.Members {
		m.Stop()
	}
	data, err := ReadDataDir(t.Context(), cluster.Members[0].Dir)
	if err != nil {
		t.Fatal(err)
	}
	byID := map[string]string{}
	for _, m := range want {
		byID[m.ID.String()] = m.Name + fmt.Sprint(m.PeerURLs, m.ClientURLs)
	}
	got := map[string]string{}
	for _, m := range data.Members {
		got[m.ID.String()] = m.Name + fmt.Sprint(m.PeerURLs, m.ClientURLs)
	}
	if diff := cmp.Diff(byID, got); diff != "" {
		t.Errorf("members (-as etcd lists them +read):\n%s", diff)
	}
	if data.Revision != status.Revision || data.Database != filepath.Join(cluster.Members[0].Dir, "member", "snap", "db") {
		t.Errorf("got %+v, want revision %d", data, status.Revision)
	}
}

func TestReadDataDirOfNothing(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadDataDir(t.Context(), dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("empty: %v", err)
	}
	path := filepath.Join(dir, "member", "snap", "db")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, make([]byte, 64<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadDataDir(t.Context(), dir); !errors.Is(err, ErrDamaged) {
		t.Errorf("zeros: %v", err)
	}
}

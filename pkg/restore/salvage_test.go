package restore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
)

// TestSalvage: of three members two are gone; the third one's database is older than its log.
// Everything that was acknowledged comes back, and any revision of the log on the way.
func TestSalvage(t *testing.T) {
	cluster := etcdtest.Start(t, 3, etcdtest.Options{})
	client := cluster.Clients()[0]
	survivor := cluster.Members[0]
	cluster.Fill(40, 100)
	time.Sleep(300 * time.Millisecond) // it commits its database every 100 ms
	dir := filepath.Join(t.TempDir(), "data")
	copyTree(t, filepath.Join(survivor.Dir, "member", "snap"), filepath.Join(dir, "member", "snap"))

	want := map[int64]etcd.Hash{}
	early, err := client.HashKV(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	lease, err := client.Raw().Grant(t.Context(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		switch i % 4 {
		case 0:
			_, err = client.Raw().Put(t.Context(), fmt.Sprintf("leased%d", i), "v", clientv3.WithLease(lease.ID))
		case 1:
			_, err = client.Raw().Delete(t.Context(), fmt.Sprintf("leased%d", i-1))
		case 2:
			_, err = client.Raw().Txn(t.Context()).Then(clientv3.OpPut("a", fmt.Sprint(i)), clientv3.OpPut("b", fmt.Sprint(i))).Commit()
		default:
			_, err = client.Raw().Put(t.Context(), "k", fmt.Sprint(i))
		}
		if err != nil {
			t.Fatal(err)
		}
		h, err := client.HashKV(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		want[h.Revision] = h
	}
	for _, m := range cluster.Members {
		m.Stop()
	}
	copyTree(t, filepath.Join(survivor.Dir, "member", "wal"), filepath.Join(dir, "member", "wal"))

	last := int64(0)
	for revision := range want {
		last = max(last, revision)
	}
	for _, revision := range []int64{0, last - 1, last - 20, last - 50, 10} {
		t.Run(fmt.Sprint(revision), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "salvaged.db")
			s, err := Salvage(t.Context(), dir, revision, path)
			if err != nil {
				t.Fatal(err)
			}
			if revision == 0 {
				revision = last
			}
			got, err := Open(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			if _, known := want[revision]; !known {
				want[revision] = early
			}
			if s.Revision != revision || got.Contents.Revision != revision || got.Contents.HashKV != want[revision].Hash {
				t.Errorf("%+v, with the hash %d at %d, want %d at %d", s, got.Contents.HashKV, got.Contents.Revision, want[revision].Hash, revision)
			}
			if revision == 10 { // the database is past it
				return
			}
			if s.Database >= revision || s.Entries == 0 || len(got.Members) != 3 {
				t.Errorf("%+v and %d members: the log was to go on from an older database of three", s, len(got.Members))
			}
		})
	}
}

func TestSalvageRefuses(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{})
	cluster.Fill(10, 10)
	member := cluster.Members[0]
	out := filepath.Join(t.TempDir(), "out.db")
	if _, err := Salvage(t.Context(), member.Dir, 0, out); !errors.Is(err, ErrRunning) {
		t.Errorf("of a running etcd: %v, want ErrRunning", err)
	}
	member.Stop()
	if _, err := Salvage(t.Context(), member.Dir, 9999, out); !errors.Is(err, ErrNotCaptured) {
		t.Errorf("beyond the log: %v, want ErrNotCaptured", err)
	}
	if _, err := Salvage(t.Context(), t.TempDir(), 0, out); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of nothing: %v", err)
	}
	if err := os.RemoveAll(filepath.Join(member.Dir, "member", "wal")); err != nil {
		t.Fatal(err)
	}
	if _, err := Salvage(t.Context(), member.Dir, 0, out); !errors.Is(err, ErrNoLog) {
		t.Errorf("without a log: %v, want ErrNoLog", err)
	}
	if _, err := os.Lstat(out); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file is left: %v", err)
	}
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

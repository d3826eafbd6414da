package restore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

func TestOpenAgreesWithServerAndEtcdutl(t *testing.T) {
	for _, tc := range []struct {
		name       string
		fill       func(t *testing.T, s *server)
		kubernetes bool // all of it, where the name does not say else
	}{
		{"fresh", func(*testing.T, *server) {}, false},
		{"never compacted", func(t *testing.T, s *server) { s.work(t, "a", 60) }, false},
		{"compacted in the middle", func(t *testing.T, s *server) {
			s.work(t, "a", 60)
			s.compact(t, s.revision(t))
			s.work(t, "a", 60)
		}, false},
		{"compacted at the head", func(t *testing.T, s *server) {
			s.work(t, "a", 60)
			s.put(t, "last", "1")
			s.compact(t, s.revision(t))
		}, false},
		{"compacted at a tombstone", func(t *testing.T, s *server) {
			s.work(t, "a", 60)
			s.put(t, "last", "1")
			s.delete(t, "last")
			s.compact(t, s.revision(t))
		}, false},
		{"compacted at a put and delete in one revision", func(t *testing.T, s *server) {
			s.work(t, "a", 20)
			s.put(t, "last", "1")
			s.nested(t, "last")
			s.compact(t, s.revision(t))
			s.put(t, "other", "1")
		}, false},
		{"everything deleted", func(t *testing.T, s *server) {
			s.work(t, "a", 20)
			s.delete(t, "\x00", clientv3.WithFromKey())
			s.compact(t, s.revision(t))
		}, false},
		{"kubernetes", func(t *testing.T, s *server) {
			s.put(t, "/registry/namespaces/default", "1")
			s.work(t, "/registry/pods/default/p", 30)
		}, true},
		{"kubernetes under another prefix", func(t *testing.T, s *server) {
			s.put(t, "compact_rev_key", "1")
			s.put(t, "/prod/namespaces/default", "1")
		}, true},
		{"partial: events", func(t *testing.T, s *server) {
			s.put(t, "compact_rev_key", "1")
			s.work(t, "/registry/events/default/e", 30)
		}, true},
		{"large values", func(t *testing.T, s *server) {
			for _, key := range []string{"a", "b", "c"} {
				s.put(t, key, string(make([]byte, 700_000)))
			}
		}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := startSource(t)
			tc.fill(t, s)
			path := s.save(t)

			got, err := Open(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			status, err := snapshot.NewV3(zap.NewNop()).Status(path)
			if err != nil {
				t.Fatal(err)
			}
			live, all := s.hashKV(t, 0), s.get(t, "\x00", clientv3.WithFromKey(), clientv3.WithCountOnly())
			want := etcd.Contents{
				Revision: live.HashRevision, CompactRevision: live.CompactRevision,
				Keys: all.Count, Records: got.Contents.Records,
				Hash: status.Hash, HashKV: live.Hash, StorageVersion: storageVersion, Kubernetes: tc.kubernetes, Partial: strings.HasPrefix(tc.name, "partial"),
			}
			if diff := cmp.Diff(want, got.Contents); diff != "" {
				t.Errorf("contents (-live +read):\n%s", diff)
			}
			if got.Contents.Keys != int64(status.TotalKey) {
				t.Errorf("keys: %d, etcdutl counts %d", got.Contents.Keys, status.TotalKey)
			}
			if len(got.Warnings) > 0 {
				t.Errorf("warnings: %q", got.Warnings)
			}
		})
	}
}

func TestHashKVAtEveryRevision(t *testing.T) {
	s := startSource(t)
	s.work(t, "a", 40)
	s.compact(t, s.revision(t)-25)
	s.work(t, "a", 30)
	file, err := os.Open(s.save(t))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	d, err := openDatabase(t.Context(), file, info.Size()-sealSize)
	if err != nil {
		t.Fatal(err)
	}
	head, compared := d.revision, 0
	for at := d.compact; at <= head; at++ {
		d.revision = at
		found, err := d.scan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got, err := d.hashKV(t.Context(), found.set, d.compact)
		if err != nil {
			t.Fatal(err)
		}
		want := s.hashKV(t, at)
		if want.CompactRevision != d.compact { // the cached answer, by the compaction before
			continue
		}
		if compared++; got != want.Hash {
			t.Errorf("HashKV at %d is %d, the server's %d", at, got, want.Hash)
		}
	}
	if compared < 20 {
		t.Errorf("only %d revisions were compared", compared)
	}
}

func TestOpenReadsMembersAndAlarms(t *testing.T) {
	s := startSource(t)
	s.put(t, "a", "1")
	id := uint64(s.etcd.Server.MemberID())
	_, err := pb.NewMaintenanceClient(s.ActiveConnection()).Alarm(t.Context(), &pb.AlarmRequest{
		Action: pb.AlarmRequest_ACTIVATE, MemberID: id, Alarm: pb.AlarmType_NOSPACE,
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := Open(t.Context(), s.save(t))
	if err != nil {
		t.Fatal(err)
	}
	wantMembers := []etcd.Member{{
		ID: etcd.ID(id), Name: "default",
		PeerURLs: []string{"http://127.0.0.1:2380"}, ClientURLs: []string{"http://127.0.0.1:2379"},
	}}
	if diff := cmp.Diff(wantMembers, got.Members); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]etcd.Alarm{{MemberID: etcd.ID(id), Type: "NOSPACE"}}, got.Alarms); diff != "" {
		t.Errorf("alarms (-want +got):\n%s", diff)
	}
	if got.Version != "3.7.0" {
		t.Errorf("cluster version %q", got.Version)
	}
}

// A restored cluster's snapshot has etcdutl's empty record, and a hole before it.
func TestOpenAcceptsBumpedData(t *testing.T) {
	s := startSource(t)
	s.work(t, "a", 20)
	report, servers := restored(t, s.save(t), Options{OutDir: t.TempDir(), Bump: 1000})
	servers[0].put(t, "after", "1")
	got, err := Open(t.Context(), servers[0].save(t))
	if err != nil {
		t.Fatal(err)
	}
	live := servers[0].hashKV(t, 0)
	if got.Contents.Revision != report.Plan.NewRevision+1 || got.Contents.CompactRevision != report.Plan.NewRevision {
		t.Errorf("revision %d, compacted %d after a bump to %d", got.Contents.Revision, got.Contents.CompactRevision, report.Plan.NewRevision)
	}
	if got.Contents.HashKV != live.Hash || len(got.Warnings) > 0 {
		t.Errorf("HashKV %d, the server's %d; warnings %q", got.Contents.HashKV, live.Hash, got.Warnings)
	}
	if want := s.get(t, "\x00", clientv3.WithFromKey(), clientv3.WithCountOnly()).Count + 1; got.Contents.Keys != want {
		t.Errorf("%d keys, want %d", got.Contents.Keys, want)
	}
}

// A hole in the chain of revisions is told, and does not keep the rest from being restored.
func TestOpenWarnsOfMissingRevisions(t *testing.T) {
	s := startSource(t)
	for range 9 {
		s.put(t, "a", "1")
	}
	path := s.save(t)
	rewrite(t, path, func(b bucketWriter) error { return b.Delete(revisionBytes(5)) })
	got, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Warnings) != 1 || got.Contents.Records != 8 {
		t.Errorf("%d records, warnings %q", got.Contents.Records, got.Warnings)
	}
}

func TestOpenWritesNothing(t *testing.T) {
	s := startSource(t)
	s.put(t, "a", "1")
	path := s.save(t)
	dir := filepath.Dir(path)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{path: 0o400, dir: 0o500} {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Error(err)
		}
	})
	if _, err := Open(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	now, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if string(before) != string(after) || !now.ModTime().Equal(info.ModTime()) || len(entries) != 1 {
		t.Errorf("the file or its directory was written to: %v", entries)
	}
}

func TestOpenEndsWithContext(t *testing.T) {
	s := startSource(t)
	s.put(t, "a", "1")
	if _, err := Open(canceled(), s.save(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

func TestInspect(t *testing.T) {
	s := startSource(t)
	s.work(t, "a", 60)
	path := s.save(t)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := crc32.Checksum(content, castagnoli)
	got, err := Inspect(t.Context(), path, sum)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if whole := sha256.Sum256(content); opened.SHA256 != hex.EncodeToString(whole[:]) {
		t.Errorf("sha256 of the file %x, reported %s", whole, opened.SHA256)
	}
	if diff := cmp.Diff(opened.Contents, got); diff != "" {
		t.Errorf("Inspect differs from Open:\n%s", diff)
	}
	if _, err := Inspect(t.Context(), path, sum+1); !errors.Is(err, ErrDamaged) {
		t.Errorf("Inspect with another sum = %v", err)
	}
}

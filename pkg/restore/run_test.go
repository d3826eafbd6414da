package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func TestRestoreOneMember(t *testing.T) {
	source := startSource(t)
	source.work(t, "a", 60)
	source.compact(t, source.revision(t)-40)
	path := source.save(t)
	dir := filepath.Join(t.TempDir(), "etcd")

	report, servers := restored(t, path, Options{DataDir: dir, Members: []Target{{Name: "m0", PeerURLs: []string{freeURL(t)}}}})
	s, head := servers[0], report.Plan.Snapshot.Contents
	for at := head.CompactRevision + 1; at <= head.Revision; at += 7 {
		if want, got := source.hashKV(t, at), s.hashKV(t, at); got.Hash != want.Hash || got.CompactRevision != want.CompactRevision {
			t.Errorf("HashKV at %d is %d, the source's %d", at, got.Hash, want.Hash)
		}
	}
	if got, want := s.hashKV(t, 0), source.hashKV(t, 0); got.Hash != want.Hash || report.HashKV != want.Hash {
		t.Errorf("HashKV is %d, reported %d, the source's %d", got.Hash, report.HashKV, want.Hash)
	}
	sameKeys(t, source, s)
	sameLeases(t, source, s)
	if members := s.etcd.Server.Cluster().Members(); len(members) != 1 || members[0].Name != "m0" {
		t.Errorf("members: %v", members)
	}
}

func TestRestoreThreeMembers(t *testing.T) {
	source := startSource(t)
	source.work(t, "a", 60)
	path := source.save(t)
	var members []Target
	for i := range 3 {
		members = append(members, Target{Name: fmt.Sprintf("m%d", i), PeerURLs: []string{freeURL(t)}})
	}

	report, servers := restored(t, path, Options{OutDir: filepath.Join(t.TempDir(), "new", "out"), Members: members})
	want := source.hashKV(t, 0)
	for i, s := range servers {
		if got := s.hashKV(t, want.HashRevision); got.Hash != want.Hash {
			t.Errorf("member %d: HashKV is %d, the source's %d", i, got.Hash, want.Hash)
		}
		if got := len(s.etcd.Server.Cluster().Members()); got != 3 {
			t.Errorf("member %d knows %d members", i, got)
		}
		for _, arg := range []string{"--initial-cluster-token=" + report.Plan.Token, "--name=" + members[i].Name} {
			if !strings.Contains(strings.Join(report.Built[i].Command, " "), arg) {
				t.Errorf("member %d: %s is not in %q", i, arg, report.Built[i].Command)
			}
		}
	}
	servers[1].put(t, "after", "1") // a quorum works together
	if got := servers[2].get(t, "after"); len(got.Kvs) != 1 {
		t.Error("a write through one member is not on another")
	}
}

func TestRestoreBumped(t *testing.T) {
	source := startSource(t)
	source.work(t, "/registry/a", 60)
	source.compact(t, source.revision(t)-20)
	path := source.save(t)
	old := source.revision(t)

	report, servers := restored(t, path, Options{OutDir: t.TempDir(), Bump: -1, HighestKnown: old + 5000})
	s := servers[0]
	if want := old + 5000 + DefaultBump; report.Plan.NewRevision != want || s.revision(t) != want {
		t.Errorf("revision is %d, planned %d, want %d", s.revision(t), report.Plan.NewRevision, want)
	}
	sameKeys(t, source, s)
	for _, at := range []int64{old, old + 1, old + 100000} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // a watch that waits is a fault too
		if got := <-s.Watch(ctx, "/registry/", clientv3.WithPrefix(), clientv3.WithRev(at)); !errors.Is(got.Err(), rpctypes.ErrCompacted) {
			t.Errorf("a watch from %d got %v and %d events", at, got.Err(), len(got.Events))
		}
		cancel()
	}
	if _, err := s.Get(t.Context(), "x", clientv3.WithRev(old)); !errors.Is(err, rpctypes.ErrCompacted) {
		t.Errorf("a read at the old revision: %v", err)
	}
	s.put(t, "/registry/new", "1")
	if got := s.get(t, "/registry/new").Kvs[0]; got.ModRevision != report.Plan.NewRevision+1 {
		t.Errorf("the first write has revision %d", got.ModRevision)
	}
}

func sameKeys(t *testing.T, source, s *server) {
	t.Helper()
	all := func(s *server) (lines []string) {
		for _, kv := range s.get(t, "\x00", clientv3.WithFromKey()).Kvs {
			lines = append(lines, fmt.Sprintf("%s=%x create %d mod %d version %d lease %x", kv.Key, kv.Value, kv.CreateRevision, kv.ModRevision, kv.Version, kv.Lease))
		}
		return lines
	}
	if diff := cmp.Diff(all(source), all(s)); diff != "" {
		t.Errorf("keys (-source +restored):\n%s", diff)
	}
}

func sameLeases(t *testing.T, source, s *server) {
	t.Helper()
	all := func(s *server) map[clientv3.LeaseID]int64 {
		leases, err := s.Leases(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		granted := map[clientv3.LeaseID]int64{}
		for _, lease := range leases.Leases {
			ttl, err := s.TimeToLive(t.Context(), lease.ID)
			if err != nil {
				t.Fatal(err)
			}
			granted[lease.ID] = ttl.GrantedTTL
		}
		return granted
	}
	if diff := cmp.Diff(all(source), all(s)); diff != "" || len(all(s)) == 0 {
		t.Errorf("leases (-source +restored):\n%s", diff)
	}
}

func TestRestoreClearsAlarms(t *testing.T) {
	source := startSource(t)
	source.put(t, "a", "1")
	_, err := pb.NewMaintenanceClient(source.ActiveConnection()).Alarm(t.Context(), &pb.AlarmRequest{
		Action: pb.AlarmRequest_ACTIVATE, MemberID: uint64(source.etcd.Server.MemberID()), Alarm: pb.AlarmType_NOSPACE,
	})
	if err != nil {
		t.Fatal(err)
	}
	path := source.save(t)
	for clear, want := range map[bool]error{true: nil, false: rpctypes.ErrNoSpace} {
		_, servers := restored(t, path, Options{OutDir: t.TempDir(), ClearAlarms: clear})
		if _, err := servers[0].Put(t.Context(), "b", "1"); !errors.Is(err, want) {
			t.Errorf("clear %v: a write gives %v, want %v", clear, err, want)
		}
		servers[0].stop()
	}
}

func TestRestoreSetsVersions(t *testing.T) {
	source := startSource(t)
	source.put(t, "a", "1")
	path := source.save(t)
	for target, want := range map[string][2]string{
		"":    {"3.7.0", "3.7.0"},
		"3.7": {"3.7.0", "3.7.0"},
		"3.6": {"3.6.0", ""},
		"3.5": {"", ""},
		"3.4": {"", ""},
	} {
		report := run(t, path, Options{OutDir: t.TempDir(), TargetVersion: target})
		db, err := bolt.Open(filepath.Join(report.Built[0].Dir, "member", "snap", "db"), 0o600, &bolt.Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		err = db.View(func(tx *bolt.Tx) error {
			got := [2]string{
				string(tx.Bucket([]byte(metaBucket)).Get([]byte(storageVersionKey))),
				string(tx.Bucket([]byte(clusterBucket)).Get([]byte(clusterVersionKey))),
			}
			if got != want {
				t.Errorf("target %q: storage and cluster version %q, want %q", target, got, want)
			}
			return nil
		})
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRestoreIsPrivateAndLeavesNothingElse(t *testing.T) {
	source := startSource(t)
	source.work(t, "a", 20)
	path := source.save(t)
	root := t.TempDir()
	present := filepath.Join(root, "present") // an empty directory, as a mount point is
	scratch := filepath.Join(root, "scratch")
	for _, dir := range []string{present, scratch} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	members := []Target{
		{Name: "a", PeerURLs: []string{"http://127.0.0.1:1"}, Dir: present},
		{Name: "b", PeerURLs: []string{"http://127.0.0.1:2"}, Dir: filepath.Join(root, "absent")},
	}
	for _, member := range run(t, path, Options{Members: members, ScratchDir: scratch}).Built {
		err := filepath.WalkDir(filepath.Join(member.Dir, "member"), func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := entry.Info()
			if err == nil && info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s has mode %v", path, info.Mode())
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		if got := tree(t, filepath.Join(member.Dir, "member")); len(got) != 5 {
			t.Errorf("%s holds %q", member.Name, got)
		}
	}
	if got := strings.Join(list(t, root), " ") + " " + strings.Join(list(t, present), " ") + strings.Join(list(t, scratch), " "); got != "absent present scratch member" {
		t.Errorf("left: %s", got)
	}
}

// Wherever a run is stopped, it leaves what it found.
func TestRestoreStoppedLeavesNothing(t *testing.T) {
	source := startSource(t)
	source.work(t, "a", 20)
	path := source.save(t)
	members := []Target{{Name: "a", PeerURLs: []string{"http://127.0.0.1:1"}}, {Name: "b", PeerURLs: []string{"http://127.0.0.1:2"}}}
	steps := 1
	for at := 0; at < steps; at++ {
		root := t.TempDir()
		present := filepath.Join(root, "present")
		if err := os.Mkdir(present, 0o700); err != nil {
			t.Fatal(err)
		}
		p := plan(t, path, Options{Members: []Target{{Name: "0", PeerURLs: []string{"http://127.0.0.1:3"}, Dir: present}, members[0], members[1]}, OutDir: filepath.Join(root, "x", "y")})
		ctx, cancel := context.WithCancel(t.Context())
		seen := 0
		_, err := Run(ctx, p, func(string) {
			if seen++; seen == at+1 {
				cancel()
			}
		})
		cancel()
		steps = max(steps, seen+1)
		if at == steps-1 { // it ran to its end before
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("stopped at step %d: %v", at, err)
		}
		if got := tree(t, root); len(got) != 1 {
			t.Errorf("stopped at step %d: left %q", at, got)
		}
	}
	if steps < 6 {
		t.Errorf("only %d steps were seen", steps)
	}
}

// The second member can't be put in place: the first is taken back.
func TestRestoreIsAllOrNothing(t *testing.T) {
	source := startSource(t)
	source.put(t, "a", "1")
	root := t.TempDir()
	p := plan(t, source.save(t), Options{OutDir: root, Members: []Target{
		{Name: "a", PeerURLs: []string{"http://127.0.0.1:1"}}, {Name: "b", PeerURLs: []string{"http://127.0.0.1:2"}},
	}})
	_, err := Run(t.Context(), p, func(step string) {
		if strings.HasPrefix(step, "put ") {
			if err := os.Mkdir(filepath.Join(root, "b"), 0o700); err != nil {
				t.Error(err)
			}
		}
	})
	if !errors.Is(err, ErrExists) {
		t.Errorf("error is %v", err)
	}
	if got := list(t, root); len(got) != 1 || got[0] != "b" {
		t.Errorf("left: %q", got)
	}
	if _, err := Run(t.Context(), p, nil); err != nil { // b is empty, so that there is nothing in the way
		t.Errorf("again: %v", err)
	}
	if _, err := Run(t.Context(), p, nil); !errors.Is(err, ErrExists) {
		t.Errorf("once more: %v", err)
	}
}

func TestRestoreRefusesAChangedFile(t *testing.T) {
	source := startSource(t)
	source.put(t, "a", "1")
	path, root := source.save(t), t.TempDir()
	p := plan(t, path, Options{OutDir: root})
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	write(t, path, data)
	if _, err := Run(t.Context(), p, nil); !errors.Is(err, ErrDamaged) {
		t.Errorf("error is %v", err)
	}
	if got := list(t, root); len(got) != 0 {
		t.Errorf("left: %q", got)
	}
}

// What was built is compared with the snapshot, not just believed.
func TestProofFindsALostRecord(t *testing.T) {
	source := startSource(t)
	source.work(t, "a", 20)
	p := plan(t, source.save(t), Options{OutDir: t.TempDir(), Bump: 100})
	report, err := Run(t.Context(), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(report.Built[0].Dir, "member", "snap", "db")
	if err := proveDatabase(t.Context(), path, p); err != nil {
		t.Fatal(err)
	}
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error { return tx.Bucket([]byte(keyBucket)).Delete(revisionBytes(5)) })
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if err := proveDatabase(t.Context(), path, p); err == nil {
		t.Error("a lost record was not found")
	}
}

func TestRestoreWantsSpace(t *testing.T) {
	source := startSource(t)
	source.put(t, "a", "1")
	root := t.TempDir()
	p := plan(t, source.save(t), Options{OutDir: root})
	p.Snapshot.Size = 1 << 60
	if _, err := Run(t.Context(), p, nil); !errors.Is(err, ErrNoSpace) {
		t.Errorf("error is %v", err)
	}
	if got := list(t, root); len(got) != 0 {
		t.Errorf("left: %q", got)
	}
}

func list(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// tree lists all below dir.
func tree(t *testing.T, dir string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if path != dir {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

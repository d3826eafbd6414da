package backup_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
)

// testTimeout is long: a test that needs it has failed.
const testTimeout = 2 * time.Minute

func timeout(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}

func sourcesOf(cluster *etcdtest.Cluster) []backup.Source {
	var sources []backup.Source
	for i, client := range cluster.Clients() {
		sources = append(sources, backup.Source{Name: "etcd-" + cluster.Members[i].Name, Client: client})
	}
	return sources
}

// overLines are the members, each over a line that can be made to fail.
func overLines(t *testing.T, cluster *etcdtest.Cluster) ([]backup.Source, []*etcdtest.Line) {
	t.Helper()
	var sources []backup.Source
	var lines []*etcdtest.Line
	for _, member := range cluster.Members {
		line := etcdtest.NewLine(member.Addr())
		endpoint := member.Endpoint()
		endpoint.Dial = line.Dial
		client := cluster.OpenWith(endpoint, cluster.ClientOptions())
		sources = append(sources, backup.Source{Name: endpoint.Name, Client: client})
		lines = append(lines, line)
	}
	return sources, lines
}

// onlyFile fails the test unless dir holds exactly these names.
func onlyFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{}
	for _, entry := range entries {
		got = append(got, entry.Name())
	}
	if diff := cmp.Diff(append([]string{}, want...), got); diff != "" {
		t.Errorf("files in the folder (-want +got):\n%s", diff)
	}
}

func checkFile(t *testing.T, report *backup.Report) {
	t.Helper()
	content, err := os.ReadFile(report.Path)
	if err != nil {
		t.Fatal(err)
	}
	database, tail := content[:len(content)-sha256.Size], content[len(content)-sha256.Size:]
	if sum := sha256.Sum256(database); !bytes.Equal(sum[:], tail) {
		t.Errorf("sha256 %x, at the end %x", sum, tail)
	}
	if sum := sha256.Sum256(content); report.SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("sha256 of the file %x, reported %s", sum, report.SHA256)
	}
	if report.Size != int64(len(content)) {
		t.Errorf("size %d, reported %d", len(content), report.Size)
	}
}

func TestSaveFile(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{})
	cluster.Fill(100, 10<<10)
	dir := t.TempDir()
	path := filepath.Join(dir, "snapshot.db")
	var inspected string
	var events []backup.Event
	report, err := backup.SaveFile(timeout(t), sourcesOf(cluster), backup.Options{
		Path: path,
		Inspect: func(_ context.Context, path string, sum uint32) (etcd.Contents, error) {
			inspected = path
			checkCRC(t, path, sum)
			return etcd.Contents{Revision: 101}, nil
		},
		OnEvent: func(e backup.Event) { events = append(events, e) },
	})
	if err != nil {
		t.Fatal(err)
	}
	onlyFiles(t, dir, "snapshot.db")
	checkFile(t, report)
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
	if name := filepath.Base(inspected); filepath.Dir(inspected) != dir || !strings.HasPrefix(name, ".snapshot.db.") {
		t.Errorf("inspected %s, want a hidden file beside the target", inspected)
	}
	status, err := snapshot.NewV3(zap.NewNop()).Status(path)
	if err != nil || status.Revision != 101 {
		t.Errorf("etcdutl calls it %+v, %v", status, err)
	}
	member := cluster.Members[0]
	want := &backup.Report{
		Path: path, Member: "etcd-a", MemberID: member.ID(), ClusterID: etcd.ID(member.Server.Server.Cluster().ID()),
		ServerVersion: "3.7.3", Contents: &etcd.Contents{Revision: 101}, Tries: 1,
		Size: report.Size, SHA256: report.SHA256, Started: report.Started, Duration: report.Duration,
	}
	if diff := cmp.Diff(want, report); diff != "" || report.Duration <= 0 || report.Started.IsZero() {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	if first, last := events[0], events[len(events)-1]; first.Bytes != 0 || last.Bytes != report.Size || last.Total != report.Size {
		t.Errorf("first event %+v, last %+v", first, last)
	}
}

func TestFollowerFirstLearnerNever(t *testing.T) {
	cluster := etcdtest.Start(t, 3, etcdtest.Options{Plain: true})
	leader := cluster.Leader()
	sources := sourcesOf(cluster)
	report, err := backup.SaveFile(timeout(t), sources, backup.Options{Path: filepath.Join(t.TempDir(), "a.db")})
	if err != nil || report.Member == sources[leader].Name {
		t.Errorf("report %+v, %v, want a follower's", report, err)
	}
	report, err = backup.SaveFile(timeout(t), sources, backup.Options{Path: filepath.Join(t.TempDir(), "b.db"), From: sources[leader].Name})
	if err != nil || report.Member != sources[leader].Name {
		t.Errorf("report %+v, %v, want the leader's", report, err)
	}
	cluster.AddLearner()
	sources = sourcesOf(cluster)
	for from, want := range map[string]string{"etcd-d": "it is a learner", "etcd-x": "there are etcd-a, etcd-b, etcd-c, etcd-d"} {
		dir := t.TempDir()
		_, err = backup.SaveFile(timeout(t), sources, backup.Options{Path: filepath.Join(dir, "c.db"), From: from})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("from %s: %v, want %q", from, err, want)
		}
		onlyFiles(t, dir)
	}
}

func TestRetryOnAnotherMember(t *testing.T) {
	cluster := etcdtest.Start(t, 3, etcdtest.Options{})
	cluster.Fill(200, 10<<10)
	sources, lines := overLines(t, cluster)
	leader := cluster.Leader()
	dropped := errors.New("tunnel dropped")
	for i, line := range lines {
		if i != leader {
			line.CutAfter(1<<20, dropped)
		}
	}
	dir := t.TempDir()
	var retries []backup.Event
	report, err := backup.SaveFile(timeout(t), sources, backup.Options{
		Path: filepath.Join(dir, "s.db"),
		OnEvent: func(e backup.Event) {
			if e.Retry != nil {
				retries = append(retries, e)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if report.Member != sources[leader].Name || report.Tries != 3 || len(retries) != 2 {
		t.Errorf("report %+v after %d retries, want the leader's at the third try", report, len(retries))
	}
	for _, retry := range retries {
		if !errors.Is(retry.Retry, dropped) || !errors.Is(retry.Retry, etcd.ErrIncomplete) || retry.Source == report.Member {
			t.Errorf("retry %+v", retry)
		}
	}
	onlyFiles(t, dir, "s.db")
	checkFile(t, report)
}

func TestAllMembersFail(t *testing.T) {
	cluster := etcdtest.Start(t, 3, etcdtest.Options{})
	cluster.Fill(200, 10<<10)
	stopped := cluster.Follower()
	cluster.Members[stopped].Stop()
	sources, lines := overLines(t, cluster)
	dropped := errors.New("tunnel dropped")
	for _, line := range lines {
		line.CutAfter(1<<20, dropped)
	}
	dir := t.TempDir()
	_, err := backup.SaveFile(timeout(t), sources, backup.Options{Path: filepath.Join(dir, "s.db")})
	if !errors.Is(err, backup.ErrNoMember) || !errors.Is(err, dropped) {
		t.Fatalf("SaveFile = %v", err)
	}
	for _, source := range sources {
		if !strings.Contains(err.Error(), source.Name+": ") {
			t.Errorf("the error does not name %s:\n%v", source.Name, err)
		}
	}
	onlyFiles(t, dir)
}

func TestCancelLeavesNothing(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{})
	cluster.Fill(200, 10<<10)
	sources, lines := overLines(t, cluster)
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(timeout(t))
	defer cancel()
	_, err := backup.SaveFile(ctx, sources, backup.Options{
		Path: filepath.Join(dir, "s.db"),
		OnEvent: func(e backup.Event) {
			lines[0].Pace(1 << 20)
			if e.Bytes > 0 {
				cancel()
			}
		},
	})
	if !errors.Is(err, context.Canceled) || errors.Is(err, backup.ErrNoMember) {
		t.Errorf("SaveFile = %v, want Canceled", err)
	}
	onlyFiles(t, dir)
}

// stub is a member that answers Status like the others of its cluster, and streams messages.
func stub(t *testing.T, name string, id uint64, messages []*pb.SnapshotResponse) backup.Source {
	t.Helper()
	server := &etcdtest.Stub{Messages: messages, OnStatus: func() (*pb.StatusResponse, error) {
		return &pb.StatusResponse{
			Header: &pb.ResponseHeader{ClusterId: 7, MemberId: id, Revision: 5}, Version: "3.7.3",
			Leader: 99, RaftTerm: 2, RaftIndex: 50, RaftAppliedIndex: 50, DbSize: 1 << 20,
		}, nil
	}}
	return backup.Source{Name: name, Client: server.Open(t, name)}
}

func TestDamagedStreamIsNotKept(t *testing.T) {
	database := make([]byte, 256<<10)
	_, _ = rand.NewChaCha8([32]byte{}).Read(database)
	sum := sha256.Sum256(database)
	good := etcdtest.SnapshotMessages(database, sum[:])
	flipped := bytes.Clone(database)
	flipped[len(flipped)/2] ^= 1
	for name, test := range map[string]struct {
		bad  []*pb.SnapshotResponse
		want error
	}{
		"a byte flipped": {etcdtest.SnapshotMessages(flipped, sum[:]), etcd.ErrHashMismatch},
		"cut short":      {good[:4], etcd.ErrIncomplete},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			sources := []backup.Source{stub(t, "a", 1, test.bad)}
			path := filepath.Join(dir, "s.db")
			if _, err := backup.SaveFile(timeout(t), sources, backup.Options{Path: path}); !errors.Is(err, test.want) {
				t.Errorf("alone: %v, want %v", err, test.want)
			}
			onlyFiles(t, dir)
			sources = append(sources, stub(t, "b", 2, good))
			report, err := backup.SaveFile(timeout(t), sources, backup.Options{Path: path})
			if err != nil || report.Member != "b" || report.Tries != 2 {
				t.Fatalf("with another: %+v, %v", report, err)
			}
			checkFile(t, report)

			var out bytes.Buffer
			if _, err := backup.WriteTo(timeout(t), sources, &out, backup.Options{}); !errors.Is(err, test.want) {
				t.Errorf("to a stream: %v, want %v and no other try", err, test.want)
			}
		})
	}
}

// checkCRC says that sum is the CRC-32C of the file at path.
func checkCRC(t *testing.T, path string, sum uint32) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := crc32.Checksum(content, crc32.MakeTable(crc32.Castagnoli)); sum != want {
		t.Errorf("sum of %d bytes = %08x, want %08x", len(content), sum, want)
	}
}

func TestInspectDecides(t *testing.T) {
	database := make([]byte, 64<<10)
	sum := sha256.Sum256(database)
	good := etcdtest.SnapshotMessages(database, sum[:])
	sources := []backup.Source{stub(t, "a", 1, good), stub(t, "b", 2, good)}
	dir, calls := t.TempDir(), 0
	report, err := backup.SaveFile(timeout(t), sources, backup.Options{
		Path: filepath.Join(dir, "s.db"),
		Inspect: func(_ context.Context, path string, sum uint32) (etcd.Contents, error) {
			checkCRC(t, path, sum)
			if calls++; calls == 1 {
				return etcd.Contents{}, errors.New("page 7 is damaged")
			}
			return etcd.Contents{Keys: 3}, nil
		},
	})
	if err != nil || report.Member != "b" || report.Contents.Keys != 3 {
		t.Errorf("report %+v, %v, want b's", report, err)
	}
	onlyFiles(t, dir, "s.db")
}

func TestDifferentClusters(t *testing.T) {
	one, two := etcdtest.Start(t, 1, etcdtest.Options{Plain: true}), etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
	sources := append(sourcesOf(one), sourcesOf(two)...)
	sources[1].Name = "etcd-b"
	_, err := backup.SaveFile(timeout(t), sources, backup.Options{Path: filepath.Join(t.TempDir(), "s.db")})
	if err == nil || !strings.Contains(err.Error(), "different clusters") {
		t.Errorf("SaveFile = %v", err)
	}
	report, err := backup.SaveFile(timeout(t), sources, backup.Options{Path: filepath.Join(t.TempDir(), "s.db"), From: "etcd-b"})
	if err != nil || report.Member != "etcd-b" {
		t.Errorf("the named one: %+v, %v", report, err)
	}
}

func TestWriteTo(t *testing.T) {
	cluster := etcdtest.Start(t, 3, etcdtest.Options{})
	cluster.Fill(200, 10<<10)
	sources, lines := overLines(t, cluster)
	leader := cluster.Leader()
	dropped := errors.New("tunnel dropped")
	cut := func(after int64) {
		for i, line := range lines {
			if i != leader {
				line.CutAfter(after, dropped)
			}
		}
	}
	var out bytes.Buffer
	report, err := backup.WriteTo(timeout(t), sources, &out, backup.Options{})
	if err != nil || report.Contents != nil || report.Path != "" || report.Size != int64(out.Len()) || report.Tries != 1 {
		t.Fatalf("report %+v, %v, for %d bytes", report, err, out.Len())
	}
	cut(1 << 20)
	out.Reset()
	if _, err := backup.WriteTo(timeout(t), sources, &out, backup.Options{}); !errors.Is(err, dropped) || errors.Is(err, backup.ErrNoMember) {
		t.Errorf("after the first byte: %v, want no other try", err)
	}
	if out.Len() == 0 {
		t.Error("it was cut before the first byte: this test shows nothing")
	}
}

func TestTargetIsCheckedFirst(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "there.db")
	if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, filepath.Join(dir, "link.db")); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, path string
		overwrite  bool
		want       error
	}{
		{"it exists", file, false, fs.ErrExist},
		{"a directory", dir, false, nil},
		{"a directory, overwrite", dir, true, nil},
		{"a link, overwrite", filepath.Join(dir, "link.db"), true, nil},
		{"no such folder", filepath.Join(dir, "no", "s.db"), false, fs.ErrNotExist},
		{"a file as folder", filepath.Join(file, "s.db"), true, nil},
		{"no name", "", false, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := backup.SaveFile(timeout(t), nil, backup.Options{Path: test.path, Overwrite: test.overwrite})
			if !errors.Is(err, backup.ErrWrite) || (test.want != nil && !errors.Is(err, test.want)) || !strings.Contains(err.Error(), test.path) {
				t.Errorf("SaveFile = %v, want ErrWrite and %v", err, test.want)
			}
		})
	}
	onlyFiles(t, dir, "link.db", "there.db")
}

func TestOverwrite(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
	dir := t.TempDir()
	path := filepath.Join(dir, "s.db")
	late := func(context.Context, string, uint32) (etcd.Contents, error) { // somebody makes the file meanwhile
		return etcd.Contents{}, os.WriteFile(path, []byte("theirs"), 0o600)
	}
	_, err := backup.SaveFile(timeout(t), sourcesOf(cluster), backup.Options{Path: path, Inspect: late})
	if !errors.Is(err, fs.ErrExist) {
		t.Errorf("SaveFile over a file that came late = %v", err)
	}
	if content, _ := os.ReadFile(path); string(content) != "theirs" {
		t.Errorf("it was written over: %.20q", content)
	}
	onlyFiles(t, dir, "s.db")
	report, err := backup.SaveFile(timeout(t), sourcesOf(cluster), backup.Options{Path: path, Overwrite: true, Inspect: late})
	if err != nil {
		t.Fatal(err)
	}
	checkFile(t, report)
	onlyFiles(t, dir, "s.db")
}

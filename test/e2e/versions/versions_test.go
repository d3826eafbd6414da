//go:build e2e

// Package versions restores snapshots of every etcd minor for every other, with the
// real binaries. It needs no cluster.
package versions

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/test/cluster/binaries"
)

// releases are the newest of each minor. 3.4 is Debian's, without etcdutl: it is only captured.
var releases = []string{"3.5.35", "3.6.16", binaries.EtcdVersion}

func TestEveryVersionRestoresForEvery(t *testing.T) {
	bins := map[string]string{}
	for _, version := range releases {
		dir, err := binaries.Etcd(t.Context(), os.Stderr, version)
		if err != nil {
			t.Fatal(err)
		}
		bins[version] = dir
	}
	for _, source := range releases {
		t.Run("from "+source, func(t *testing.T) {
			path, live := takeSnapshot(t, filepath.Join(bins[source], "etcd"))
			snapshot, err := restore.Open(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			if got := snapshot.Contents; got.HashKV != live.Hash || got.Revision != live.Header.Revision || got.CompactRevision != live.CompactRevision {
				t.Errorf("read HashKV %d at %d compacted %d, the server has %+v", got.HashKV, got.Revision, got.CompactRevision, live)
			}
			for _, target := range releases {
				t.Run("etcdutl "+target, func(t *testing.T) { acceptedBy(t, filepath.Join(bins[target], "etcdutl"), snapshot) })
				for _, bump := range []int64{0, 1000} {
					t.Run(fmt.Sprintf("to %s bumped by %d", target, bump), func(t *testing.T) {
						startRestored(t, filepath.Join(bins[target], "etcd"), snapshot, target, bump)
					})
				}
			}
		})
	}
}

// takeSnapshot runs an etcd, writes, compacts, writes again, and streams the snapshot.
func takeSnapshot(t *testing.T, binary string) (string, *clientv3.HashKVResponse) {
	t.Helper()
	client, peer := freeURL(t), freeURL(t)
	stop := startEtcd(t, []string{
		binary, "--name=m0", "--data-dir=" + t.TempDir(), "--initial-cluster=m0=" + peer,
		"--initial-advertise-peer-urls=" + peer, "--listen-peer-urls=" + peer,
		"--advertise-client-urls=" + client, "--listen-client-urls=" + client,
	})
	defer stop()
	c := connect(t, client)
	write(t, c, 0)
	head, err := c.Get(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Compact(t.Context(), head.Header.Revision-20, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	write(t, c, 50)
	live, err := c.HashKV(t.Context(), client, 0)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := c.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	data, err := io.ReadAll(stream)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "snapshot.db")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, live
}

func write(t *testing.T, c *clientv3.Client, from int) {
	t.Helper()
	lease, err := c.Grant(t.Context(), 3600)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		key := fmt.Sprintf("k%03d", from+i)
		if _, err := c.Put(t.Context(), key, strings.Repeat("v", 10*i), clientv3.WithLease(lease.ID)); err != nil {
			t.Fatal(err)
		}
		if i%7 == 3 {
			if _, err := c.Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// acceptedBy lets an etcdutl read and restore the snapshot.
func acceptedBy(t *testing.T, etcdutl string, snapshot *restore.Snapshot) {
	t.Helper()
	var status struct {
		Hash     uint32
		Revision int64
	}
	out := output(t, etcdutl, "snapshot", "status", snapshot.Path, "-w", "json")
	if err := json.Unmarshal(out, &status); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if status.Hash != snapshot.Contents.Hash || status.Revision != snapshot.Contents.Revision {
		t.Errorf("etcdutl says %+v, read were %+v", status, snapshot.Contents)
	}
	dir := filepath.Join(t.TempDir(), "data")
	output(t, etcdutl, "snapshot", "restore", snapshot.Path, "--data-dir", dir)
	if _, err := os.Stat(filepath.Join(dir, "member", "snap", "db")); err != nil {
		t.Error(err)
	}
}

// startRestored restores for a version and starts that version, by the printed line.
func startRestored(t *testing.T, binary string, snapshot *restore.Snapshot, version string, bump int64) {
	t.Helper()
	plan, err := restore.NewPlan(snapshot, restore.Options{
		OutDir: t.TempDir(), Bump: bump, TargetVersion: version[:strings.LastIndex(version, ".")],
	})
	if err != nil {
		t.Fatal(err)
	}
	report, err := restore.Run(t.Context(), plan, nil)
	if err != nil {
		t.Fatal(err)
	}
	stop := startEtcd(t, append([]string{binary}, report.Built[0].Command[1:]...))
	defer stop()
	url := snapshot.Members[0].ClientURLs[0]
	c := connect(t, url)
	all, err := c.Get(t.Context(), "\x00", clientv3.WithFromKey(), clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	if all.Count != snapshot.Contents.Keys || all.Header.Revision != plan.NewRevision {
		t.Errorf("%d keys at %d, want %d at %d", all.Count, all.Header.Revision, snapshot.Contents.Keys, plan.NewRevision)
	}
	if _, err := c.Put(t.Context(), "after", "1"); err != nil {
		t.Error(err)
	}
	if bump > 0 {
		return // its HashKV is another one, and was compared by Run before
	}
	hash, err := c.HashKV(t.Context(), url, snapshot.Contents.Revision)
	if err != nil {
		t.Fatal(err)
	}
	if hash.Hash != snapshot.Contents.HashKV {
		t.Errorf("HashKV is %d, want %d", hash.Hash, snapshot.Contents.HashKV)
	}
}

// startEtcd runs a command line; the function it returns ends it.
func startEtcd(t *testing.T, args []string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, args[0], append(args[1:], "--logger=zap", "--log-level=warn")...)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() {
		cancel()
		_ = cmd.Wait() // it was killed: its exit code says so
		if t.Failed() {
			t.Logf("%s\n%s", strings.Join(args, " "), log.String())
		}
	}
}

func connect(t *testing.T, url string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{url}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		_, err := c.Get(ctx, "ready")
		cancel()
		if err == nil {
			return c
		}
		if time.Now().After(end) {
			t.Errorf("etcd does not serve: %v", err)
			t.FailNow()
		}
	}
}

func output(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, stderr.String())
	}
	return out
}

func freeURL(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

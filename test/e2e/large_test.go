//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/kubectl-etcd/kubectl-etcd/test/cluster"
)

// TestBackupDisturbed disturbs backups half-way. The journeys share a database that is
// large enough to have a half: filling it takes longer than they do.
func TestBackupDisturbed(t *testing.T) {
	fill(t, 64)
	t.Run("its member dies", survivesItsMember)
	t.Run("its API server dies", survivesItsAPIServer)
	t.Run("its API server dies and one member was named", failsWithItsAPIServer)
	t.Run("interrupted", leavesNothingInterrupted)
	t.Run("slow reader under churn", stopsBeforeTheQuota)
}

// survivesItsMember: the member that streams dies half-way (both followers do, one of
// which it is); another try gives the whole.
func survivesItsMember(t *testing.T) {
	leader := statusOf(t).leaderPod()
	held := holdBackup(t)
	for _, n := range shared.Nodes() {
		if "etcd-"+n.Name == leader {
			continue
		}
		if err := n.Kill(t.Context(), cluster.Etcd); err != nil {
			t.Fatal(err)
		}
	}
	held.wantWhole(t, held.goOn(t))
	waitReady(t)
}

// survivesItsAPIServer: the API server that carries the stream dies; another one does.
func survivesItsAPIServer(t *testing.T) {
	held := holdBackup(t)
	if err := carrier(t).Kill(t.Context(), cluster.APIServer); err != nil {
		t.Fatal(err)
	}
	got := held.goOn(t)
	held.wantWhole(t, got)
	got.wantStderr(t, "tunnel dropped")
	waitReady(t)
}

// failsWithItsAPIServer: with --from there is no other try.
func failsWithItsAPIServer(t *testing.T) {
	held := holdBackup(t, "--from", "etcd-node1")
	if err := carrier(t).Kill(t.Context(), cluster.APIServer); err != nil {
		t.Fatal(err)
	}
	got := held.goOn(t)
	got.wantExit(t, 1)
	got.wantStderr(t, "error: no member gave a snapshot", "etcd-node1", "tunnel dropped", "hint: ")
	held.wantNothing(t)
	waitReady(t) // a kubelet lets nobody in whose own API server has just begun
}

// leavesNothingInterrupted: Ctrl-C half-way.
func leavesNothingInterrupted(t *testing.T) {
	held := holdBackup(t)
	held.signal(t, os.Interrupt)
	held.goOn(t).wantExit(t, 130)
	held.wantNothing(t)
}

// stopsBeforeTheQuota reads a snapshot slowly while the keys that it holds change, so that
// its member can't reuse what they free and grows: the backup ends before the share of the
// quota that it was given, and what was read until then is taken for no snapshot. (What
// came after the snapshot began and went again bbolt does reuse.)
func stopsBeforeTheQuota(t *testing.T) {
	const room = 16 << 20
	client := member(t, "etcd-node1")
	before, err := client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	share := float64(before.DBSize+room) / float64(before.DBSizeQuota) * 100

	dir := t.TempDir()
	args := append([]string{"backup", "-f", "-", "--from", "etcd-node1", "--abort-at-quota", fmt.Sprintf("%.4f%%", share)}, certFlags()...)
	c := pluginCommand([]string{"KUBECONFIG=" + shared.Kubeconfig()}, args...)
	c.Dir = dir
	reader := &slowReader{rate: 512 << 10} // minutes for the whole
	c.Stdout = reader
	writer := member(t, "etcd-node0").Raw()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	wait := begin(t, c, args)
	eventually(t, time.Minute, "the snapshot has begun", reader.begun)
	var puts int
	var churning errgroup.Group
	churning.Go(func() (err error) { puts, err = churn(ctx, writer); return err })
	got := wait()
	cancel()
	if err := churning.Wait(); err != nil {
		t.Errorf("churn: %v", err)
	}
	t.Logf("%d puts in %s", puts, got.took)

	got.wantExit(t, 1)
	got.wantStderr(t, "error: etcd-node1: stopped before the quota: its database grew from", "hint: ")
	after, err := client.Status(t.Context())
	if err != nil || after.DBSize < before.DBSize+room || after.DBSize >= before.DBSizeQuota/2 || len(after.Errors) > 0 {
		t.Errorf("the member went from %d bytes to %+v, %v; want %d more, far from its quota of %d, and no alarm", before.DBSize, after, err, room, before.DBSizeQuota)
	}
	if n := int64(reader.got.Len()); n == 0 || n >= before.DBSize {
		t.Errorf("%d bytes were read of a database of %d: want a part", n, before.DBSize)
	}
	piped := filepath.Join(dir, "piped.db")
	writeFile(t, piped, reader.got.String())
	run(t, "restore", "--from-file", piped, "--out-dir", filepath.Join(dir, "out")).wantExit(t, 5)
	wantFiles(t, dir, "piped.db")
}

// slowReader takes rate bytes a second.
type slowReader struct {
	rate int
	some atomic.Bool
	got  bytes.Buffer // read it when its writer has ended
}

func (r *slowReader) begun() error {
	if !r.some.Load() {
		return errors.New("nothing came")
	}
	return nil
}

func (r *slowReader) Write(p []byte) (int, error) {
	r.some.Store(true)
	time.Sleep(time.Duration(len(p)) * time.Second / time.Duration(r.rate))
	return r.got.Write(p)
}

// churn puts the ballast's keys over and over, and compacts, until ctx ends; it counts.
func churn(ctx context.Context, client *clientv3.Client) (puts int, err error) {
	value := strings.Repeat("x", 512<<10)
	for ; err == nil; puts++ {
		err = churnOnce(ctx, client, puts, value)
	}
	if ctx.Err() != nil {
		return puts, nil
	}
	return puts, err
}

func churnOnce(ctx context.Context, client *clientv3.Client, i int, value string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	answer, err := client.Put(ctx, fmt.Sprint(ballast, "fill/", i%64), value)
	if err == nil && i%8 == 7 {
		_, err = client.Compact(ctx, answer.Header.Revision)
	}
	return err
}

// heldBackup is a backup into a file that was stopped with the stream on its way, so
// that what a test does meanwhile is half-way on any machine.
type heldBackup struct {
	command *exec.Cmd
	wait    func() result
	path    string
}

func holdBackup(t *testing.T, flags ...string) *heldBackup {
	t.Helper()
	return hold(t, append(flags, certFlags()...)...)
}

// hold is holdBackup with no certificates but what the flags say.
func hold(t *testing.T, flags ...string) *heldBackup {
	t.Helper()
	return holdCommand(t, pluginCommand([]string{"KUBECONFIG=" + shared.Kubeconfig()}, flags...))
}

// holdCommand is hold of a command that has everything but "backup -f FILE -o json".
func holdCommand(t *testing.T, c *exec.Cmd) *heldBackup {
	t.Helper()
	h := &heldBackup{command: c, path: filepath.Join(t.TempDir(), "snapshot.db")}
	args := append([]string{"backup", "-f", h.path, "-o", "json"}, c.Args[1:]...)
	c.Args = append(c.Args[:1:1], args...)
	h.wait = begin(t, c, args)
	dir := filepath.Dir(h.path)
	for deadline := time.Now().Add(time.Minute); written(t, dir) < 4<<20; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			h.signal(t, os.Kill)
			t.Fatalf("the stream is not on its way after a minute: %+v", h.wait())
		}
	}
	h.signal(t, syscall.SIGSTOP)
	return h
}

func (h *heldBackup) goOn(t *testing.T) result {
	t.Helper()
	h.signal(t, syscall.SIGCONT)
	return h.wait()
}

func (h *heldBackup) signal(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := h.command.Process.Signal(sig); err != nil {
		t.Errorf("%v: %v", sig, err)
	}
}

// wantWhole: the file came whole, and not at the first try.
func (h *heldBackup) wantWhole(t *testing.T, got result) {
	t.Helper()
	got.wantExit(t, 0)
	got.wantStderr(t, "trying another member from the start")
	var report backupReport
	got.decode(t, &report)
	if report.Tries < 2 {
		t.Errorf("%d tries, want 2 or more", report.Tries)
	}
	if out, err := exec.Command(filepath.Join(binaryDir(t), "etcdutl"), "snapshot", "status", h.path).CombinedOutput(); err != nil {
		t.Errorf("etcdutl snapshot status: %v: %s", err, out)
	}
	wantFiles(t, filepath.Dir(h.path), filepath.Base(h.path))
}

func (h *heldBackup) wantNothing(t *testing.T) {
	t.Helper()
	wantFiles(t, filepath.Dir(h.path))
}

// wantFiles: dir holds these and no others, hidden ones neither.
func wantFiles(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(names, " ") {
		t.Errorf("%s holds %q, want %q", dir, got, names)
	}
}

// written is how many bytes the files in dir hold, hidden ones too.
func written(t *testing.T, dir string) (size int64) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil { // or it has got its name just now
			size += info.Size()
		}
	}
	return size
}

var bytesReceived = regexp.MustCompile(`bytes_received:(\d+)`)

// carrier is the node whose API server carries the stream: of all connections from API
// servers to kubelets its got the most.
func carrier(t *testing.T) *cluster.Node {
	t.Helper()
	var most int64
	var found *cluster.Node
	for _, n := range shared.Nodes() {
		out, err := n.Run(t.Context(), "ss -tniHO state established '( dport = :10250 )'")
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range bytesReceived.FindAllStringSubmatch(out, -1) {
			if size, err := strconv.ParseInt(match[1], 10, 64); err == nil && size > most {
				most, found = size, n
			}
		}
	}
	if most < 4<<20 {
		t.Fatalf("no API server has got more than %d bytes from a kubelet", most)
	}
	return found
}

// ballast is what tests write to etcd, outside of Kubernetes' keys.
const ballast = "/e2e/"

// fill makes the database that many MiB larger, until the test ends.
func fill(t *testing.T, mib int) {
	t.Helper()
	t.Cleanup(func() { drain(t) })
	client := member(t, "etcd-node0")
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(4)
	for i := range mib {
		group.Go(func() error {
			value := make([]byte, 1<<20)
			_, _ = rand.Read(value) // never fails
			_, err := client.Raw().Put(ctx, fmt.Sprint(ballast, "fill/", i), string(value))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatalf("fill: %v", err)
	}
}

// drain takes the ballast out again, and its room, which would slow down every backup
// and restore from then on.
func drain(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	_, err := node(t, "node0").Run(ctx, strings.NewReplacer("etcdctl", cluster.Etcdctl).Replace(`
		etcdctl del --prefix `+ballast+` >/dev/null
		revision=$(etcdctl endpoint status -w json | grep -o '"revision":[0-9]*' | cut -d: -f2)
		etcdctl compact --physical "$revision"
		etcdctl defrag --cluster --command-timeout=60s`))
	if err != nil {
		t.Errorf("drain: %v", err)
	}
}

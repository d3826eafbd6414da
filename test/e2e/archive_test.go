//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/test/cluster"
	"github.com/kubectl-etcd/kubectl-etcd/test/cluster/load"
	"github.com/kubectl-etcd/kubectl-etcd/test/cluster/walk"
)

// followed is a `kubectl etcd backup --follow` that runs.
type followed struct {
	t    *testing.T
	cmd  *exec.Cmd
	wait func() result

	mu    sync.Mutex
	lines []map[string]any
}

// follow starts it as a user does, with JSON lines.
func follow(t *testing.T, args ...string) *followed {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	args = append([]string{"backup", "--follow", "--flush", "1s", "--keep-all", "-o", "json"}, args...)
	f := &followed{t: t, cmd: pluginCommand([]string{"KUBECONFIG=" + shared.Kubeconfig()}, args...)}
	f.cmd.Stdout = w
	f.wait = begin(t, f.cmd, args)
	_ = w.Close() // the child has it
	go func() {
		for lines := bufio.NewScanner(r); lines.Scan(); {
			var line map[string]any
			if json.Unmarshal(lines.Bytes(), &line) == nil {
				f.mu.Lock()
				f.lines = append(f.lines, line)
				f.mu.Unlock()
			}
		}
	}()
	t.Cleanup(func() { _ = f.cmd.Process.Kill() })
	return f
}

// seen waits for a line of an event that is as wanted.
func (f *followed) seen(event string, want func(map[string]any) bool) map[string]any {
	f.t.Helper()
	var found map[string]any
	eventually(f.t, 2*time.Minute, "the backup says "+event, func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, line := range f.lines {
			if line["event"] == event && want(line) {
				found = line
				return nil
			}
		}
		tail := f.lines[max(0, len(f.lines)-5):]
		return fmt.Errorf("the last lines are %v", tail)
	})
	return found
}

// upTo waits until a revision is in the archive, and tells when that was said.
func (f *followed) upTo(revision int64) time.Time {
	f.t.Helper()
	line := f.seen("segment", func(line map[string]any) bool { return line["last"].(float64) >= float64(revision) })
	at, err := time.Parse(time.RFC3339Nano, line["time"].(string))
	if err != nil {
		f.t.Fatal(err)
	}
	return at
}

func (f *followed) stop() {
	f.t.Helper()
	if err := f.cmd.Process.Signal(syscall.SIGINT); err != nil {
		f.t.Fatal(err)
	}
	f.wait().wantExit(f.t, 130)
}

// timelines is `kubectl etcd backups -o json`.
type timelines struct {
	Items []struct {
		Restorable []struct{ First, Last int64 }
		Gaps       []any
		Damaged    []string
	}
}

// TestArchiveJourney: captured while the leadership moves, the leader is killed and the API
// server goes; then somebody deletes a namespace; then etcd's data is gone on all nodes. The
// cluster comes back as it was just before the deletion, proven.
func TestArchiveJourney(t *testing.T) {
	dir := t.TempDir()
	key, archive := filepath.Join(dir, "key.txt"), filepath.Join(dir, "archive")
	var made struct{ Recipient string }
	run(t, "keygen", "-f", key, "-o", "json").decode(t, &made)
	f := follow(t, append([]string{"--archive", archive, "--recipient", made.Recipient}, certFlags()...)...)
	f.seen("base", func(map[string]any) bool { return true })

	stopLoad := underLoad(t)
	kubectl(t, "create", "namespace", "shop")
	for i := range 5 {
		kubectl(t, "create", "configmap", "-n", "shop", fmt.Sprintf("before-%d", i), "--from-literal=made=before")
	}
	disturbEtcd(t)
	stopLoad()
	kubectl(t, "create", "configmap", "-n", "shop", "last", "--from-literal=made=last")
	before := revisionOf(t, "configmap", "-n", "shop", "last")
	kubectl(t, "delete", "namespace", "shop", "--wait=false")
	kubectl(t, "create", "configmap", "-n", "default", "after-the-mistake")
	after := revisionOf(t, "configmap", "-n", "default", "after-the-mistake")
	written := time.Now()
	t.Logf("what was written is in the archive after %s, with --flush 1s", f.upTo(after).Sub(written).Round(time.Millisecond))
	last := time.Now()
	destroy(t)
	f.stop()

	var list timelines
	run(t, "backups", "--archive", archive, "-o", "json").decode(t, &list)
	if len(list.Items) != 1 || len(list.Items[0].Restorable) != 1 || len(list.Items[0].Damaged) > 0 {
		t.Fatalf("what was disturbed has gaps: %+v", list)
	}
	t.Logf("seconds lost at the end: at most %.1f", time.Since(last).Seconds())
	run(t, "verify", "--archive", archive, "--identity", key, "--deep", "--scratch-dir", dir).wantExit(t, 0)

	work := t.TempDir()
	c := exec.Command("kubectl", "etcd", "restore", "--archive", archive, "--identity", key,
		"--to-revision", fmt.Sprint(before), "--out-dir", "restored", "-o", "json")
	c.Dir, c.Env = work, append(cleanEnv(), "KUBECONFIG="+shared.Kubeconfig())
	restored := finish(t, c, []string{"restore"})
	restored.wantExit(t, 0)
	restored.wantStdout(t, `"namespaces"`, `"configmaps"`)
	steps, err := walk.Read(strings.NewReader(restored.stdout))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	var log strings.Builder
	now, later := walk.Split(steps)
	if err := walk.Steps(ctx, shared, now, &log); err != nil {
		t.Fatalf("walked:%s: %v", log.String(), err)
	}
	waitReady(t)
	kubectl(t, "get", "configmap", "-n", "shop", "last")
	if _, err := tryKubectl("get", "configmap", "-n", "default", "after-the-mistake"); err == nil {
		t.Error("what was made after that moment is there")
	}
	if err := walk.Steps(ctx, shared, later, &log); err != nil {
		t.Fatal(err)
	}
	kubectl(t, "delete", "namespace", "shop")
	kubectl(t, "delete", "namespace", "load", "--wait=false")
}

// underLoad writes as Kubernetes does until it is stopped.
func underLoad(t *testing.T) (stop func()) {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", shared.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		report, err := load.Run(ctx, config, load.Options{Rate: 40, Live: 20})
		t.Logf("beside it %d writes in %s, %d that the API did not take: %v", report.Total(), report.Elapsed.Round(time.Second), report.Failed, err)
	}()
	return func() {
		cancel()
		<-ended
	}
}

func revisionOf(t *testing.T, args ...string) int64 {
	t.Helper()
	var revision int64
	if _, err := fmt.Sscan(kubectl(t, append([]string{"get", "-o", "jsonpath={.metadata.resourceVersion}"}, args...)...), &revision); err != nil {
		t.Fatal(err)
	}
	return revision
}

// disturbEtcd moves the leadership, kills the new leader's etcd, and an API server.
func disturbEtcd(t *testing.T) {
	t.Helper()
	members := statusOf(t).Items[0].Members
	var leader, heir string
	var id etcd.ID
	for _, m := range members {
		if m.Status.Leader == m.Status.MemberID {
			leader = m.Pod
		} else {
			heir = m.Pod
			if err := id.UnmarshalText([]byte(m.Status.MemberID)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := member(t, leader).Raw().MoveLeader(t.Context(), uint64(id)); err != nil {
		t.Fatal(err)
	}
	for _, part := range []cluster.Part{cluster.Etcd, cluster.APIServer} {
		if err := node(t, strings.TrimPrefix(heir, "etcd-")).Kill(t.Context(), part); err != nil {
			t.Fatal(err)
		}
		settled(t)
		kubectl(t, "create", "configmap", "-n", "shop", "after-"+string(part))
	}
	waitReady(t)
}

// destroy takes etcd's data from under it on every node.
func destroy(t *testing.T) {
	t.Helper()
	for _, n := range shared.Nodes() {
		if err := os.RemoveAll(n.Path("/var/lib/etcd/member")); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range shared.Nodes() {
		if err := n.Kill(t.Context(), cluster.Etcd); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAgent: the manifest's pod follows etcd with the node's own certificates.
func TestAgent(t *testing.T) {
	loadRelayImage(t)
	key := filepath.Join(t.TempDir(), "key.txt")
	var made struct{ Recipient string }
	run(t, "keygen", "-f", key, "-o", "json").decode(t, &made)
	const folder = "/var/lib/etcd/archive.test" // of what a test node has to itself
	got := run(t, "agent", "manifest", "--archive", folder, "--recipient", made.Recipient, "--keep-last", "10", "--flush", "1s", "--image", relayImageName)
	got.wantExit(t, 0)
	manifest := filepath.Join(t.TempDir(), "agent.yaml")
	writeFile(t, manifest, got.stdout)
	kubectl(t, "apply", "-f", manifest)
	t.Cleanup(func() {
		for _, n := range shared.Nodes() {
			defer os.RemoveAll(n.Path(folder)) //nolint:errcheck // of a node that goes with the test
		}
		kubectl(t, "delete", "-f", manifest, "--wait=false")
		eventually(t, time.Minute, "the agent is gone", func() error {
			if pods := kubectl(t, "get", "pods", "-n", "kube-system", "-l", "app.kubernetes.io/name=kubectl-etcd-agent", "-o", "name"); pods != "" {
				return fmt.Errorf("there are %s", pods)
			}
			return nil
		})
	})
	eventually(t, 2*time.Minute, "the agent has a base and segments", func() error {
		log, err := tryKubectl("logs", "-n", "kube-system", "deploy/kubectl-etcd-agent")
		if err != nil {
			return err
		}
		if !strings.Contains(log, "  base  ") || !strings.Contains(log, "  segment  ") {
			return fmt.Errorf("it says %s", log)
		}
		return nil
	})
	kubectl(t, "create", "configmap", "-n", "default", "seen-by-the-agent")
	revision := revisionOf(t, "configmap", "-n", "default", "seen-by-the-agent")
	kubectl(t, "delete", "configmap", "-n", "default", "seen-by-the-agent")
	where := strings.TrimSpace(kubectl(t, "get", "pods", "-n", "kube-system", "-l", "app.kubernetes.io/name=kubectl-etcd-agent", "-o", "jsonpath={.items[0].spec.nodeName}"))
	archive := node(t, where).Path(folder)
	snapshot := filepath.Join(t.TempDir(), "snapshot.db")
	eventually(t, time.Minute, "the moment is in the archive", func() error {
		got := run(t, "export", "--archive", archive, "--identity", key, "--to-revision", fmt.Sprint(revision), "-f", snapshot)
		if got.code != 0 {
			return fmt.Errorf("%s", got.stderr)
		}
		return nil
	})
	shown := run(t, "tail", "--archive", archive, "--identity", key, "--resource", "configmaps", "--name", "seen-by-*")
	shown.wantStdout(t, "create  configmaps default/seen-by-the-agent", "delete  configmaps default/seen-by-the-agent")
}

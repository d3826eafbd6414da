//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/test/cluster"
)

// pluginOnNode runs the plugin in a node's namespaces as root would: no kubeconfig, no
// flag about certificates.
func pluginOnNode(t *testing.T, n *cluster.Node, args ...string) result {
	t.Helper()
	const inNode = "/var/lib/etcd/kubectl-etcd.test" // a folder that the node has to itself
	copyFile(t, plugin, n.Path(inNode))
	t.Cleanup(func() { _ = os.Remove(n.Path(inNode)) })
	c, err := n.Command(t.Context(), "env", append([]string{"-u", "KUBECONFIG", "HOME=/nonexistent", inNode}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return finish(t, c, args)
}

// TestOnNode is the night: first no API server is left, then two of three etcds are
// gone too. What is left says who is there, and its data is saved.
func TestOnNode(t *testing.T) {
	n := node(t, "node0")
	kubectl(t, "create", "configmap", "-n", "default", "saved", "--from-literal=by=the-last-member")
	t.Cleanup(func() { kubectl(t, "delete", "configmap", "-n", "default", "saved") })
	restoreAll(t)
	for _, each := range shared.Nodes() {
		end(t, each.Stop, cluster.APIServer)
	}
	t.Run("no API server", func(t *testing.T) { noAPIServer(t, n) })

	crashed, stopped := node(t, "node1"), node(t, "node2")
	end(t, crashed.Stop, cluster.Kubelet) // which would start it again
	end(t, crashed.Kill, cluster.Etcd)
	end(t, stopped.Stop, cluster.Etcd)
	t.Run("no quorum", func(t *testing.T) { noQuorum(t, n) })
	t.Run("the data of the last member", func(t *testing.T) { saveTheLast(t, n) })
	t.Run("on the node whose etcd crashed", func(t *testing.T) { etcdCrashed(t, crashed) })
	t.Run("on the node whose manifest was moved away", func(t *testing.T) { manifestAway(t, stopped) })
}

// restoreAll starts everything again when the test ends, all of it before it waits.
func restoreAll(t *testing.T) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		for _, part := range []cluster.Part{cluster.Kubelet, cluster.Etcd, cluster.APIServer} {
			for _, n := range shared.Nodes() {
				if err := n.Start(ctx, part); err != nil {
					t.Errorf("start %s of %s again: %v", part, n.Name, err)
				}
			}
		}
		if err := shared.WaitReady(ctx); err != nil {
			t.Error(err)
		}
	})
}

func end(t *testing.T, how func(context.Context, cluster.Part) error, part cluster.Part) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 3*time.Minute)
	defer cancel()
	if err := how(ctx, part); err != nil {
		t.Fatal(err)
	}
}

func noAPIServer(t *testing.T, n *cluster.Node) {
	unreachable := run(t, "status", "--request-timeout", "5s")
	unreachable.wantExit(t, 6)
	unreachable.wantStderr(t, "API server unreachable", "hint: ", "--on-node", "--endpoints")

	got := pluginOnNode(t, n, "status", "--on-node", "-o", "json")
	got.wantExit(t, 0)
	var list statusList
	got.decode(t, &list)
	if len(list.Items) != 1 || list.Items[0].Way != "on-node" || list.Items[0].Distro != "kubeadm" || list.Items[0].Cluster != "main" {
		t.Fatalf("want one kubeadm cluster, main, from the node: %s", got.stdout)
	}
	for i, m := range list.Items[0].Members {
		if want := fmt.Sprintf("node%d", i); m.Name != want || m.Node != want || m.Error != "" || m.Status == nil || m.Status.Latency <= 0 {
			t.Errorf("member %s is not whole: %+v", want, m)
		}
	}
	if v := list.Items[0].Verdict; v.Level != "ok" || v.Healthy != 3 {
		t.Errorf("verdict %+v, want ok, 3 healthy", v)
	}

	const file = "/var/lib/etcd/on-node.db"
	t.Cleanup(func() { _ = os.Remove(n.Path(file)) })
	backup := pluginOnNode(t, n, "backup", "--on-node", "-f", file)
	backup.wantExit(t, 0)
	backup.wantStdout(t, "ok: snapshot in "+file)
	live := pluginOnNode(t, n, "restore", "--from-file", file, "--out-dir", "/var/lib/etcd/planned", "--on-node", "--live", "--dry-run", "-o", "json")
	live.wantExit(t, 0)
	live.wantStdout(t, `"name": "node0"`, `"name": "node1"`, `"name": "node2"`)
}

// noQuorum: the one member that is left tells of the others, and that quorum is lost.
func noQuorum(t *testing.T, n *cluster.Node) {
	eventuallyAlone(t, n) // a leader steps down only after an election timeout
	got := pluginOnNode(t, n, "status", "--on-node", "--timeout", "3s")
	got.wantExit(t, 3)
	got.wantStdout(t, "critical", "0 of 3 members healthy", "quorum 2 is lost", "no leader")
	if rows := strings.Count(got.stdout, "does not answer: connection refused"); rows != 2 {
		t.Errorf("%d rows without an answer, want the two dead members once each:\n%s", rows, got.stdout)
	}
}

// saveTheLast: the snapshot says what it can't promise, and is good enough to restore
// and to find the object in it that was made last.
func saveTheLast(t *testing.T, n *cluster.Node) {
	const file = "/var/lib/etcd/last.db"
	t.Cleanup(func() { _ = os.Remove(n.Path(file)) })
	eventuallyAlone(t, n)
	got := pluginOnNode(t, n, "backup", "--on-node", "-f", file, "-o", "json", "--timeout", "3s")
	got.wantExit(t, 0)
	got.wantStderr(t, "warning: node0 knows no leader", "committed by a quorum once", "may be missing")
	var report struct {
		backupReport
		WithoutQuorum bool     `json:"withoutQuorum"`
		Warnings      []string `json:"warnings"`
	}
	got.decode(t, &report)
	if !report.WithoutQuorum || len(report.Warnings) == 0 || report.Member != "node0" {
		t.Errorf("the report promises too much: %s", got.stdout)
	}
	if out, err := exec.Command(filepath.Join(binaryDir(t), "etcdutl"), "snapshot", "status", n.Path(file)).CombinedOutput(); err != nil {
		t.Errorf("etcdutl snapshot status: %v: %s", err, out)
	}
	out := filepath.Join(t.TempDir(), "restored")
	restored := run(t, "restore", "--from-file", n.Path(file), "--out-dir", out, "-o", "json")
	restored.wantExit(t, 0)
	var done restoreReport
	restored.decode(t, &done)
	if !done.Proven || len(done.Built) != 3 {
		t.Errorf("want three proven data directories: %s", restored.stdout)
	}
	content, err := os.ReadFile(n.Path(file))
	if err != nil || !strings.Contains(string(content), "the-last-member") {
		t.Errorf("what was written last is not in the snapshot: %v", err)
	}
}

// eventuallyAlone waits until the member knows that its leader is gone.
func eventuallyAlone(t *testing.T, n *cluster.Node) {
	t.Helper()
	eventually(t, time.Minute, "the last member knows no leader", func() error {
		got := pluginOnNode(t, n, "status", "--on-node", "--timeout", "3s")
		if !strings.Contains(got.stdout, "no leader") {
			return fmt.Errorf("%s", got.stdout)
		}
		return nil
	})
}

// etcdCrashed: the node's own member is gone; its disk leads to the one that tells who
// is there, and the data that is left is named.
func etcdCrashed(t *testing.T, n *cluster.Node) {
	got := pluginOnNode(t, n, "status", "--on-node", "--timeout", "3s")
	got.wantExit(t, 3)
	got.wantStdout(t, "node0", "node2", "quorum 2 is lost",
		"this node's etcd does not run: nothing listens on 127.0.0.1:2379; its data is in /var/lib/etcd, up to revision ",
		"cp -a /var/lib/etcd /var/lib/etcd.copy")
	if rows := strings.Count(got.stdout, "does not answer: connection refused"); rows != 2 {
		t.Errorf("%d rows without an answer, want the two dead members once each:\n%s", rows, got.stdout)
	}
}

// manifestAway: whoever stops etcd by its manifest is told so.
func manifestAway(t *testing.T, n *cluster.Node) {
	got := pluginOnNode(t, n, "status", "--on-node", "--timeout", "3s")
	got.wantExit(t, 4)
	got.wantStderr(t, "no etcd found", "/etc/kubernetes/manifests", "moved away", "hint: ")
}

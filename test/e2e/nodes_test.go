//go:build e2e

package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/test/cluster"
)

func node(t *testing.T, name string) *cluster.Node {
	t.Helper()
	n, err := shared.Node(name)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// stop stops a part of nodes until the test ends, when the cluster is whole again.
func stop(t *testing.T, part cluster.Part, nodes ...*cluster.Node) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		for _, n := range nodes {
			if err := n.Start(ctx, part); err != nil {
				t.Errorf("start %s of %s again: %v", part, n.Name, err)
			}
		}
		if err := shared.WaitReady(ctx); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	for _, n := range nodes {
		if err := n.Stop(ctx, part); err != nil {
			t.Fatalf("stop %s of %s: %v", part, n.Name, err)
		}
	}
}

// settled waits until the API servers that are left serve, ten times in a row: a load
// balancer needs a moment to see that one is gone, and the etcds to have a leader.
func settled(t *testing.T) {
	t.Helper()
	eventually(t, 2*time.Minute, "the API servers that are left serve", func() error {
		for range 10 {
			if _, err := tryKubectl("get", "--raw", "/readyz", "--request-timeout=3s"); err != nil {
				return err
			}
		}
		return nil
	})
}

// endpoints are the members' client URLs, reachable from the nodes only.
func endpoints(t *testing.T) string {
	t.Helper()
	urls := make([]string, 0, 3)
	for _, n := range shared.Nodes() {
		urls = append(urls, "https://"+n.IP+":2379")
	}
	return strings.Join(urls, ",")
}

// onNode runs the plugin in a node's network and file system, where there is no
// kubeconfig, with the certificates that kubeadm put there.
func onNode(t *testing.T, n *cluster.Node, args ...string) result {
	t.Helper()
	const inNode = "/var/lib/etcd/kubectl-etcd.test" // a folder that the node has to itself
	copyFile(t, plugin, n.Path(inNode))
	t.Cleanup(func() { _ = os.Remove(n.Path(inNode)) })
	pki := "/etc/kubernetes/pki/etcd/"
	c, err := n.Command(t.Context(), "env", append([]string{"-u", "KUBECONFIG", "HOME=/nonexistent", inNode}, append(args,
		"--cacert", pki+"ca.crt", "--cert", pki+"healthcheck-client.crt", "--key", pki+"healthcheck-client.key")...)...)
	if err != nil {
		t.Fatal(err)
	}
	return finish(t, c, args)
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o755); err != nil {
		t.Fatal(err)
	}
}

// pluginCommand is the plugin itself, not through kubectl: it gets the signals.
func pluginCommand(env []string, args ...string) *exec.Cmd {
	c := exec.Command(plugin, args...)
	c.Env = append(cleanEnv(), env...)
	return c
}

// interruptAfter sends what Ctrl-C sends, once, and waits for the end.
func interruptAfter(t *testing.T, c *exec.Cmd, after time.Duration) result {
	t.Helper()
	timer := time.AfterFunc(after, func() { _ = c.Process.Signal(os.Interrupt) })
	defer timer.Stop()
	return finish(t, c, []string{filepath.Base(c.Path)})
}

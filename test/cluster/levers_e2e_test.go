//go:build e2e && unix

package cluster_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubectl-etcd/kubectl-etcd/test/cluster"
	"github.com/kubectl-etcd/kubectl-etcd/test/cluster/image"
	"github.com/kubectl-etcd/kubectl-etcd/test/cluster/load"
)

// TestClusterLevers pulls every lever once on a cluster of its own, takes it
// down, and looks for what might be left.
func TestClusterLevers(t *testing.T) {
	c := up(t, "levers", 3)
	left := watchFor(t, c)
	n0, n1, n2 := c.Nodes()[0], c.Nodes()[1], c.Nodes()[2]

	t.Run("a second up changes nothing", func(t *testing.T) {
		again, err := cluster.Up(t.Context(), cluster.Options{Name: "levers", Nodes: 3})
		if err != nil {
			t.Fatal(err)
		}
		if again.Kubeconfig() != c.Kubeconfig() {
			t.Errorf("kubeconfig moved from %s to %s", c.Kubeconfig(), again.Kubeconfig())
		}
		if _, err := cluster.Up(t.Context(), cluster.Options{Name: "levers", Nodes: 1}); err == nil {
			t.Error("up with another number of nodes was accepted")
		}
	})
	t.Run("run", func(t *testing.T) {
		if got := must(t, n1, "hostname"); got != "node1\n" {
			t.Errorf("hostname on node1 = %q", got)
		}
		if _, err := n1.Run(t.Context(), "echo oops >&2; exit 3"); err == nil || !strings.Contains(err.Error(), "oops") {
			t.Errorf("error of a failing script = %v, want its stderr in it", err)
		}
	})
	t.Run("certificates", func(t *testing.T) {
		for _, name := range []string{"ca.crt", "client.crt", "client.key"} {
			info, err := os.Stat(filepath.Join(c.Certs(), name))
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v, want 0600", name, info.Mode().Perm())
			}
		}
	})
	t.Run("stop and start etcd", func(t *testing.T) {
		pull(t, n2.Stop, cluster.Etcd)
		if etcdServes(t, n0, n2) {
			t.Error("the stopped etcd serves")
		}
		apiServes(t, c)
		pull(t, n2.Start, cluster.Etcd)
		ready(t, c)
		if !etcdServes(t, n0, n2) {
			t.Error("the started etcd does not serve")
		}
	})
	t.Run("freeze and thaw etcd", func(t *testing.T) {
		pull(t, n1.Freeze, cluster.Etcd)
		if etcdServes(t, n0, n1) {
			t.Error("the frozen etcd serves")
		}
		pull(t, n1.Thaw, cluster.Etcd)
		ready(t, c)
		if !etcdServes(t, n0, n1) {
			t.Error("the thawed etcd does not serve")
		}
	})
	for _, part := range []cluster.Part{cluster.Etcd, cluster.APIServer, cluster.Kubelet} {
		t.Run("kill "+string(part), func(t *testing.T) {
			before := pidOf(t, n1, part)
			pull(t, n1.Kill, part)
			comesBack(t, n1, part, before)
			ready(t, c)
		})
	}
	t.Run("stop and start kube-apiserver", func(t *testing.T) {
		pull(t, n0.Stop, cluster.APIServer)
		for range 6 { // the balancer passes the stopped one over, whose turn ever it is
			apiServes(t, c)
		}
		pull(t, n0.Start, cluster.APIServer)
		ready(t, c)
	})
	t.Run("stop and start kubelet", func(t *testing.T) {
		pull(t, n1.Stop, cluster.Kubelet)
		if err := n1.Stop(t.Context(), cluster.Etcd); err == nil {
			t.Error("etcd stopped without the kubelet that has to do it")
		}
		if !n1.Running(cluster.Etcd) {
			t.Error("etcd went with kubelet")
		}
		pull(t, n1.Start, cluster.Kubelet)
		ready(t, c)
	})
	t.Run("cut and mend", func(t *testing.T) {
		if err := n1.Cut(t.Context(), n0); err != nil {
			t.Fatal(err)
		}
		if connects(t, n1, n0, 2380) || connects(t, n0, n1, 2380) {
			t.Error("node0 and node1 still reach each other")
		}
		if !connects(t, n1, n2, 2380) {
			t.Error("node2, from which node1 was not cut, is gone too")
		}
		if err := n1.Cut(t.Context()); err != nil {
			t.Fatal(err)
		}
		if connects(t, n1, n2, 2380) {
			t.Error("node1 still reaches node2")
		}
		if err := n1.Mend(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !connects(t, n1, n0, 2380) || !connects(t, n2, n1, 2380) {
			t.Error("mended, but node1 is still off")
		}
		ready(t, c)
	})
	t.Run("unplug and mend", func(t *testing.T) {
		if err := n2.Unplug(t.Context()); err != nil {
			t.Fatal(err)
		}
		if connects(t, n0, n2, 6443) {
			t.Error("the unplugged node is reached")
		}
		apiServes(t, c)
		if err := n2.Mend(t.Context()); err != nil {
			t.Fatal(err)
		}
		ready(t, c)
	})
	t.Run("a longer line", func(t *testing.T) {
		const rtt = 50 * time.Millisecond
		line(t, c, n0, n1, cluster.Line{RTT: rtt})
		line(t, c, n1, n2, cluster.Line{RTT: rtt, Jitter: 5 * time.Millisecond, Loss: 1})
		took := connectTime(t, n0, n1)
		t.Logf("a connection takes %s", took)
		if took < rtt {
			t.Errorf("a connection takes %s over a line of %s", took, rtt)
		}
		if !etcdServes(t, n2, n1) {
			t.Error("etcd does not serve over a long line")
		}
		ready(t, c)
		pull(t, n1.Stop, cluster.Machine)
		pull(t, n1.Start, cluster.Machine)
		ready(t, c)
		if took := connectTime(t, n0, n1); took < rtt {
			t.Errorf("the node was started again, and a connection takes %s", took)
		}
		line(t, c, n1, n2, cluster.Line{})
		line(t, c, n0, n1, cluster.Line{})
		if took := connectTime(t, n0, n1); took > rtt {
			t.Errorf("a connection takes %s over the plain line", took)
		}
		line(t, c, n0, n2, cluster.Line{RTT: rtt}) // down finds it so
	})
	t.Run("freeze and thaw a node", func(t *testing.T) {
		pull(t, n2.Freeze, cluster.Machine)
		if etcdServes(t, n0, n2) {
			t.Error("etcd of the frozen node serves")
		}
		pull(t, n2.Thaw, cluster.Machine)
		ready(t, c)
	})
	t.Run("stop and start a node", func(t *testing.T) {
		pull(t, n2.Stop, cluster.Machine)
		if n2.Running(cluster.Machine) || n2.Running(cluster.Etcd) {
			t.Error("something of the stopped node runs")
		}
		if connects(t, n0, n2, 2379) {
			t.Error("the stopped node is reached")
		}
		apiServes(t, c)
		pull(t, n2.Start, cluster.Machine)
		ready(t, c)
		if !etcdServes(t, n0, n2) {
			t.Error("etcd of the started node does not serve")
		}
	})

	t.Run("load", func(t *testing.T) {
		config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig())
		if err != nil {
			t.Fatal(err)
		}
		report, err := load.Run(t.Context(), config, load.Options{Rate: 20, Duration: 20 * time.Second, Live: 5})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%+v", report)
		if report.Failed != 0 {
			t.Errorf("%d writes failed, the last: %v", report.Failed, report.Last)
		}
		for _, kind := range []string{"configmap", "secret", "pod", "event"} {
			for _, verb := range []string{"create ", "delete "} {
				if report.Writes[verb+kind] == 0 {
					t.Errorf("no %s%s in %v", verb, kind, report.Writes)
				}
			}
		}
		out := must(t, n0, cluster.Etcdctl+" get --prefix /registry/ --keys-only | grep /load/load- | wc -l")
		if count, err := strconv.Atoi(strings.TrimSpace(out)); err != nil || count < 4*5 {
			t.Errorf("etcd holds %q objects of the load, want at least 20", out)
		}
	})
	t.Run("load an image", func(t *testing.T) {
		im := image.Image{
			Ref:   "registry.example.com/balancer:1",
			Files: []image.File{{Source: filepath.Join(c.Dir(), "apibalancer"), Path: "/balancer"}},
		}
		if err := c.LoadImage(t.Context(), im); err != nil {
			t.Fatal(err)
		}
		if got := must(t, n2, "ctr -n k8s.io images ls -q"); !strings.Contains(got, im.Ref+"\n") {
			t.Errorf("images on node2:\n%s", got)
		}
	})

	// Down has to manage in the worst moment, too.
	pull(t, n0.Freeze, cluster.Machine)
	pull(t, n1.Freeze, cluster.Etcd)
	pull(t, n2.Stop, cluster.Machine)
	for range 2 {
		if err := c.Down(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	left.nothing(t)
}

// up brings up a cluster that goes with the test.
func up(t *testing.T, name string, nodes int) *cluster.Cluster {
	t.Helper()
	c, err := cluster.Up(t.Context(), cluster.Options{Name: name, Nodes: nodes, Log: t.Output()})
	t.Cleanup(func() {
		if err := cluster.Remove(context.Background(), name); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func pull(t *testing.T, lever func(context.Context, cluster.Part) error, part cluster.Part) {
	t.Helper()
	began := time.Now()
	if err := lever(t.Context(), part); err != nil {
		t.Fatal(err)
	}
	t.Logf("took %s", time.Since(began).Round(time.Millisecond))
}

func ready(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	if err := c.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, n *cluster.Node, script string) string {
	t.Helper()
	out, err := n.Run(t.Context(), script)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// says reports whether script ends well on n, and prints "yes" by then: an n
// that is down fails the test instead of saying no.
func says(t *testing.T, n *cluster.Node, script string) bool {
	t.Helper()
	return must(t, n, "if "+script+"; then echo yes; else echo no; fi") == "yes\n"
}

// connects reports whether from reaches a TCP port of to.
func connects(t *testing.T, from, to *cluster.Node, port int) bool {
	t.Helper()
	return says(t, from, fmt.Sprintf("timeout 5 bash -c '</dev/tcp/%s/%d' 2>/dev/null", to.IP, port))
}

func line(t *testing.T, c *cluster.Cluster, a, b *cluster.Node, l cluster.Line) {
	t.Helper()
	if err := c.Line(t.Context(), a, b, l); err != nil {
		t.Fatal(err)
	}
}

// connectTime is the least that from takes to connect to etcd of to, and bash with it.
func connectTime(t *testing.T, from, to *cluster.Node) time.Duration {
	t.Helper()
	out := must(t, from, fmt.Sprintf(`
		for i in 1 2 3 4 5 6; do
			began=$(date +%%s%%N); : </dev/tcp/%s/2380; echo $(($(date +%%s%%N) - began))
		done | sort -n | head -1`, to.IP))
	nanoseconds, err := strconv.ParseInt(strings.TrimSpace(out), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(nanoseconds)
}

// etcdServes reports whether the etcd of to answers a read asked from from.
func etcdServes(t *testing.T, from, to *cluster.Node) bool {
	t.Helper()
	return says(t, from, fmt.Sprintf(
		"timeout 10 %s --endpoints https://%s:2379 get x --consistency=s >/dev/null 2>&1", cluster.Etcdctl, to.IP))
}

// apiServes writes through the API, which needs a quorum; an API server that
// has just lost its etcd may refuse once.
func apiServes(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	client, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for {
		_, err = client.CoreV1().Namespaces().Update(t.Context(), namespace(t, c), metav1.UpdateOptions{})
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the API takes no writes: %v", err)
		}
		time.Sleep(500 * time.Millisecond)
	}
}

func pidOf(t *testing.T, n *cluster.Node, part cluster.Part) string {
	t.Helper()
	return must(t, n, fmt.Sprintf(`
		for p in /proc/[0-9]*; do
			if [ "$(tr '\0' '\n' <$p/cmdline 2>/dev/null | head -1)" = %s ]; then basename $p; fi
		done`, part))
}

func comesBack(t *testing.T, n *cluster.Node, part cluster.Part, before string) {
	t.Helper()
	if before == "" {
		t.Fatalf("%s had no process to kill", part)
	}
	deadline := time.Now().Add(2 * time.Minute)
	for {
		if now := pidOf(t, n, part); now != "" && now != before {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come back", part)
		}
		time.Sleep(300 * time.Millisecond)
	}
}

//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/test/cluster"
)

// The states of this file are made after TestHealthOfAHealthyCluster has looked, by the file's
// name: API servers that were just restarted can't count their objects for a while (H54).

// TestHealthOfOtherSettings changes what administrators change by hand, each in the manifest of
// one node: a member's timeouts, which etcd an API server has, and who compacts. What is not in
// effect yet is found as well.
func TestHealthOfOtherSettings(t *testing.T) {
	drifted, misled := node(t, "node1"), node(t, "node2")
	t.Cleanup(func() { // all manifests are as they were
		end(t, drifted.Start, cluster.Kubelet)
		for _, n := range shared.Nodes() {
			runsAnew(t, n, cluster.Etcd)
			runsAnew(t, n, cluster.APIServer)
		}
		waitReady(t)
	})

	end(t, drifted.Stop, cluster.Kubelet)
	setFlags(t, drifted, cluster.Etcd, "--heartbeat-interval=200", "--quota-backend-bytes=3221225472")
	t.Run("a restart is pending", func(t *testing.T) { restartPending(t, drifted) })

	for _, n := range shared.Nodes() {
		flags := []string{"--etcd-compaction-interval=0"}
		if n == misled {
			flags = append(flags, "--etcd-servers=https://127.0.0.1:2379,https://192.0.2.7:2379")
		}
		setFlags(t, n, cluster.APIServer, flags...)
	}
	end(t, drifted.Start, cluster.Kubelet)
	for _, n := range shared.Nodes() {
		runsAnew(t, n, cluster.APIServer)
	}
	runsAnew(t, drifted, cluster.Etcd)
	waitReady(t)
	for _, n := range shared.Nodes() {
		toldOf(t, n, cluster.APIServer, "--etcd-compaction-interval=0")
	}
	toldOf(t, misled, cluster.APIServer, "https://192.0.2.7:2379")
	toldOf(t, drifted, cluster.Etcd, "--heartbeat-interval=200")

	list := readHealth(t, "--sample", "0", "--set", "compaction-age=1s")
	list.wants(t, "H44", "critical", `--heartbeat-interval differs: "100ms" of etcd-node0, etcd-node2; "200ms" of etcd-node1`,
		`--quota-backend-bytes differs: "2147483648" of etcd-node0, etcd-node2; "3221225472" of etcd-node1`)
	list.wants(t, "H50", "critical", "kube-apiserver-node2 is given https://192.0.2.7:2379, and no member of this etcd is there",
		"take https://192.0.2.7:2379 out of the flags of kube-apiserver-node2")
	list.wants(t, "H52", "critical", "the API servers differ in the URLs of this etcd", "kube-apiserver-node2")
	list.wants(t, "H26", "warning", "nothing compacts: the API servers are set not to", "remove --etcd-compaction-interval=0")
	for _, id := range []string{"H01", "H02", "H06", "H07", "H08", "H10", "H46", "H48"} {
		list.wants(t, id, "ok")
	}

	tuned := runWithCerts(t, "tune", "--suggest", "--sample", "0", "-o", "wide")
	tuned.wantExit(t, 0)
	tuned.wantStdout(t, "the members differ", "200")
}

// setFlags changes a manifest until the test ends.
func setFlags(t *testing.T, n *cluster.Node, part cluster.Part, flags ...string) {
	t.Helper()
	undo, err := n.SetFlags(part, flags...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := undo(); err != nil {
			t.Errorf("put the manifest of %s of %s back: %v", part, n.Name, err)
		}
	})
}

// runsAnew waits until the pod runs as its manifest says.
func runsAnew(t *testing.T, n *cluster.Node, part cluster.Part) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	if err := n.Runs(ctx, part); err != nil {
		t.Fatal(err)
	}
}

// toldOf waits until the API server has the pod as it runs: a kubelet that could not reach its own
// one tells of a static pod later than it starts it.
func toldOf(t *testing.T, n *cluster.Node, part cluster.Part, flag string) {
	t.Helper()
	pod := fmt.Sprintf("%s-%s", part, n.Name)
	eventually(t, 2*time.Minute, "the API server knows that "+pod+" has "+flag, func() error {
		command, err := tryKubectl("get", "pod", "-n", "kube-system", pod, "-o", "jsonpath={.spec.containers[0].command}")
		if err == nil && !strings.Contains(command, flag) {
			err = fmt.Errorf("it is told of %s", command)
		}
		return err
	})
}

// restartPending: the manifest was changed, and no kubelet has seen it. The API server does not
// know of it either: it is told on the node.
func restartPending(t *testing.T, n *cluster.Node) {
	got := onNode(t, n, "health", "--on-node", "--sample", "0", "--fail-on", "never", "-o", "json")
	got.wantExit(t, 0)
	var list healthList
	got.decode(t, &list)
	list.wants(t, "H44", "info", "restart pending: node1, --heartbeat-interval: 200 ≠ not set",
		"restart pending: node1, --quota-backend-bytes: 3221225472 ≠ not set", "restart the member")

	tuned := onNode(t, n, "tune", "--on-node", "--suggest", "--sample", "0", "-o", "wide")
	tuned.wantExit(t, 0)
	tuned.wantStdout(t, "restart pending: the process of node1 still has an older value than its specification", "100 (then 200)")
}

// TestHealthOfTwoMembersOnOneNode adds a member beside another one, as a learner first.
func TestHealthOfTwoMembersOnOneNode(t *testing.T) {
	n := node(t, "node0")
	remove := fmt.Sprintf("etcdctl member remove $(etcdctl member list | grep %s | cut -d, -f1)", n.TwinPeer())
	etcdctl(t, fmt.Sprintf("etcdctl member add %s --learner --peer-urls=%s", n.TwinName(), n.TwinPeer()))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
		defer cancel()
		etcdctl(t, remove)
		if err := n.RemoveTwin(ctx); err != nil {
			t.Error(err)
		}
		waitReady(t)
	})
	members := []string{n.TwinName() + "=" + n.TwinPeer()}
	for _, other := range shared.Nodes() {
		members = append(members, other.Name+"=https://"+other.IP+":2380")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if err := n.StartTwin(ctx, strings.Join(members, ",")); err != nil {
		t.Fatal(err)
	}

	eventuallyFinds(t, "H04", "info", "etcd-twin-node0 is a learner: it runs for", "100% of the leader's log")
	list := readHealth(t, "--sample", "0", "--set", "learner-age=1s")
	list.wants(t, "H04", "warning", "etcd-twin-node0 is a learner: it runs for", "kubectl etcd member promote ")
	list.wants(t, "H01", "ok", "3 voters")
	list.wants(t, "H05", "ok", "3 voters on 3 nodes") // a learner's end costs nothing

	etcdctl(t, fmt.Sprintf("etcdctl member promote $(etcdctl member list | grep %s | cut -d, -f1)", n.TwinPeer()))
	list = eventuallyFinds(t, "H05", "critical", "etcd-node0 and etcd-twin-node0 share node node0: it takes them all with it", "move a member to a node")
	list.wants(t, "H01", "warning", "4 voters: an even number bears no more failures than 3")
	list.wants(t, "H04", "ok")
	list.wants(t, "H06", "ok", "every member has its pod")
	list.wants(t, "H02", "ok", "1 more may fail")
}

// TestHealthOfASlowDisk lets one member's disk take few writes: that member is named, whatever
// the disk of all of them is like.
func TestHealthOfASlowDisk(t *testing.T) {
	n := follower(t)
	t.Cleanup(func() { // a new process has the disk's own speed, and no other in its metrics
		end(t, n.Stop, cluster.Etcd)
		end(t, n.Start, cluster.Etcd)
		waitReady(t)
	})
	if err := n.SlowDisk(cluster.Etcd, 20); err != nil {
		t.Fatal(err)
	}
	defer underLoad(t)()
	time.Sleep(3 * time.Second) // what was written before is done with
	list := readHealth(t, "--sample", "10s", "--timeout", "20s")
	for _, id := range []string{"H30", "H31"} {
		level, summary := list.finding(t, id)
		t.Logf("%s: %s: %s", id, level, list.result(t, id).text())
		if level != "warning" && level != "critical" || !strings.HasSuffix(summary, "(etcd-"+n.Name+")") {
			t.Errorf("%s: %s: %s, want etcd-%s, which has a slow disk", id, level, summary, n.Name)
		}
	}
	list.wants(t, "H10", "ok")
}

// follower is a node whose member does not lead.
func follower(t *testing.T) *cluster.Node {
	t.Helper()
	var list statusList
	got := runWithCerts(t, "status", "-o", "json")
	got.wantExit(t, 0)
	got.decode(t, &list)
	for _, m := range list.Items[0].Members {
		if m.Status != nil && m.Status.Leader != m.Status.MemberID {
			return node(t, m.Node)
		}
	}
	t.Fatal("no member follows")
	return nil
}

// eventuallyFinds waits until health says so: a pod that was just started takes a moment.
func eventuallyFinds(t *testing.T, id, level string, parts ...string) (list healthList) {
	t.Helper()
	eventually(t, 2*time.Minute, "health finds it", func() error {
		list = readHealth(t, "--sample", "0")
		if missing := list.result(t, id).lacks(level, parts...); missing != "" {
			return fmt.Errorf("%s", missing)
		}
		return nil
	})
	return list
}

//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/test/cluster"
	"github.com/kubectl-etcd/kubectl-etcd/test/cluster/walk"
)

// eventKey is where the marker is stored.
const eventKey = "/registry/events/default/e2e-marker"

// TestEventsCluster has a control plane that keeps its Events in a second etcd: it is shown
// apart, never mixed with the main one, and a command that is about one asks which.
func TestEventsCluster(t *testing.T) {
	own, err := cluster.Up(t.Context(), cluster.Options{Name: "e2e-events", Nodes: 1, Events: true, Log: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	before := shared
	shared = own
	t.Cleanup(func() {
		shared = before
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if err := own.Down(ctx); err != nil {
			t.Error(err)
		}
	})
	markEvent(t)

	t.Run("status", statusOfTwo)
	t.Run("health", healthOfTwo)
	t.Run("backup", backupOfOneOfTwo)
	t.Run("relay", func(t *testing.T) {
		got := runWithRelay(t, "status", "--etcd", "events", "-o", "json")
		got.wantExit(t, 0)
		wantClusters(t, got, "events")
	})
	t.Run("on the node", onNodeWithTwo)
	t.Run("restore in place", restoreEventsInPlace)
	t.Run("one down", oneOfTwoDown)
}

// markEvent makes an Event and sees that it is where it should be, and nowhere else.
func markEvent(t *testing.T) {
	t.Helper()
	create(t, `{"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e2e-marker", "namespace": "default"},
		"involvedObject": {"kind": "Pod", "namespace": "default", "name": "none"}, "reason": "Marked", "message": "e2e", "type": "Normal"}`)
	if main, events := hasMarker(t, "2379"), hasMarker(t, "2389"); main || !events {
		t.Fatalf("the event is in main: %t, in events: %t", main, events)
	}
}

func create(t *testing.T, object string) {
	t.Helper()
	c := exec.Command("kubectl", "--kubeconfig", shared.Kubeconfig(), "create", "-f", "-")
	c.Stdin = strings.NewReader(object)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("kubectl create: %v: %s", err, out)
	}
}

func hasMarker(t *testing.T, port string) bool {
	t.Helper()
	out, err := node(t, "node0").Run(t.Context(), cluster.Etcdctl+" --endpoints https://127.0.0.1:"+port+" get --keys-only "+eventKey)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(out, eventKey)
}

// wantClusters: these and no others, each with a member of its own.
func wantClusters(t *testing.T, got result, names ...string) statusList {
	t.Helper()
	var list statusList
	got.decode(t, &list)
	var found []string
	for _, item := range list.Items {
		found = append(found, item.Cluster)
		if len(item.Members) != 1 {
			t.Errorf("%s has %d members, want its own: %+v", item.Cluster, len(item.Members), item.Members)
		}
	}
	if strings.Join(found, " ") != strings.Join(names, " ") {
		t.Fatalf("clusters %v, want %v", found, names)
	}
	return list
}

func statusOfTwo(t *testing.T) {
	got := run(t, "status")
	got.wantExit(t, 0)
	got.wantStdout(t, "kube-system/main", "kube-system/events", "etcd-node0", "etcd-events-node0")

	list := wantClusters(t, runWithCerts(t, "status", "-o", "json"), "main", "events")
	if main, events := list.Items[0].Members[0], list.Items[1].Members[0]; main.Pod != "etcd-node0" || events.Pod != "etcd-events-node0" ||
		main.Status.MemberID == events.Status.MemberID {
		t.Errorf("main is %+v, events %+v", main, events)
	}
	for _, name := range []string{"main", "events"} {
		wantClusters(t, run(t, "status", "--etcd", name, "-o", "json"), name)
		wantClusters(t, run(t, "status", name, "-o", "json"), name)
	}
	unknown := run(t, "status", "--etcd", "leases")
	unknown.wantExit(t, 2)
	unknown.wantStderr(t, "main, events")
}

// healthOfTwo: each is checked as a cluster of its own, and what the override is about is told.
func healthOfTwo(t *testing.T) {
	got := runWithCerts(t, "health", "--sample", "0", "--fail-on", "never", "-o", "json")
	got.wantExit(t, 0)
	var both healthList
	got.decode(t, &both)
	if len(both.Items) != 2 || both.Items[0].Cluster != "main" || both.Items[1].Cluster != "events" {
		t.Fatalf("health printed %+v", both)
	}
	ids := map[string]bool{}
	for i, of := range []struct{ name, member string }{{"main", "etcd-node0"}, {"events", "etcd-events-node0"}} {
		t.Run(of.name, func(t *testing.T) {
			list := healthList{Items: both.Items[i : i+1]}
			list.wants(t, "H01", "info", "1 voter")
			list.wants(t, "H06", "ok", "every member has its pod")
			list.wants(t, "H08", "ok", "one cluster, ")
			ids[list.result(t, "H08").Summary] = true
			list.wants(t, "H43", "ok", of.member+": --snapshot-count")
			list.wants(t, "H50", "ok", "the API server on node node0 fails with its member")
			list.wants(t, "H51", "ok", "an etcd of their own have: /events", "kube-apiserver-node0 has /events at https://127.0.0.1:2389",
				"kubectl etcd status --etcd NAME")
			list.wants(t, "H52", "ok")
		})
	}
	if len(ids) != 2 {
		t.Errorf("they are one cluster: %v", ids)
	}
	one := runWithCerts(t, "health", "--etcd", "events", "--sample", "0", "--fail-on", "never", "-o", "json")
	one.wantExit(t, 0)
	var events healthList
	one.decode(t, &events)
	if len(events.Items) != 1 || events.Items[0].Cluster != "events" {
		t.Errorf("health --etcd events printed %+v", events)
	}
}

func backupOfOneOfTwo(t *testing.T) {
	dir := t.TempDir()
	refused := runWithCerts(t, "backup", "-f", filepath.Join(dir, "either.db"))
	refused.wantExit(t, 2)
	refused.wantStderr(t, "there are 2 etcd clusters: main, events", "--etcd main")
	wantFiles(t, dir)

	for name, want := range map[string]bool{"main": false, "events": true} {
		path := filepath.Join(dir, name+".db")
		got := runWithCerts(t, "backup", "--etcd", name, "-f", path, "-o", "json")
		got.wantExit(t, 0)
		if holds := bytes.Contains(readFile(t, path), []byte(eventKey)); holds != want {
			t.Errorf("the snapshot of %s holds the event: %t, want %t", name, holds, want)
		}
		if partial := strings.Contains(got.stdout, `"partial": true`); partial != want {
			t.Errorf("the snapshot of %s is called partial: %t, want %t", name, partial, want)
		}
	}
	which := run(t, "restore", "--from-file", filepath.Join(dir, "main.db"), "--live", "--out-dir", filepath.Join(dir, "restored"))
	which.wantExit(t, 2)
	which.wantStderr(t, "there are 2 etcd clusters", "--etcd main")
	// Neither goes in the other's place.
	for file, other := range map[string]string{"main": "events", "events": "main"} {
		got := run(t, "restore", "--from-file", filepath.Join(dir, file+".db"), "--live", "--etcd", other, "--out-dir", filepath.Join(dir, "restored"))
		got.wantExit(t, 1)
		got.wantStderr(t, "it is", "hint: choose the cluster that it is of: --etcd")
	}
	wantFiles(t, dir, "events.db", "main.db")
}

func onNodeWithTwo(t *testing.T) {
	n := node(t, "node0")
	wantClusters(t, onNode(t, n, "status", "--on-node", "-o", "json"), "main", "events")
	wantClusters(t, onNode(t, n, "status", "--on-node", "--etcd", "events", "-o", "json"), "events")
	onNode(t, n, "backup", "--on-node", "-f", "/var/lib/etcd/either.test.db").wantExit(t, 2)
}

// restoreEventsInPlace walks the printed steps: the event comes back, and what main holds
// is as it was.
func restoreEventsInPlace(t *testing.T) {
	work := t.TempDir()
	snapshot := filepath.Join(work, "events.db")
	runWithCerts(t, "backup", "--etcd", "events", "-f", snapshot).wantExit(t, 0)
	kubectl(t, "delete", "event", "-n", "default", "e2e-marker")
	kubectl(t, "create", "configmap", "-n", "default", "after")

	c := exec.Command("kubectl", "etcd", "restore", "--from-file", snapshot, "--out-dir", "restored", "--live", "--etcd", "events", "-o", "json")
	c.Dir, c.Env = work, append(cleanEnv(), "KUBECONFIG="+shared.Kubeconfig())
	restored := finish(t, c, []string{"restore"})
	restored.wantExit(t, 0)
	steps, err := walk.Read(strings.NewReader(restored.stdout))
	if err != nil || len(steps) == 0 {
		t.Fatalf("steps: %d, %v", len(steps), err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	var log strings.Builder
	now, later := walk.Split(steps)
	err = walk.Steps(ctx, shared, append(now, later...), &log)
	t.Logf("walked:%s", log.String())
	if err != nil {
		t.Fatal(err)
	}
	waitReady(t)
	if !hasMarker(t, "2389") || hasMarker(t, "2379") {
		t.Error("the event is not back, or in the wrong place")
	}
	kubectl(t, "get", "event", "-n", "default", "e2e-marker")
	kubectl(t, "get", "configmap", "-n", "default", "after")
}

func oneOfTwoDown(t *testing.T) {
	stop(t, cluster.EventsEtcd, node(t, "node0"))
	var list statusList
	eventually(t, time.Minute, "status sees it", func() error {
		got := run(t, "status", "-o", "json", "--timeout", "3s")
		got.decode(t, &list)
		if len(list.Items) < 2 || list.Items[1].Verdict.Level != "critical" || got.code != 3 {
			return fmt.Errorf("exit %d: %s", got.code, got.stdout)
		}
		return nil
	})
	if main := list.Items[0]; main.Cluster != "main" || main.Verdict.Level != "ok" {
		t.Errorf("main is not well: %+v", main)
	}
}

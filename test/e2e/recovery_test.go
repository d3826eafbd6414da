//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/docs"
	"github.com/kubectl-etcd/kubectl-etcd/test/cluster"
	"github.com/kubectl-etcd/kubectl-etcd/test/cluster/walk"
)

// TestRecovery loses the etcd of two of three nodes and does, word for word but for
// addresses, what `kubectl etcd help recovery` says, and the steps that its commands print.
func TestRecovery(t *testing.T) {
	help := run(t, "help", "recovery")
	help.wantExit(t, 0)
	document := documentOf(t, help.stdout)
	kubectl(t, "create", "configmap", "-n", "default", "saved", "--from-literal=by=the-survivor")
	t.Cleanup(func() { kubectl(t, "delete", "configmap", "-n", "default", "saved") })

	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	survivor := node(t, "node0")
	for _, name := range []string{"node1", "node2"} {
		lose(t, node(t, name))
	}
	eventuallyAlone(t, survivor)
	lost := pluginOnNode(t, survivor, "status", "--on-node", "--timeout", "3s")
	lost.wantExit(t, 3)
	lost.wantStdout(t, "quorum 2 is lost", "kubectl etcd help recovery")

	for _, n := range shared.Nodes() {
		if _, err := n.Run(ctx, "mkdir -p /run/walk && cp "+plugin+" /run/walk/kubectl-etcd"); err != nil {
			t.Fatal(err)
		}
	}
	walkDocument(ctx, t, survivor, document)

	waitReady(t)
	wantWhole(t)
	if out, err := tryKubectl("get", "configmap", "-n", "default", "saved", "-o", "jsonpath={.data.by}"); err != nil || !strings.Contains(out, "the-survivor") {
		t.Errorf("what was written before the loss is not there: %q, %v", out, err)
	}
	for _, m := range statusOf(t).Items[0].Members {
		if m.Status == nil || m.Status.Revision < 1_000_000_000 {
			t.Errorf("%s is not past the raised revision: %+v", m.Pod, m.Status)
		}
	}
}

// documentOf puts the cluster's addresses in the places of the text's, in which there are no
// marks for where printed steps are to be done: the file has them.
func documentOf(t *testing.T, help string) []walk.Step {
	t.Helper()
	text := docs.Recovery
	for line := range strings.Lines(help) {
		if !strings.Contains(text, line) {
			t.Errorf("docs/recovery.md lacks a line of the help: %s", line)
		}
	}
	for i, n := range shared.Nodes() {
		text = strings.ReplaceAll(text, fmt.Sprintf("https://10.0.0.%d:", i+1), "https://"+n.IP+":")
	}
	return walk.Document(text)
}

// walkDocument does a document's steps, and in the places for them the steps that the
// command before has printed.
func walkDocument(ctx context.Context, t *testing.T, here *cluster.Node, steps []walk.Step) {
	t.Helper()
	var names []string
	for _, n := range shared.Nodes() {
		names = append(names, n.Name)
	}
	var printed []walk.Step
	for _, step := range steps {
		todo := []walk.Step{step}
		if step.ID == walk.PrintedSteps {
			if todo, _ = walk.Split(printed); len(todo) == 0 {
				t.Fatal("the document has printed steps to be done, and none were printed")
			}
		}
		var log strings.Builder
		err := walk.From(ctx, shared, here, todo, &log)
		t.Logf("walked:%s", log.String())
		if err != nil {
			t.Fatal(err)
		}
		if found := walk.Printed(log.String(), names); len(found) > 0 {
			printed = found
		}
	}
}

// lose breaks a node's etcd as a broken disk does: it ends, and can't start again.
func lose(t *testing.T, n *cluster.Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := n.Run(ctx, "rm -rf /var/lib/etcd/member && echo lost > /var/lib/etcd/member && pkill -9 -x etcd"); err != nil {
		t.Fatal(err)
	}
}

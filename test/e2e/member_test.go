//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/test/cluster/walk"
)

// TestMemberRefusals: what means nothing is refused with what to do instead, and nothing has
// changed. What would cost the quorum TestReplaceMember has refused.
func TestMemberRefusals(t *testing.T) {
	list := run(t, "member", "list")
	list.wantExit(t, 0)
	list.wantStdout(t, "node0", "node1", "node2", "3 voters", "quorum 2", "can lose 1")

	for _, test := range []struct {
		args []string
		want []string
	}{
		{[]string{"remove", "nobody", "--yes"}, []string{"nobody", "node0", "node1", "node2"}},
		{[]string{"promote", "node1", "--yes"}, []string{"node1", "voter"}},
		{[]string{"replace", "node1", "--yes"}, []string{"node1", "answers", "--force"}},
		{[]string{"add", "node1", "--peer-urls", "https://10.0.0.9:2380", "--yes"}, []string{"node1"}},
		{[]string{"add", "node9", "--peer-urls", "https://" + node(t, "node1").IP + ":2380", "--yes"}, []string{"node1"}},
		{[]string{"move-leader", "nobody", "--yes"}, []string{"nobody", "node0"}},
	} {
		got := runWithCerts(t, append([]string{"member"}, test.args...)...)
		got.wantExit(t, 1)
		got.wantStderr(t, append(test.want, "hint: ")...)
	}
	asked := runWithCerts(t, "member", "remove", "node2")
	asked.wantExit(t, 2)
	asked.wantStderr(t, "there is nobody to ask", "--yes")

	wantWhole(t)
}

// TestMoveLeader moves the leadership, to a given member and to whom it likes.
func TestMoveLeader(t *testing.T) {
	leads := func() string {
		for _, m := range statusOf(t).Items[0].Members {
			if m.Status != nil && m.Status.Leader == m.Status.MemberID {
				return m.Node
			}
		}
		return ""
	}
	first := leads()
	to := follower(t).Name
	runWithCerts(t, "member", "move-leader", to, "--yes").wantExit(t, 0)
	if now := leads(); now != to {
		t.Errorf("the leader is %s, want %s", now, to)
	}
	runWithCerts(t, "member", "move-leader", "--yes").wantExit(t, 0)
	if now := leads(); now == to || now == "" {
		t.Errorf("the leader is still %s (it was %s)", now, first)
	}
}

// TestLearner adds a fourth member as a learner, promotes it when it has caught up, and
// removes it again.
func TestLearner(t *testing.T) {
	n := node(t, "node2")
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
		defer cancel()
		if err := n.RemoveTwin(ctx); err != nil {
			t.Error(err)
		}
		waitReady(t)
	})
	add := func(more ...string) result {
		return runWithCerts(t, append([]string{"member", "add", n.TwinName(), "--peer-urls", n.TwinPeer()}, more...)...)
	}
	planned := add("--dry-run")
	planned.wantExit(t, 0)
	planned.wantStdout(t, "learner", "3 voters")
	if got := run(t, "member", "list"); strings.Contains(got.stdout, n.TwinPeer()) {
		t.Fatalf("--dry-run added it: %s", got.stdout)
	}
	added := add("--yes")
	added.wantExit(t, 0)
	members := initialCluster(t, added.stdout)
	_, command, _ := strings.Cut(added.stdout, "kubectl etcd member promote ")
	id, _, _ := strings.Cut(command, " ") // it has no name before it was started
	early := runWithCerts(t, "member", "promote", id, "--yes", "--wait", "1s")
	early.wantExit(t, 1)
	early.wantStderr(t, "not started", "hint: ")

	ctx, waited := context.WithTimeout(t.Context(), 5*time.Minute)
	defer waited()
	if err := n.StartTwin(ctx, members); err != nil {
		t.Fatal(err)
	}
	promoted := runWithCerts(t, "member", "promote", n.TwinName(), "--yes")
	promoted.wantExit(t, 0)
	promoted.wantStdout(t, "4 voters")
	promoted.wantStderr(t, "%")

	removed := runWithCerts(t, "member", "remove", n.TwinName(), "--yes", "-o", "json")
	removed.wantExit(t, 0)
	run(t, "member", "list").wantStdout(t, "3 voters", "quorum 2", "can lose 1")
}

// initialCluster is what an added member has to be started with, as was printed.
func initialCluster(t *testing.T, printed string) string {
	t.Helper()
	for line := range strings.Lines(printed) {
		_, value, found := strings.Cut(line, "ETCD_INITIAL_CLUSTER=")
		if !found {
			continue
		}
		return strings.Trim(strings.TrimSpace(value), `"'`)
	}
	t.Fatalf("no ETCD_INITIAL_CLUSTER was printed: %s", printed)
	return ""
}

// TestReplaceMember: a node's etcd loses its disk, what would cost the quorum then is refused, and
// by the printed steps, word for word, there are three again.
func TestReplaceMember(t *testing.T) {
	n := node(t, "node2")
	lose(t, n)
	settled(t)
	eventually(t, time.Minute, "the dead member is seen", func() error {
		list, err := tryStatus(t)
		if err != nil {
			return err
		}
		if v := list.Items[0].Verdict; v.Level != "warning" || v.Healthy != 2 {
			return fmt.Errorf("the verdict is %+v, want a warning, 2 healthy", v)
		}
		return nil
	})
	refused := runWithCerts(t, "member", "remove", "node1", "--yes", "--timeout", "3s")
	refused.wantExit(t, 1)
	refused.wantStderr(t, "without node1 there would be no quorum", "hint: ")
	refused = runWithCerts(t, "member", "add", "node9", "--peer-urls", "https://10.0.0.9:2380", "--yes", "--timeout", "3s")
	refused.wantExit(t, 1)
	refused.wantStderr(t, "only 2 of 3 voters are healthy", "hint: ")
	run(t, "member", "list", "--timeout", "3s").wantStdout(t, "3 voters", "can lose 0", "no answer")

	planned := runWithCerts(t, "member", "replace", "node2", "--dry-run", "--timeout", "3s")
	planned.wantExit(t, 0)
	planned.wantStdout(t, "remove", "add", "node2")
	got := runWithCerts(t, "member", "replace", "node2", "--yes", "--timeout", "3s", "-o", "json")
	got.wantExit(t, 0)
	var report struct {
		Steps []walk.Step `json:"nextSteps"`
	}
	if err := json.Unmarshal([]byte(got.stdout), &report); err != nil || len(report.Steps) == 0 {
		t.Fatalf("no steps: %v: %s", err, got.stdout)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	now, later := walk.Split(report.Steps)
	var log strings.Builder
	err := walk.Steps(ctx, shared, now, &log)
	t.Logf("walked:%s", log.String())
	if err != nil {
		t.Fatal(err)
	}
	waitReady(t)
	wantWhole(t)
	if err := walk.Steps(ctx, shared, later, &log); err != nil {
		t.Fatalf("%v:%s", err, log.String())
	}
}

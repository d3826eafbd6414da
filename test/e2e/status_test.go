//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/test/cluster"
)

// statusList is `status -o json`, as far as the journeys look at it.
type statusList struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Items      []struct {
		Cluster string `json:"cluster"`
		Way     string `json:"way"`
		Distro  string `json:"distro"`
		Members []struct {
			Name   string `json:"name"`
			Pod    string `json:"pod"`
			Node   string `json:"node"`
			Error  string `json:"error"`
			Status *struct {
				Version  string  `json:"version"`
				Leader   string  `json:"leader"`
				MemberID string  `json:"memberID"`
				Revision int64   `json:"revision"`
				DBSize   int64   `json:"dbSize"`
				Latency  float64 `json:"latency"`
			} `json:"status"`
		} `json:"members"`
		Verdict struct {
			Level   string `json:"level"`
			Healthy int    `json:"healthy"`
			CanLose int    `json:"canLose"`
		} `json:"verdict"`
	} `json:"items"`
}

// TestStatusNeedsNothing: a stock kubeadm cluster, no flag, nothing created.
func TestStatusNeedsNothing(t *testing.T) {
	before := restingObjects(t)

	got := run(t, "status")
	got.wantExit(t, 0)
	got.wantStdout(t, "etcd-node0", "etcd-node1", "etcd-node2", "leader", "follower", "3.7.3", "3 of 3 members healthy", "can lose 1", "different moments")

	if after := kubectl(t, "get", "pods,secrets,configmaps,serviceaccounts", "-A", "-o", "name"); after != before {
		t.Errorf("status changed what is in the cluster:\nbefore:\n%s\nafter:\n%s", before, after)
	}
}

// restingObjects are the names of what status might leave behind, once the controllers of
// a young cluster have made theirs: three looks in a row see the same.
func restingObjects(t *testing.T) (names string) {
	t.Helper()
	same := 0
	eventually(t, 2*time.Minute, "the controllers make nothing new", func() error {
		now := kubectl(t, "get", "pods,secrets,configmaps,serviceaccounts", "-A", "-o", "name")
		if same++; now != names {
			names, same = now, 1
		}
		if same < 3 {
			return fmt.Errorf("%d looks in a row saw the same", same)
		}
		return nil
	})
	return names
}

func TestStatusThroughTheTunnel(t *testing.T) {
	got := runWithCerts(t, "status", "-o", "json")
	got.wantExit(t, 0)

	var list statusList
	got.decode(t, &list)
	if len(list.Items) != 1 || list.Items[0].Cluster != "main" || list.Items[0].Way != "port-forward" || list.Items[0].Distro != "kubeadm" {
		t.Fatalf("want one kubeadm cluster, main, by port-forward: %s", got.stdout)
	}
	for _, m := range list.Items[0].Members {
		if m.Error != "" || m.Status == nil || m.Status.Latency <= 0 || m.Status.Revision < 1 || m.Status.DBSize < 1 || m.Node == "" {
			t.Errorf("member %s is not whole: %+v", m.Pod, m)
		}
	}
	if v := list.Items[0].Verdict; v.Level != "ok" || v.Healthy != 3 || v.CanLose != 1 {
		t.Errorf("verdict %+v, want ok, 3 healthy, 1 to lose", v)
	}
}

// TestStatusWithoutKubernetes runs where the members' own addresses are reachable.
func TestStatusWithoutKubernetes(t *testing.T) {
	got := onNode(t, node(t, "node0"), "status", "--endpoints", endpoints(t), "-o", "json")
	got.wantExit(t, 0)
	var list statusList
	got.decode(t, &list)
	if len(list.Items) != 1 || list.Items[0].Way != "direct" || len(list.Items[0].Members) != 3 || list.Items[0].Verdict.Healthy != 3 {
		t.Errorf("want three healthy members, reached directly: %s", got.stdout)
	}
}

// TestStatusWithOneNodeDown: the dead one shows in its row within --timeout, the
// others are whole, by either way.
func TestStatusWithOneNodeDown(t *testing.T) {
	stop(t, cluster.Machine, node(t, "node2"))
	settled(t)

	for name, args := range map[string][]string{
		"exec":    {"status", "--timeout", "4s", "-o", "json"},
		"forward": append([]string{"status", "--timeout", "4s", "-o", "json"}, certFlags()...),
	} {
		t.Run(name, func(t *testing.T) {
			got := run(t, args...)
			got.wantExit(t, 0)
			if got.took > 15*time.Second {
				t.Errorf("it took %s with a timeout of 4s a member", got.took)
			}
			var list statusList
			got.decode(t, &list)
			checkOneDead(t, list, "etcd-node2")
		})
	}

	failOn := run(t, "status", "--timeout", "4s", "--fail-on", "warning")
	failOn.wantExit(t, 3)
	failOn.wantStdout(t, "2 of 3 members healthy", "can lose none")
}

func checkOneDead(t *testing.T, list statusList, dead string) {
	t.Helper()
	if len(list.Items) != 1 || len(list.Items[0].Members) != 3 {
		t.Fatalf("want three rows: %+v", list)
	}
	for _, m := range list.Items[0].Members {
		switch {
		case m.Pod == dead && (m.Error == "" || m.Status != nil):
			t.Errorf("the row of the dead %s does not say what is wrong: %+v", dead, m)
		case m.Pod != dead && (m.Error != "" || m.Status == nil):
			t.Errorf("the row of the living %s is not whole: %+v", m.Pod, m)
		}
	}
	if v := list.Items[0].Verdict; v.Level != "warning" || v.Healthy != 2 || v.CanLose != 0 {
		t.Errorf("verdict %+v, want a warning, 2 healthy, none to lose", v)
	}
}

// TestStatusWithoutQuorum: two of three etcds stopped. API servers hang; the one
// member that is left answers for itself.
func TestStatusWithoutQuorum(t *testing.T) {
	endpoints := endpoints(t)
	stop(t, cluster.Etcd, node(t, "node1"), node(t, "node2"))

	got := onNode(t, node(t, "node0"), "status", "--timeout", "3s", "--endpoints", endpoints)
	got.wantExit(t, 3)
	got.wantStdout(t, "critical", "0 of 3 members healthy", "quorum 2 is lost")
	if rows := strings.Count(got.stdout, "does not answer: connection refused"); rows != 2 {
		t.Errorf("%d rows without an answer, want the two dead members once each:\n%s", rows, got.stdout)
	}
}

func TestStatusWatchAppendsOnAPipe(t *testing.T) {
	c := pluginCommand([]string{"KUBECONFIG=" + shared.Kubeconfig()}, append([]string{"status", "--watch", "--interval", "500ms"}, certFlags()...)...)
	got := interruptAfter(t, c, 8*time.Second)
	if got.code != 130 {
		t.Errorf("exit %d after an interrupt, want 130\n%s", got.code, got.stderr)
	}
	if n := strings.Count(got.stdout, "of 3 members healthy"); n < 2 {
		t.Errorf("%d looks in 8 s at an interval of 0.5 s, want 2 or more:\n%s", n, got.stdout)
	}
	if strings.Contains(got.stdout, "\x1b") {
		t.Errorf("escape sequences on a pipe: %q", got.stdout)
	}
}

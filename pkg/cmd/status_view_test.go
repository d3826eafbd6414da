package cmd

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/discover"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// kubeadmMember is row i of a three-member control plane; node0 leads.
func kubeadmMember(i int) etcd.MemberView {
	node := []string{"node0", "node1", "node2"}[i]
	id := etcd.ID(0x8e9e05c52164694d) + etcd.ID(i)
	return etcd.MemberView{
		Name: node, Pod: "etcd-" + node, Node: node, Quota: 2 << 30, Lag: new(uint64),
		Member: &etcd.Member{ID: id, Name: node, PeerURLs: []string{"https://10.0.0.1" + string(rune('0'+i)) + ":2380"}},
		Status: &etcd.Status{
			ClusterID: 0xcdf818194e3a8c32, MemberID: id, Leader: 0x8e9e05c52164694d,
			Version: "3.7.3", StorageVersion: "3.7.0", Revision: 184467,
			RaftTerm: 4, RaftIndex: 220184, RaftApplied: 220184, DBSize: 47395635, DBSizeInUse: 12687769,
			Latency: time.Duration(i+1) * 1300 * time.Microsecond, At: noon.Add(time.Duration(i) * 200 * time.Millisecond),
		},
	}
}

func healthyStatus() clusterStatus {
	o := etcd.Overview{At: noon, Verdict: etcd.Verdict{
		Level: etcd.LevelOK, Summary: "3 of 3 members healthy, quorum 2, can lose 1", Voters: 3, Healthy: 3, Quorum: 2, CanLose: new(1),
	}}
	for i := range 3 {
		o.Members = append(o.Members, kubeadmMember(i))
	}
	r := &reach{cluster: discover.Cluster{Name: "main", Namespace: "kube-system", Distro: "kubeadm", Owner: discover.Owner{Kind: "kubeadm"}}, way: wayForward}
	return newClusterStatus(r, o)
}

// brokenStatus: node1 lags with an alarm, node2 is down, a learner was never started.
func brokenStatus() clusterStatus {
	c := healthyStatus()
	c.Members[1].Status.RaftIndex -= 4321
	c.Members[1].Lag = new(uint64(4321))
	c.Members[1].Alarms = []string{"NOSPACE"}
	c.Members[1].Status.Errors = []string{"etcdserver: mvcc: database space exceeded"}
	c.Members[2].Status, c.Members[2].Lag = nil, nil
	c.Members[2].Error = "tunnel to kube-system/etcd-node2:2379: connection refused: the kubelet of node2 does not answer"
	c.Members = append(c.Members, etcd.MemberView{Name: "(unstarted)", Member: &etcd.Member{ID: 0xabc, PeerURLs: []string{"https://10.0.0.13:2380"}}})
	c.Spread = 200 * time.Millisecond
	c.Verdict = etcd.Verdict{
		Level: etcd.LevelCritical, Summary: "2 of 3 members healthy, quorum 2, can lose 0", CanLose: new(0),
		Reasons: []string{"etcd-node2 does not answer", "alarm NOSPACE on etcd-node1: etcd takes no writes until space is made and the alarm is disarmed"},
	}
	return c
}

func drawStatus(t *testing.T, terminal render.Terminal, wide bool, clusters ...clusterStatus) string {
	t.Helper()
	var out bytes.Buffer
	screen := render.NewScreen(&out, terminal)
	screen.Wide = wide
	viewStatus(screen, clusters)
	if err := screen.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestStatusViews(t *testing.T) {
	exec := healthyStatus()
	exec.Way = wayExec
	for i := range exec.Members {
		exec.Members[i].Status.Latency = 0
	}
	events := healthyStatus()
	events.Cluster, events.Members = "events", events.Members[:1]
	for _, test := range []struct {
		file     string
		terminal render.Terminal
		wide     bool
		clusters []clusterStatus
	}{
		{"status-80.txt", render.Terminal{TTY: true, Width: 80, Unicode: true}, false, []clusterStatus{healthyStatus()}},
		{"status-160.txt", render.Terminal{TTY: true, Width: 160, Unicode: true}, false, []clusterStatus{healthyStatus()}},
		{"status-pipe.txt", render.Terminal{Unicode: true}, false, []clusterStatus{healthyStatus()}},
		{"status-wide.txt", render.Terminal{TTY: true, Width: 80, Unicode: true}, true, []clusterStatus{healthyStatus()}},
		{"status-exec-80.txt", render.Terminal{TTY: true, Width: 80, Unicode: true}, false, []clusterStatus{exec}},
		{"status-broken-80.txt", render.Terminal{TTY: true, Width: 80, Unicode: true}, false, []clusterStatus{brokenStatus()}},
		{"status-broken-160.txt", render.Terminal{TTY: true, Width: 160, Unicode: true}, false, []clusterStatus{brokenStatus()}},
		{"status-broken-color.txt", render.Terminal{TTY: true, Width: 80, Unicode: true, Color: true}, false, []clusterStatus{brokenStatus()}},
		{"status-broken-ascii.txt", render.Terminal{TTY: true, Width: 80}, false, []clusterStatus{brokenStatus()}},
		{"status-broken-pipe.txt", render.Terminal{Unicode: true}, false, []clusterStatus{brokenStatus()}},
		{"status-two-clusters.txt", render.Terminal{TTY: true, Width: 160, Unicode: true}, false, []clusterStatus{healthyStatus(), events}},
	} {
		t.Run(test.file, func(t *testing.T) {
			got := drawStatus(t, test.terminal, test.wide, test.clusters...)
			golden(t, test.file, got)
			checkReadable(t, test.terminal, test.wide, got)
		})
	}
}

// checkReadable holds for every view, whatever its golden says.
func checkReadable(t *testing.T, terminal render.Terminal, wide bool, got string) {
	t.Helper()
	if !terminal.Color && strings.Contains(got, "\x1b") {
		t.Error("there are escapes in it")
	}
	if !terminal.Unicode && strings.ContainsFunc(got, func(r rune) bool { return r > 127 }) {
		t.Error("it isn't ASCII")
	}
	for line := range strings.Lines(got) {
		line = strings.TrimSuffix(line, "\n")
		if n := ansi.StringWidth(line); terminal.TTY && !wide && n > terminal.Width {
			t.Errorf("%d cells: %s", n, line)
		}
		if strings.HasSuffix(line, " ") {
			t.Errorf("trailing space: %q", line)
		}
	}
}

func TestMemberRole(t *testing.T) {
	screen := render.NewScreen(&bytes.Buffer{}, render.Terminal{})
	leader, follower, down, unstarted, learner, lost := kubeadmMember(0), kubeadmMember(1), kubeadmMember(2), etcd.MemberView{Member: &etcd.Member{}}, kubeadmMember(1), kubeadmMember(1)
	down.Status, learner.Status.Learner, lost.Status.Leader = nil, true, 0
	for want, m := range map[string]etcd.MemberView{
		"leader": leader, "follower": follower, "no answer": down, "unstarted": unstarted, "learner": learner, "no leader": lost,
	} {
		if got := memberRole(screen, m).Text; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestStatusPrintsTheStructOfTheView(t *testing.T) {
	s, out, _ := testSession(nil)
	s.output = "jsonpath={.kind} {.items[0].metadata.name} {.items[0].verdict.level} {.items[0].spread} {.items[0].members[0].status.latency}"
	if err := s.complete(); err != nil {
		t.Fatal(err)
	}
	o := statusOptions{target: newTarget(s)}
	if err := o.print([]clusterStatus{healthyStatus()}, false); err != nil {
		t.Fatal(err)
	}
	if want := "ClusterStatusList main ok 0.4 0.0013"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestFailOn(t *testing.T) {
	ok, warning, critical := healthyStatus(), healthyStatus(), brokenStatus()
	warning.Verdict.Level = etcd.LevelWarning
	for _, test := range []struct {
		failOn   string
		clusters []clusterStatus
		want     error
	}{
		{"critical", []clusterStatus{ok, warning}, nil},
		{"critical", []clusterStatus{ok, critical}, exitWith(3)},
		{"warning", []clusterStatus{ok, warning}, exitWith(3)},
		{"warning", []clusterStatus{ok}, nil},
		{"never", []clusterStatus{critical}, nil},
	} {
		o := statusOptions{failOn: test.failOn}
		if got := o.verdict(test.clusters); !errors.Is(got, test.want) {
			t.Errorf("%s: got %v, want %v", test.failOn, got, test.want)
		}
	}
}

// twice ends a watch at its second write.
type twice struct {
	bytes.Buffer
	writes int
	end    func()
}

func (w *twice) Write(p []byte) (int, error) {
	if w.writes++; w.writes == 2 {
		w.end()
	}
	return w.Buffer.Write(p)
}

// On a pipe a watch appends, and its end by interrupt is exit code 130 without words.
func TestWatchAppends(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s, _, _ := testSession(nil)
	out := &twice{end: cancel}
	s.Out = out
	o := statusOptions{target: newTarget(s), watch: true, interval: time.Millisecond}
	o.timeout = time.Second
	r := &reach{cluster: discover.Cluster{Name: "main"}, way: wayDirect, refused: &refusals{}, sources: []etcd.Source{{Name: "a", Err: errors.New("gone")}}}
	if err := o.repeat(ctx, []*reach{r}); !errors.Is(err, exitWith(exitInterrupted)) {
		t.Errorf("got %v", err)
	}
	if got := out.String(); strings.Count(got, "MEMBER") != 2 || strings.Contains(got, "\x1b") {
		t.Errorf("got %q", got)
	}
}

package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/discover"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/maintain"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
)

// A member is added, said once more, and removed; what it is started with is printed.
func TestMemberAddCommand(t *testing.T) {
	c, reach := upkeepCluster(t, etcdtest.Options{})
	fresh := c.Prepare()
	line := "member add d --peer-urls " + fresh.PeerURL
	code, stdout, stderr := upkeep(t.Context(), line+" --yes", reach)
	if code != exitOK {
		t.Fatalf("code %d\n%s%s", code, stdout, stderr)
	}
	for _, want := range []string{
		"ok: d is added as a learner\n", "  before    3 voters, quorum 2, 3 healthy: can lose 1\n", "  now       3 voters, quorum 2, 3 healthy: can lose 1, and 1 learner\n",
		"  ETCD_NAME=d\n", "  ETCD_INITIAL_CLUSTER_STATE=existing\n", "d=" + fresh.PeerURL, "kubectl etcd member promote ", " --yes --endpoints http://",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("stdout lacks %q:\n%s", want, stdout)
		}
	}
	if !strings.Contains(stderr, "1/1 add d as a learner") || !strings.Contains(stderr, "1/1 done") {
		t.Errorf("told %s", stderr)
	}

	code, stdout, stderr = upkeep(t.Context(), line+" --yes -o json", reach)
	var said struct {
		Kind        string
		Plan        maintain.MemberPlan
		Environment []string
	}
	if err := json.Unmarshal([]byte(stdout), &said); err != nil || code != exitOK || said.Plan.There == nil || len(said.Environment) != 4 || said.Kind != "MemberChange" {
		t.Errorf("once more: code %d, %v\n%s%s", code, err, stdout, stderr)
	}

	code, stdout, stderr = upkeep(t.Context(), "member remove "+said.Plan.There.ID.String()+" --yes", reach)
	if code != exitOK || !strings.Contains(stdout, "is removed\n") {
		t.Errorf("code %d\n%s%s", code, stdout, stderr)
	}
	if code, stdout, _ = upkeep(t.Context(), "member list", reach); code != exitOK || !strings.Contains(stdout, "ok: 3 voters, quorum 2, 3 healthy: can lose 1\n") {
		t.Errorf("code %d\n%s", code, stdout)
	}
}

// Interrupted between removal and addition it says where it stands, and what goes on.
func TestMemberReplaceInterrupted(t *testing.T) {
	c, reach := upkeepCluster(t, etcdtest.Options{})
	lost := c.Members[c.Follower()]
	lost.Stop()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s, out, errOut := testSession(nil)
	s.ErrOut = writerFunc(func(p []byte) (int, error) {
		if bytes.Contains(p, []byte("1/2 remove")) {
			cancel()
		}
		return errOut.Write(p)
	})
	code := s.execute(ctx, newRootCommand(s), append([]string{"member", "replace", lost.Name, "--yes", "--timeout", "2s"}, reach...))
	if code != exitInterrupted || !strings.Contains(out.String(), "not finished: done: remove "+lost.Name) || !strings.Contains(out.String(), "not done: add "+lost.Name) {
		t.Errorf("code %d\n%s%s", code, out, errOut)
	}
	if want := "to go on: kubectl etcd member add " + lost.Name + " --peer-urls " + lost.PeerURL + " --endpoints "; !strings.Contains(out.String(), want) {
		t.Errorf("stdout lacks %q:\n%s", want, out)
	}
	code, stdout, stderr := upkeep(t.Context(), "member add "+lost.Name+" --yes --timeout 2s --peer-urls "+lost.PeerURL, reach)
	if code != exitOK {
		t.Errorf("going on: code %d\n%s%s", code, stdout, stderr)
	}
}

// Members are the owner's own to change, by the owner's way for members.
func TestMembersAreLeftToTheOwner(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	owner := discover.Owner{Kind: "etcd-druid", Managed: true, Advice: "change spec.replicas", Upkeep: "set a schedule"}
	target := withKubernetes(t, server, &discover.Found{Clusters: []discover.Cluster{{Name: "main", Owner: owner, Pods: []discover.Pod{{Name: "etcd-0"}}}}}, execDialer{})
	for _, looking := range []bool{true, false} {
		o := &memberChange{target: *target, upkeepFlags: upkeepFlags{dryRun: looking}}
		f := target.explain(o.change(t.Context(), "not removed", planned("a", maintain.PlanRemove), nil), "kubectl etcd member remove")
		if diff := cmp.Diff([]string{"change spec.replicas", "to do it all the same: --override-owner"}, f.hints); diff != "" {
			t.Errorf("%s (-want +got):\n%s", f.message, diff)
		}
	}
}

func TestMemberViews(t *testing.T) {
	narrow := render.Terminal{TTY: true, Width: 80, Unicode: true}
	list := memberList{Cluster: "main", HasQuorum: new(true)}
	for i := range 3 {
		m := kubeadmMember(i)
		m.Healthy = true
		list.Members = append(list.Members, m)
	}
	dead := &list.Members[2]
	dead.Status, dead.Healthy, dead.Lag, dead.Error = nil, false, nil, "no answer in 5s"
	list.Members = append(list.Members,
		etcd.MemberView{Name: "fed2021b497bea45", Member: &etcd.Member{ID: 0xfed2021b497bea45, PeerURLs: []string{"https://10.0.0.4:2380"}, Learner: true}, Error: "added, but never started"},
		etcd.MemberView{Name: "etcd-old", Pod: "etcd-old", Node: "old", Error: "it is in no member list"})
	overview := etcd.Overview{Members: list.Members, Verdict: etcd.Verdict{HasQuorum: new(true)}}
	list.Shape = maintain.ShapeOf(overview)
	replaced := membership{Cluster: "main", Plan: maintain.PlanReplace(etcd.Overview{Members: list.Members[:3], Verdict: overview.Verdict}, *dead,
		maintain.ReplaceOptions{With: maintain.NewMember{Name: dead.Member.Name, PeerURLs: dead.Member.PeerURLs}})}
	stopped := replaced
	stopped.Report = &maintain.MemberReport{Done: replaced.Plan.Steps[:1], Stands: "done: remove node2; not done: add node2", After: &replaced.Plan.After}
	for _, test := range []struct {
		name     string
		terminal render.Terminal
		view     func(s *render.Screen)
	}{
		{"members-80.txt", narrow, func(s *render.Screen) { viewMemberList(s, list) }},
		{"members-pipe.txt", render.Terminal{}, func(s *render.Screen) { viewMemberList(s, list) }},
		{"member-plan-80.txt", narrow, func(s *render.Screen) { viewMemberPlan(s, replaced) }},
		{"member-stopped-80.txt", narrow, func(s *render.Screen) { viewMemberReport(s, stopped) }},
		{"member-joining-pipe.txt", render.Terminal{}, func(s *render.Screen) {
			j := maintain.Joining{Member: etcd.Member{ID: 0xab, Name: "node2", PeerURLs: []string{"https://10.0.0.3:2380"}}, Node: "node2", InitialCluster: "node2=https://10.0.0.3:2380", Promote: "kubectl etcd member promote ab --yes"}
			viewJoining(s, membership{Next: j.NodeSteps(), Environment: j.Environment(), Promote: j.Promote, Machine: kubeadmJoin()})
		}},
	} {
		var out bytes.Buffer
		screen := render.NewScreen(&out, test.terminal)
		test.view(screen)
		if err := screen.Flush(); err != nil {
			t.Fatal(err)
		}
		golden(t, test.name, out.String())
	}
}

func TestAgentDefragUsage(t *testing.T) {
	for line, want := range map[string]string{
		"agent manifest --defrag":                                             "--image is missing",
		"agent manifest --defrag --image x --schedule sundays":                `--schedule "sundays" is no schedule of cron`,
		"agent manifest --defrag --image x --archive /a --recipient age1":     "--defrag and --archive exclude each other",
		"agent manifest --defrag --image x --min-free lots":                   `--min-free "lots" is no size`,
		"agent manifest --defrag --image x --min-fragmentation 200%":          `--min-fragmentation "200%" is not a share`,
		"agent manifest --defrag --image x --settle -1s":                      `--settle "-1s" is less than 0`,
		"agent manifest --image x --no-encryption --keep-last 1 --defrag=no!": "invalid argument",
	} {
		if code, _, stderr := upkeep(t.Context(), line, nil); code != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%s: code %d, %s, want %q", line, code, stderr, want)
		}
	}
}

// Another etcd on the node, or a pod of one that is going, does not hide how the lost one is kept.
func TestLayoutFor(t *testing.T) {
	pod := func(name, dir, peer string) discover.Pod {
		return discover.Pod{Name: name, Manifest: name, DataDir: dir, MetricsPort: 2381, PeerURLs: []string{peer}}
	}
	c := discover.Cluster{Pods: []discover.Pod{pod("etcd", "/var/lib/etcd", "https://a"), pod("etcd-twin", "/var/lib/etcd-twin", "https://b")}}
	if got := layoutFor(c, []string{"https://a"}); got == nil || got.DataDir != "/var/lib/etcd" || got.Manifest != "etcd" {
		t.Errorf("of the lost one: %+v", got)
	}
	if got := layoutFor(c, []string{"https://c"}); got != nil {
		t.Errorf("of one that no pod is of, where they differ: %+v", got)
	}
	c.Pods = c.Pods[:1]
	if got := layoutFor(c, []string{"https://c"}); got == nil || got.Manifest != "etcd" {
		t.Errorf("of one that no pod is of, where all are alike: %+v", got)
	}
}

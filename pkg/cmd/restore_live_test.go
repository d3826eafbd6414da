package cmd

import (
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/discover"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
)

func TestSummarizeTheRunningCluster(t *testing.T) {
	overview := etcd.Overview{Members: []etcd.MemberView{
		{Name: "a", Member: &etcd.Member{Name: "a", PeerURLs: []string{"https://10.0.0.1:2380"}}, Status: &etcd.Status{Revision: 7}},
		{Name: "b", Member: &etcd.Member{Name: "b", PeerURLs: []string{"https://10.0.0.2:2380"}}, Error: "no answer in 5s"},
		{Name: "learner", Member: &etcd.Member{Name: "learner", Learner: true}, Status: &etcd.Status{Revision: 9}},
		{Name: "unstarted", Member: &etcd.Member{}},
		{Name: "in no list", Status: &etcd.Status{Revision: 8}},
	}}
	got := summarize(overview)
	want := running{highest: 9, members: []restore.Target{
		{Name: "a", PeerURLs: []string{"https://10.0.0.1:2380"}}, {Name: "b", PeerURLs: []string{"https://10.0.0.2:2380"}},
	}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(running{})); diff != "" {
		t.Errorf("a dead voter stays, a learner and an unstarted member go (-want +got):\n%s", diff)
	}
}

func TestLiveRefusesHalfAnAnswer(t *testing.T) {
	member := restore.Target{Name: "a"}
	for _, test := range []struct {
		name  string
		given []restore.Target
		view  etcd.Overview
		found running
		want  string
	}{
		{"all there", nil, etcd.Overview{}, running{members: []restore.Target{member}, highest: 7}, ""},
		{"nobody answers", nil, etcd.Overview{}, running{members: []restore.Target{member}}, "no member answers"},
		{"no list", nil, etcd.Overview{}, running{highest: 7}, "could list"},
		{"no list, but they are given", []restore.Target{member}, etcd.Overview{}, running{highest: 7}, ""},
		{"two lists", nil, etcd.Overview{Disagree: true}, running{members: []restore.Target{member}, highest: 7}, "don't agree"},
	} {
		o := &restoreOptions{members: test.given}
		err := o.enough(test.view, test.found)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}

// What is of one etcd of a control plane is not put in another's place.
func TestRunningFitsTheSnapshot(t *testing.T) {
	whole, events, foreign := etcd.Contents{Kubernetes: true}, etcd.Contents{Kubernetes: true, Partial: true}, etcd.Contents{}
	controlPlane := func(name string) discover.Cluster { return discover.Cluster{Name: name, ControlPlane: true} }
	for _, test := range []struct {
		cluster  discover.Cluster
		contents etcd.Contents
		want     string // empty: it fits
	}{
		{controlPlane("main"), whole, ""},
		{controlPlane("main"), events, "the snapshot holds no namespaces: it is not of main"},
		{controlPlane("events"), events, ""},
		{controlPlane("events"), whole, "and events does not: it is of main"},
		{controlPlane("main"), foreign, ""},
		{controlPlane("events"), foreign, ""},
		{discover.Cluster{Name: "shop"}, events, ""},
		{discover.Cluster{Name: "10.0.0.1:2379"}, whole, ""}, // --endpoints
	} {
		err := running{cluster: test.cluster}.fits(test.contents)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v in %s: %v, want %q", test.contents, test.cluster.Name, err, test.want)
		}
	}
}

func TestLayoutOfTheRunningCluster(t *testing.T) {
	pod := func(dir string) discover.Pod {
		return discover.Pod{
			Manifest: "etcd-events", DataDir: dir, MetricsPort: 2391,
			Settings: discover.Settings{"data-dir": {Value: "/data", From: discover.FromFlag}},
		}
	}
	of := func(pods ...discover.Pod) *restore.StepOptions {
		return running{cluster: discover.Cluster{Pods: pods}}.layout()
	}
	want := &restore.StepOptions{Manifest: "etcd-events", DataDir: "/disk/events", DataDirFlag: "/data", HealthAddr: "127.0.0.1:2391"}
	if diff := cmp.Diff(want, of(pod("/disk/events"), pod("/disk/events"))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := of(pod("/disk/events"), pod("/disk2/events")); got != nil {
		t.Errorf("nodes that differ: %+v", got)
	}
	byEnv := pod("/disk/events")
	byEnv.Settings["data-dir"] = discover.Setting{Value: "/data", From: discover.FromEnv}
	if got := of(byEnv); got == nil || got.DataDirFlag != "" {
		t.Errorf("a directory that stands in no command line: %+v", got)
	}
	if got := of(pod("")); got != nil {
		t.Errorf("without a directory: %+v", got)
	}
	if got := of(); got != nil {
		t.Errorf("without pods: %+v", got)
	}
}

// kubeadm's own places are main's: of the events they are never named.
func TestStepsOfEventsNeedTheRunningCluster(t *testing.T) {
	plan := kubeadmPlan()
	s, _, _ := testSession(nil)
	o := &restoreOptions{target: newTarget(s)}
	if steps := o.steps(&plan, running{}); len(steps) == 0 {
		t.Error("no steps for a whole Kubernetes")
	}
	plan.Snapshot.Contents.Partial = true
	if steps := o.steps(&plan, running{}); len(steps) > 0 {
		t.Errorf("steps for the events: %+v", steps[0])
	}
	got := drawRestore(t, func(screen *render.Screen) { viewRestore(screen, restored{Report: restore.Report{Plan: plan}}) })
	if !strings.Contains(got, "--live --etcd NAME") {
		t.Errorf("nothing says why there are no steps:\n%s", got)
	}
}

func TestMemberHere(t *testing.T) {
	address := func(cidr string) net.Addr {
		ip, network, err := net.ParseCIDR(cidr)
		if err != nil {
			t.Fatal(err)
		}
		return &net.IPNet{IP: ip, Mask: network.Mask}
	}
	own := []net.Addr{address("127.0.0.1/8"), address("10.0.0.2/24"), address("fd00::2/64")}
	target := func(name, peer string) restore.Target { return restore.Target{Name: name, PeerURLs: []string{peer}} }
	a, b, c := target("a", "https://10.0.0.1:2380"), target("b", "https://10.0.0.2:2380"), target("c", "https://[fd00::2]:2380")
	for _, test := range []struct {
		name  string
		build []restore.Target
		want  string
	}{
		{"elsewhere", []restore.Target{a}, ""},
		{"one of two is here", []restore.Target{a, b}, "b"},
		{"IPv6", []restore.Target{a, c}, "c"},
		{"a name is not looked up", []restore.Target{target("d", "https://localhost:2380")}, ""},
		{"all on one machine", []restore.Target{b, c}, ""},
	} {
		if got := memberHere(test.build, own); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

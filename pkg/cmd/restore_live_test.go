package cmd

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
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
		{"all there", nil, etcd.Overview{}, running{[]restore.Target{member}, 7}, ""},
		{"nobody answers", nil, etcd.Overview{}, running{members: []restore.Target{member}}, "no member answers"},
		{"no list", nil, etcd.Overview{}, running{highest: 7}, "could list"},
		{"no list, but they are given", []restore.Target{member}, etcd.Overview{}, running{highest: 7}, ""},
		{"two lists", nil, etcd.Overview{Disagree: true}, running{[]restore.Target{member}, 7}, "don't agree"},
	} {
		o := &restoreOptions{members: test.given}
		err := o.enough(test.view, test.found)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}

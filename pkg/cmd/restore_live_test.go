package cmd

import (
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

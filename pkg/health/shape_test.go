package health

import (
	"fmt"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

func shapeCases() []checkCase {
	return []checkCase{
		{id: "H01", name: "three", change: resize(3), level: OK, says: "3 voters"},
		{id: "H01", name: "one", change: resize(1), level: Info, says: "no failure can be borne"},
		{id: "H01", name: "two", change: resize(2), level: Critical, says: "worse than 1"},
		{id: "H01", name: "four", change: resize(4), level: Warning, says: "no more failures than 3", mends: "learner"},
		{id: "H01", name: "seven", change: resize(7), level: Info, says: "waits for 4"},
		{id: "H01", name: "nine", change: resize(9), level: Warning, says: "more than 7"},
		{id: "H01", name: "a learner is no voter", change: asLearner(2), level: Critical, says: "2 voters"},
		{id: "H01", name: "no list", change: noListAtAll, level: Unmeasured, says: noList},

		{id: "H02", name: "all well", change: resize(3), level: OK, says: "1 more may fail"},
		{id: "H02", name: "one down", change: func(f *Facts) { kill(f, 1) }, level: Warning, says: "no further voter"},
		{id: "H02", name: "two down", change: func(f *Facts) { kill(f, 1); kill(f, 2) }, level: Critical, says: "quorum is lost", mends: "--from-data-dir"},
		{id: "H02", name: "none answers", change: killAll, level: Unmeasured, says: "no linearizable read"},
		{id: "H02", name: "single", change: resize(1), level: OK, says: "the only voter"},
		{id: "H02", name: "passes, but few are seen", level: Warning, says: "only 1 voters", change: func(f *Facts) {
			kill(f, 1)
			kill(f, 2)
			has := true
			f.Overview.Verdict.HasQuorum = &has
		}},

		{id: "H03", name: "all started", change: resize(3), level: OK, says: "all 3"},
		{id: "H03", name: "voter", level: Critical, says: "voter 12 never started", mends: "member remove", change: func(f *Facts) {
			unnamed(f, 2, false)
		}},
		{id: "H03", name: "learner", level: Warning, says: "learner 12 never started", change: func(f *Facts) { unnamed(f, 2, true) }},
		{id: "H03", name: "no list", change: noListAtAll, level: Unmeasured, says: noList},

		{id: "H04", name: "none", change: resize(3), level: OK, says: "no learner"},
		{id: "H04", name: "old and ready", change: asLearner(2), level: Warning, says: "100% of the leader's log", mends: "member promote 12"},
		{id: "H04", name: "old and behind", level: Warning, says: "50% of the leader's log", mends: "can't be promoted", change: func(f *Facts) {
			asLearner(2)(f)
			progress := f.Members[0].Vars.Value.Raft.Progress
			progress[0x12] = etcd.Progress{Match: 4500, State: "StateSnapshot"}
		}},
		{id: "H04", name: "new", level: Info, says: "runs for 1m0s", change: func(f *Facts) {
			asLearner(2)(f)
			f.Members[2].Pod.Started = noon.Add(-time.Minute)
		}},
		{id: "H04", name: "new is longer by our own limit", level: Warning, limits: []string{"learner-age=30s"}, change: func(f *Facts) {
			asLearner(2)(f)
			f.Members[2].Pod.Started = noon.Add(-time.Minute)
		}},
		{id: "H04", name: "new by its process", level: Info, says: "runs for 1m0s", change: func(f *Facts) {
			asLearner(2)(f)
			f.Members[2].Pod = nil
			f.Members[2].Now = Known(metrics(fmt.Sprintf("process_start_time_seconds %d\n", noon.Add(-time.Minute).Unix()), noon))
		}},
		{id: "H04", name: "of an unknown age", level: Info, says: "how long it runs is not known", change: func(f *Facts) {
			asLearner(2)(f)
			f.Members[2].Pod, f.Members[2].Now = nil, Unknown[*etcd.Metrics]("403")
		}},
		{id: "H04", name: "down", level: Warning, says: "does not answer (no answer in 5s), it has 50%", mends: "promoted while it is down", change: func(f *Facts) {
			asLearner(2)(f)
			kill(f, 2)
			f.Members[2].View.Source = "etcd-node2"
			f.Members[0].Vars.Value.Raft.Progress[0x12] = etcd.Progress{Match: 4500, State: "StateProbe"}
		}},
		{id: "H04", name: "one that no way leads to", level: Info, says: "how long it runs is not known", change: func(f *Facts) {
			asLearner(2)(f)
			kill(f, 2)
			f.Members[2].Pod = nil
		}},
		{id: "H04", name: "the leader is silent", level: Warning, says: "not known", change: func(f *Facts) {
			asLearner(2)(f)
			f.Members[0].Vars = Unknown[etcd.Vars]("403")
		}},
		{id: "H04", name: "no list", change: noListAtAll, level: Unmeasured, says: noList},

		{id: "H05", name: "apart", change: resize(3), level: OK, says: "3 voters on 3 nodes"},
		{id: "H05", name: "two on a node", level: Critical, says: "etcd-node0 and etcd-node1 share node node0", change: func(f *Facts) {
			f.Members[1].Pod.Node = "node0"
		}},
		{id: "H05", name: "a zone with the quorum", level: Warning, says: "zone zone-0 holds 2 voters", change: func(f *Facts) {
			f.Members[1].Pod.Zone = "zone-0"
		}},
		{id: "H05", name: "one zone", level: Info, says: "one zone, a", change: func(f *Facts) {
			for i := range f.Members {
				f.Members[i].Pod.Zone = "a"
			}
		}},
		{id: "H05", name: "zones unknown", level: OK, says: "topology.kubernetes.io/zone", change: func(f *Facts) {
			f.Members[1].Pod.Zone = ""
		}},
		{id: "H05", name: "nodes unknown", level: Unmeasured, says: "its node is not known", change: func(f *Facts) {
			for i := range f.Members {
				f.Members[i].Pod, f.Members[i].View.Node = nil, ""
			}
		}},

		{id: "H06", name: "each its own", change: resize(3), level: OK, says: "every member has its pod"},
		{id: "H06", name: "orphan", level: Warning, says: "(12) has no pod", mends: "member remove 12", change: func(f *Facts) {
			f.Members[2].Pod = nil
		}},
		{id: "H06", name: "orphan, and no further one may fail", level: Critical, says: "no further member may fail", change: func(f *Facts) {
			kill(f, 2)
			f.Members[2].Pod = nil
		}},
		{id: "H06", name: "stray pod", level: Critical, says: "runs member 12, which is in no list", mends: "kubeadm reset", change: func(f *Facts) {
			f.Members[2].View.Member = nil
		}},
		{id: "H06", name: "a pod that is silent may be a member", level: OK, says: "no answer in 5s", change: func(f *Facts) {
			kill(f, 2)
			f.Members[2].View.Member = nil
		}},
		{id: "H06", name: "no Kubernetes", level: Unmeasured, says: "--endpoints", change: func(f *Facts) {
			f.Kubernetes, f.WithoutKubernetes = nil, "reached by --endpoints"
		}},

		{id: "H07", name: "same", change: resize(3), level: OK, says: "3 members list"},
		{id: "H07", name: "one lists fewer", level: Critical, says: "etcd-node2: node0 (10), node1 (11)", mends: "3.5.26", change: func(f *Facts) {
			f.Members[2].List.Value = f.Members[2].List.Value[:2]
		}},
		{id: "H07", name: "other roles", level: Critical, says: "learner", change: func(f *Facts) {
			f.Members[1].List.Value[0].Learner = true
		}},
		{id: "H07", name: "one is silent", level: OK, says: "etcd-node1: no answer in 5s", change: func(f *Facts) { kill(f, 1) }},
		{id: "H07", name: "all are", change: killAll, level: Unmeasured, says: "no answer"},

		{id: "H08", name: "one", change: resize(3), level: OK, says: "one cluster, c1"},
		{id: "H08", name: "two clusters", level: Critical, says: "cluster c2: etcd-node1", change: func(f *Facts) {
			f.Members[1].Statuses[0].ClusterID = 0xc2
		}},
		{id: "H08", name: "two leaders", level: Critical, says: "2 members are called leader at term 4", change: func(f *Facts) {
			f.Members[1].Statuses[0].Leader = 0x11
		}},
		{id: "H08", name: "an election between two answers", level: OK, says: "one cluster", change: func(f *Facts) {
			f.Members[1].Statuses[0].Leader, f.Members[1].Statuses[0].RaftTerm = 0x11, 5
		}},
		{id: "H08", name: "a later answer counts", level: OK, says: "one cluster", change: func(f *Facts) {
			right := f.Members[1].Statuses[0]
			f.Members[1].Statuses[0].Leader = 0x11
			f.Members[1].Statuses = append(f.Members[1].Statuses, right)
		}},
		{id: "H08", name: "silence", change: killAll, level: Unmeasured, says: "no answer"},

		{id: "H09", name: "own names", change: resize(3), level: OK, says: "name of its own"},
		{id: "H09", name: "twice", level: Warning, says: "2 members are called node0", change: func(f *Facts) { rename(f, 1, "node0") }},
		{id: "H09", name: "default", level: Warning, says: "without --name", change: func(f *Facts) { rename(f, 1, "default") }},
		{id: "H09", name: "no list", change: noListAtAll, level: Unmeasured, says: noList},
	}
}

func rename(f *Facts, i int, name string) {
	member := *f.Members[i].View.Member
	member.Name = name
	f.Members[i].View.Member = &member
}

// unnamed makes member i one that was added and never started.
func unnamed(f *Facts, i int, learner bool) {
	kill(f, i)
	member := *f.Members[i].View.Member
	member.Name, member.Learner, member.ClientURLs = "", learner, nil
	f.Members[i].View.Member = &member
	f.Overview = overview(f.Members)
}

// asLearner makes member i a learner.
func asLearner(i int) func(*Facts) {
	return func(f *Facts) {
		member, status := *f.Members[i].View.Member, *f.Members[i].View.Status
		member.Learner, status.Learner = true, true
		f.Members[i].View.Member, f.Members[i].View.Status = &member, &status
		f.Overview = overview(f.Members)
	}
}

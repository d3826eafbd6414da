package health

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// healthyMember is member i of list; the first one leads.
func healthyMember(list []etcd.Member, i int) Member {
	listed := list[i]
	status := etcd.Status{
		ClusterID: 0xc1, MemberID: listed.ID, Leader: list[0].ID, Version: "3.7.3", StorageVersion: "3.7.0",
		Revision: 5000, RaftTerm: 4, RaftIndex: 9000, RaftApplied: 9000,
		DBSize: 100 << 20, DBSizeInUse: 80 << 20, DBSizeQuota: 2 << 30, Latency: time.Millisecond, At: noon,
	}
	name := fmt.Sprintf("node%d", i)
	m := Member{
		View: etcd.MemberView{
			Name: name, Pod: "etcd-" + name, Node: name, Member: &listed, Status: &status, Quota: 2 << 30, Healthy: true,
			Certificates: []etcd.Certificate{{Side: etcd.ServerSide, Subject: "CN=" + name, NotAfter: noon.AddDate(1, 0, 0)}},
		},
		Statuses: []etcd.Status{status},
		List:     Known(slices.Clone(list)),
		Vars:     Known(healthyVars(list, i)),
		Reads:    Known(Reads{Linearizable: times(40, 2*time.Millisecond), Serializable: times(40, time.Millisecond)}),
		Clock:    Known(Clock{At: noon, Asked: noon.Add(100 * time.Millisecond), Answered: noon.Add(110 * time.Millisecond)}),
		Ready:    Known(map[string]bool{"data_corruption": true, "serializable_read": true, "linearizable_read": true, "non_learner": true}),
		Hash:     Known(etcd.Hash{MemberID: listed.ID, Hash: 0xabcdef, HashRevision: 4990, CompactRevision: 4000, Revision: 5000}),
		Pod: &Pod{
			Name: "etcd-" + name, Node: name, Zone: fmt.Sprintf("zone-%d", i), NodeReady: true, Ready: true, Started: noon.AddDate(0, 0, -30),
			PriorityClass: "system-node-critical", CPURequest: 0.1, NodeMemory: 16 << 30,
		},
		Settings:         Known(healthySettings(name, i)),
		PeerCertificates: Known([]etcd.Certificate{{Side: etcd.ServerSide, Subject: "CN=" + name, NotAfter: noon.AddDate(1, 0, 0)}}),
	}
	m.Before = Known(metrics(healthyMetrics(i == 0), noon.Add(-10*time.Second)))
	m.Now = Known(metrics(healthyMetrics(i == 0), noon))
	return m
}

// healthySettings are kubeadm's.
func healthySettings(name string, i int) map[string]string {
	return map[string]string{
		"name": name, "data-dir": "/var/lib/etcd", "snapshot-count": "10000",
		"feature-gates": "InitialCorruptCheck=true", "watch-progress-notify-interval": "5s",
		"client-cert-auth": "true", "peer-client-cert-auth": "true",
		"listen-client-urls":          fmt.Sprintf("https://127.0.0.1:2379,https://10.0.0.%d:2379", i+1),
		"listen-peer-urls":            fmt.Sprintf("https://10.0.0.%d:2380", i+1),
		"advertise-client-urls":       fmt.Sprintf("https://10.0.0.%d:2379", i+1),
		"initial-advertise-peer-urls": fmt.Sprintf("https://10.0.0.%d:2380", i+1),
		"listen-metrics-urls":         "http://127.0.0.1:2381",
	}
}

func healthyVars(list []etcd.Member, i int) etcd.Vars {
	vars := etcd.Vars{Argv: []string{"etcd"}, Raft: etcd.RaftStatus{State: "StateFollower", Commit: 9000}}
	if i == 0 {
		vars.Raft.State = "StateLeader"
		vars.Raft.Progress = map[etcd.ID]etcd.Progress{}
		for _, m := range list {
			vars.Raft.Progress[m.ID] = etcd.Progress{Match: 9000, Next: 9001, State: "StateReplicate"}
		}
	}
	return vars
}

func times(n int, each time.Duration) []time.Duration { return slices.Repeat([]time.Duration{each}, n) }

// metrics parses a page in the text format.
func metrics(page string, at time.Time) *etcd.Metrics {
	m, err := etcd.ReadMetrics(strings.NewReader(page), at)
	if err != nil {
		panic(err)
	}
	return m
}

// set adds lines to a member's newest metrics: "etcd_server_has_leader 0". A series that is
// there already is replaced.
func set(f *Facts, member int, lines ...string) {
	page := healthyMetrics(member == 0)
	f.Members[member].Now = Known(metrics(replaceLines(page, lines), f.At))
}

// setBefore does so for the look before.
func setBefore(f *Facts, member int, lines ...string) {
	page := healthyMetrics(member == 0)
	f.Members[member].Before = Known(metrics(replaceLines(page, lines), f.At.Add(-f.Sample)))
}

func replaceLines(page string, lines []string) string {
	for _, line := range lines {
		series, _, _ := strings.Cut(line, " ")
		kept := slices.DeleteFunc(strings.Split(page, "\n"), func(l string) bool { return strings.HasPrefix(l, series+" ") })
		page = strings.Join(kept, "\n") + line + "\n"
	}
	return page
}

// drop takes a metric out of a member's pages, as an older or a newer etcd does not have it.
func drop(f *Facts, member int, name string) {
	kept := slices.DeleteFunc(strings.Split(healthyMetrics(member == 0), "\n"), func(l string) bool { return strings.HasPrefix(l, name) })
	m := metrics(strings.Join(kept, "\n"), f.At)
	f.Members[member].Before, f.Members[member].Now = Known(m), Known(m)
}

// noMetrics: none could be read.
func noMetrics(f *Facts) {
	for i := range f.Members {
		f.Members[i].Before, f.Members[i].Now = Unknown[*etcd.Metrics]("connection refused"), Unknown[*etcd.Metrics]("connection refused")
	}
}

// histogram writes one whose observations all took about value seconds; edges are those of
// etcd's disk histograms.
func histogram(name string, count int, value float64) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# TYPE %s histogram\n", name)
	for edge := 0.001; edge < 9; edge *= 2 {
		n := 0
		if value <= edge {
			n = count
		}
		fmt.Fprintf(&b, "%s_bucket{le=\"%g\"} %d\n", name, edge, n)
	}
	fmt.Fprintf(&b, "%s_bucket{le=\"+Inf\"} %d\n%s_sum %g\n%s_count %d\n", name, count, name, value*float64(count), name, count)
	return b.String()
}

// healthyMetrics are those that the checks look at, of a member that is well.
func healthyMetrics(leader bool) string {
	is := 0
	if leader {
		is = 1
	}
	return fmt.Sprintf("etcd_server_has_leader 1\netcd_server_is_leader %d\n", is) +
		healthyRaftMetrics() + healthySpaceMetrics() + healthyLatencyMetrics() + healthyIntegrityMetrics() + healthyWiringMetrics()
}

package cmd

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/discover"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/health"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/tune"
)

// tuneFacts are what of the members' facts tuning goes by; logged is by pod.
func tuneFacts(f *health.Facts, r *reach, connects []tune.RTT, logged map[string]tune.Settings) tune.Facts {
	facts := tune.Facts{Kubernetes: tune.Unknown[bool]("whose keys they are is not known without Kubernetes")}
	facts.Compaction = tune.Unknown[time.Duration]("no API server was looked at")
	if r.kube != nil {
		facts.Kubernetes = tune.Known(r.cluster.ControlPlane)
		facts.Compaction = compactionOf(r.kube.servers)
	}
	var reads []tune.Reads
	for _, m := range f.Members {
		if m.View.Member == nil {
			continue
		}
		member := tuneMember(m, r)
		member.Logged = logged[m.View.Pod]
		facts.Members = append(facts.Members, member)
		if !m.View.Member.Learner {
			reads = append(reads, tuneReads(m))
		}
	}
	read := tune.FromReads(reads)
	means, secure := peerMeans(f.Members)
	facts.RTTs = slices.Concat(connects, read, tune.FromMetrics(means, secure, slices.Concat(connects, read)))
	return facts
}

// compactionOf is how often the API servers compact: the shortest interval of any, each of
// which counts for all (kube-apiserver's default is 5 minutes); 0: none does.
func compactionOf(servers []discover.APIServer) tune.Fact[time.Duration] {
	if len(servers) == 0 {
		return tune.Unknown[time.Duration]("no API server's pod was found")
	}
	shortest, bad := time.Duration(0), ""
	for _, server := range servers {
		text := cmp.Or(server.Flags["etcd-compaction-interval"], "5m")
		d, err := time.ParseDuration(text)
		switch {
		case err != nil:
			bad = text
		case d > 0 && (shortest == 0 || d < shortest):
			shortest = d
		}
	}
	if shortest == 0 && bad != "" {
		return tune.Unknown[time.Duration]("--etcd-compaction-interval=" + bad + " is no time")
	}
	return tune.Known(shortest)
}

func tuneMember(m health.Member, r *reach) tune.Member {
	t := tune.Member{
		Name: m.View.Name, Node: m.View.Node, Leader: m.View.Leads(), Learner: m.View.Member.Learner,
		Fsync:  diskTime(m, "etcd_disk_wal_fsync_duration_seconds"),
		Commit: diskTime(m, "etcd_disk_backend_commit_duration_seconds"),
		DBSize: tune.Unknown[int64](m.View.Error), Unread: "its pod is not known",
	}
	if status := m.View.Status; status != nil {
		t.Version, t.DBSize = status.Version, tune.Known(status.DBSize)
	}
	for i, source := range r.sources {
		if pod := r.podOf(i); pod != nil && source.Name == m.View.Source {
			t.Settings, t.Unread = tuneSettings(pod.Settings), ""
		}
	}
	if m.Vars.Known() {
		t.Running = tune.Settings{}
		for name, value := range discover.EtcdFlags(m.Vars.Value.Argv) {
			t.Running[name] = tune.Setting{Value: value, From: tune.FromProcess}
		}
	}
	return t
}

func tuneSettings(settings discover.Settings) tune.Settings {
	list := tune.Settings{}
	for name, setting := range settings {
		list[name] = tune.Setting{Value: setting.Value, From: tune.Origin(setting.From)}
	}
	return list
}

// enoughSyncs is of how many observations a p99 is told, someSyncs of how many a median.
const (
	enoughSyncs = 100
	someSyncs   = 10
)

// diskTime is the p99 of the sample, else, where too little was written in it, of all the
// process's time; or the median of those few, where that is worse: a slow disk is one of few
// writes. Below the histogram's first edge nothing is told apart: that edge it is.
func diskTime(m health.Member, name string) tune.Fact[time.Duration] {
	if !m.Now.Known() {
		return tune.Unknown[time.Duration](m.Now.Because)
	}
	sample, ok := m.Now.Value.Quantile(0.99, m.Before.Value, name)
	if ok && sample.Count >= enoughSyncs {
		return tune.Known(atLeastEdge(sample))
	}
	all, ok := m.Now.Value.Quantile(0.99, nil, name)
	if !ok || all.Count < enoughSyncs {
		return tune.Unknown[time.Duration]("it has not written enough yet to tell")
	}
	worst := atLeastEdge(all)
	if sample.Count >= someSyncs {
		if median, ok := m.Now.Value.Quantile(0.5, m.Before.Value, name); ok {
			worst = max(worst, atLeastEdge(median))
		}
	}
	return tune.Known(worst)
}

func atLeastEdge(q etcd.Quantile) time.Duration {
	return time.Duration(max(q.Value, q.Least) * float64(time.Second))
}

func tuneReads(m health.Member) tune.Reads {
	return tune.Reads{
		Member: m.View.Name, Leader: m.View.Leads(), Missing: m.Reads.Because,
		Linearizable: m.Reads.Value.Linearizable, Serializable: m.Reads.Value.Serializable,
	}
}

// peerMeans are etcd's own probes, since each process began: it observes two in half a
// minute. Series of members that are gone stay until a restart, and are left out.
func peerMeans(members []health.Member) (means []tune.PeerMean, secure bool) {
	const probes = "etcd_network_peer_round_trip_time_seconds"
	for _, m := range members {
		if m.View.Member == nil || !m.Now.Known() {
			continue
		}
		secure = secure || len(m.View.Member.PeerURLs) > 0 && strings.HasPrefix(m.View.Member.PeerURLs[0], "https")
		for _, to := range members {
			if to.View.Member == nil {
				continue
			}
			sum, count := m.Now.Value.Sum(probes, "To", to.View.Member.ID.String())
			if count > 0 {
				means = append(means, tune.PeerMean{From: m.View.Name, To: to.View.Name, Mean: time.Duration(sum / float64(count) * float64(time.Second)), Samples: int(count)})
			}
		}
	}
	return means, secure
}

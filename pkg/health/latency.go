package health

import (
	"fmt"
	"math"
	"strings"
)

const faq = "etcd FAQ"

// latencyChecks are those of how long things take, of failed calls, and of what a process
// runs out of.
func latencyChecks() []Check {
	return []Check{
		{
			ID: "H30", Title: "WAL fsync", Category: Latency, judge: judgeFsync, Limits: []string{"fsync-p99", "fsync-p99-critical"},
			Measures: "p99 of etcd_disk_wal_fsync_duration_seconds; below 1ms nothing is told apart",
			Source:   faq + " (10ms); etcd mixin etcdHighFsyncDurations (500ms)",
			Remedy:   "give etcd a faster disk of its own, or take other writers off it; look at iostat -x 1 on the node",
		},
		{
			ID: "H31", Title: "database commit", Category: Latency, judge: judgeCommit, Limits: []string{"commit-p99", "commit-p99-critical"},
			Measures: "p99 of etcd_disk_backend_commit_duration_seconds",
			Source:   faq + " (25ms); etcd mixin etcdHighCommitDurations (250ms)",
			Remedy:   "give etcd a faster disk; if fsync (H30) is fast, look at the node's CPU and the size of the writes",
		},
		{
			ID: "H32", Title: "applying", Category: Latency, judge: judgeApplying, Limits: []string{"apply-p99", "slow-applies"},
			Measures: "p99 of etcd_server_apply_duration_seconds, and the growth of etcd_server_slow_apply_total (100ms and more, large reads too; the limit is per second)",
			Source:   faq + " (normally below 50ms); how many may be slow is ours",
			Remedy:   `look for "apply request took too long" in the log of etcd: it names the request; else the disk (H30, H31) or the CPU is slow`,
		},
		{
			ID: "H33", Title: "reads", Category: Latency, judge: judgeReads, Limits: []string{"linearizable-read"},
			Measures: "p50 of at least 30 small linearizable reads through each member, less its fastest serializable read, which is the way to it and back",
			Source:   "ours; Red Hat OCPSTRAT-1706 (round trips with disk below 100ms)",
			Remedy:   "a linearizable read waits for the leader to hear from a quorum: look at the network between the members and at the leader's disk (H30)",
		},
		{
			ID: "H34", Title: "failed calls", Category: Latency, judge: judgeFailedCalls, Limits: []string{"failed-calls", "failed-calls-critical"},
			Measures: "unary calls in grpc_server_handled_total that ended with " + strings.Join(failures(), ", "),
			Source:   "etcd mixin etcdHighNumberOfFailedGRPCRequests; unary alone, since watches that clients leave count as Unavailable (etcd #10289)",
			Remedy:   "see the log of the member for the failed calls: quorum (H02), leader (H10), space (H20) and disk (H30) come first",
		},
		{
			ID: "H35", Title: "calls", Category: Latency, judge: judgeCalls, Limits: []string{"unary-p99"},
			Measures: "p99 of grpc_server_handling_seconds, unary; only with etcd's --metrics=extensive",
			Source:   "etcd mixin etcdGRPCRequestsSlow",
			Remedy:   "look at the disk (H30, H31) first, then for large requests: see the log of etcd",
		},
		{
			ID: "H36", Title: "read index", Category: Latency, judge: judgeReadIndex, Limits: []string{"read-indexes"},
			Measures: "growth of etcd_server_slow_read_indexes_total and etcd_server_read_indexes_failed_total",
			Source:   "server/v3 etcdserver/read; the number is ours",
			Remedy:   "the member waits for the leader: look at the network between them, and whether the leader changes (H11)",
		},
		{
			ID: "H37", Title: "watches", Category: Latency, judge: judgeWatches, Limits: []string{"slow-watchers", "pending-events"},
			Measures: "etcd_debugging_mvcc_slow_watcher_total at both looks, and the growth of etcd_debugging_mvcc_pending_events_total",
			Source:   "ours",
			Remedy:   "a client does not read its events fast enough, or the member's CPU or network is full: look at the node and at its API server",
		},
		{
			ID: "H38", Title: "files and memory", Category: Latency, judge: judgeProcess, Limits: []string{"open-files", "memory-limit"},
			Measures: "process_open_fds against process_max_fds, process_resident_memory_bytes against the pod's memory limit",
			Source:   "server/v3 etcdserver monitorFileDescriptor (80%); the memory is ours",
			Remedy:   "raise the limit of the pod (of open files: of its container runtime), or find which client opens so many connections",
		},
		{
			ID: "H39", Title: "etcd as the API server sees it", Category: Latency, judge: judgeServerView, Limits: []string{"apiserver-p99", "apiserver-errors"},
			Measures: "etcd_request_duration_seconds of single objects, and etcd_request_errors_total, of the API server that the kubeconfig leads to",
			Source:   "ours",
			Remedy:   "if etcd itself is fast (H30 to H35), look at the network between this API server and etcd, and at the API server's CPU",
		},
	}
}

func latencyLimits() []Limit {
	return []Limit{
		{"fsync-p99", 0.010, Duration, "H30", Warning, faq},
		{"fsync-p99-critical", 0.500, Duration, "H30", Critical, "etcd mixin etcdHighFsyncDurations"},
		{"commit-p99", 0.025, Duration, "H31", Warning, faq},
		{"commit-p99-critical", 0.250, Duration, "H31", Critical, "etcd mixin etcdHighCommitDurations"},
		{"apply-p99", 0.050, Duration, "H32", Warning, faq},
		{"slow-applies", 1, Count, "H32", Warning, "ours"}, // per second
		{"linearizable-read", 0.100, Duration, "H33", Warning, "ours"},
		{"failed-calls", 0.01, Share, "H34", Warning, "etcd mixin etcdHighNumberOfFailedGRPCRequests"},
		{"failed-calls-critical", 0.05, Share, "H34", Critical, "etcd mixin etcdHighNumberOfFailedGRPCRequests"},
		{"unary-p99", 0.150, Duration, "H35", Critical, "etcd mixin etcdGRPCRequestsSlow"},
		{"read-indexes", 1, Count, "H36", Warning, "ours"},
		{"slow-watchers", 1, Count, "H37", Warning, "ours"},
		{"pending-events", 1000, Count, "H37", Warning, "ours"},
		{"open-files", 0.8, Share, "H38", Warning, "server/v3 etcdserver monitorFileDescriptor"},
		{"memory-limit", 0.9, Share, "H38", Warning, "ours"},
		{"apiserver-p99", 0.500, Duration, "H39", Warning, "ours"},
		{"apiserver-errors", 0.01, Share, "H39", Warning, "ours"},
	}
}

// never is a limit that nothing reaches.
var never = math.Inf(1)

// slowness is a histogram whose p99 is judged.
type slowness struct {
	what              string // "WAL fsyncs"
	metric            string
	labels            []string
	absent            string  // why a member may not have it; empty: its version does not
	warning, critical float64 // seconds
}

func judgeFsync(f *Facts, limits Limits, o *outcome) {
	f.judgeSlowness(slowness{
		what: "WAL fsyncs", metric: "etcd_disk_wal_fsync_duration_seconds",
		warning: limits.at("fsync-p99"), critical: limits.at("fsync-p99-critical"),
	}, o)
}

func judgeCommit(f *Facts, limits Limits, o *outcome) {
	f.judgeSlowness(slowness{
		what: "commits", metric: "etcd_disk_backend_commit_duration_seconds",
		warning: limits.at("commit-p99"), critical: limits.at("commit-p99-critical"),
	}, o)
}

func judgeCalls(f *Facts, limits Limits, o *outcome) {
	f.judgeSlowness(slowness{
		what: "unary calls", metric: "grpc_server_handling_seconds", labels: []string{"grpc_type", "unary"},
		absent: "it has no grpc_server_handling_seconds: that needs etcd's --metrics=extensive", warning: never, critical: limits.at("unary-p99"),
	}, o)
}

// judgeSlowness judges all members by the slowest.
func (f *Facts) judgeSlowness(s slowness, o *outcome) {
	var worst timing
	var slowest string
	for _, m := range f.metered(o) {
		p99 := m.p99(s.metric, s.labels...)
		if !p99.Known() {
			because := p99.Because
			if s.absent != "" && because == noMetric(s.metric) {
				because = s.absent
			}
			o.unknown(m.Name(), because)
			continue
		}
		o.shows("%s: p99 %s of %d %s %s", m.Name(), p99.Value, p99.Value.Count, s.what, p99.Value.when)
		if slowest == "" || p99.Value.seconds() > worst.seconds() {
			worst, slowest = p99.Value, m.Name()
		}
	}
	if slowest != "" {
		o.graded(worst.seconds(), s.warning, s.critical, "slowest p99 of %s: %s (%s)", s.what, worst, slowest)
	}
}

func judgeApplying(f *Facts, limits Limits, o *outcome) {
	f.judgeSlowness(slowness{
		what: "applied requests", metric: "etcd_server_apply_duration_seconds", warning: limits.at("apply-p99"), critical: never,
	}, o)
	const metric = "etcd_server_slow_apply_total"
	for _, m := range f.meteredTwice(o) {
		slow, ok := m.growth(metric)
		if !ok {
			o.unknown(m.Name(), noMetric(metric))
			continue
		}
		text := fmt.Sprintf("%s: %.0f requests took 100ms or more to apply in the last %s", m.Name(), slow, f.Sample)
		switch {
		case slow >= limits.at("slow-applies")*f.Sample.Seconds():
			o.warn("%s", text)
		case slow > 0: // one large list does it
			o.info("%s", text)
		default:
			o.ok("none took 100ms or more to apply")
		}
	}
}

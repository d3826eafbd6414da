package health

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
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

// enoughReads are needed for a median that says something (rules §0.2).
const enoughReads = 30

func judgeReads(f *Facts, limits Limits, o *outcome) {
	var worst time.Duration
	var slowest string
	for _, m := range f.Members {
		reads := m.Reads.Value
		few := min(len(reads.Linearizable), len(reads.Serializable))
		if why := missing(m, m.Reads, len(reads.Linearizable)+len(reads.Serializable) == 0); why != "" {
			o.unknown(m.Name(), why)
			continue
		}
		if few < enoughReads {
			o.unknown(m.Name(), fmt.Sprintf("only %d reads of a kind came back, of %d that are needed", few, enoughReads))
			continue
		}
		o.shows("%s: linearizable p50 %s, p99 %s; serializable p50 %s, p99 %s, fastest %s", m.Name(),
			brief(quantile(reads.Linearizable, 0.5).Seconds()), brief(quantile(reads.Linearizable, 0.99).Seconds()),
			brief(quantile(reads.Serializable, 0.5).Seconds()), brief(quantile(reads.Serializable, 0.99).Seconds()), brief(reads.Serializable[0].Seconds()))
		// The fastest serializable read is answered by the member alone: it is the way there.
		own := max(quantile(reads.Linearizable, 0.5)-reads.Serializable[0], 0)
		if slowest == "" || own > worst {
			worst, slowest = own, m.Name()
		}
	}
	if slowest != "" {
		o.graded(worst.Seconds(), limits.at("linearizable-read"), never,
			"a linearizable read takes %s at the most, without the way there (%s)", brief(worst.Seconds()), slowest)
	}
}

// quantile of sorted times is the nearest rank.
func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[max(int(math.Ceil(q*float64(len(sorted))))-1, 0)]
}

// failures are the codes that are the server's fault, or may be (etcd mixin). Canceled,
// NotFound and the like are the client's.
func failures() []string {
	return []string{"Unknown", "FailedPrecondition", "ResourceExhausted", "Internal", "Unavailable", "DataLoss", "DeadlineExceeded"}
}

const handledCalls = "grpc_server_handled_total"

// unaryCalls counts those that ended with one of codes; without codes, all.
func unaryCalls(codes ...string) func(*etcd.Metrics) float64 {
	return func(m *etcd.Metrics) (sum float64) {
		if len(codes) == 0 {
			sum, _ = m.Value(handledCalls, "grpc_type", "unary")
		}
		for _, code := range codes {
			n, _ := m.Value(handledCalls, "grpc_type", "unary", "grpc_code", code)
			sum += n
		}
		return sum
	}
}

func judgeFailedCalls(f *Facts, limits Limits, o *outcome) {
	var worst share
	var where string
	for _, m := range f.meteredTwice(o) {
		if _, has := m.now.Value(handledCalls); !has {
			o.unknown(m.Name(), noMetric(handledCalls))
			continue
		}
		failed := m.share(unaryCalls(failures()...), unaryCalls())
		if !failed.Known() {
			o.unknown(m.Name(), "calls: "+failed.Because)
			continue
		}
		o.shows("%s: failed calls: %s", m.Name(), failed.Value)
		for _, code := range failures() {
			if n := m.grown(unaryCalls(code)); n > 0 {
				o.shows("%s: %.0f %s in the last %s", m.Name(), n, code, f.Sample)
			}
		}
		if where == "" || failed.Value.value() > worst.value() {
			worst, where = failed.Value, m.Name()
		}
	}
	if where != "" {
		o.graded(worst.value(), limits.at("failed-calls"), limits.at("failed-calls-critical"),
			"%.2g%% of the calls failed at the most (%s)", 100*worst.value(), where)
	}
}

func judgeReadIndex(f *Facts, limits Limits, o *outcome) {
	metrics := []string{"etcd_server_slow_read_indexes_total", "etcd_server_read_indexes_failed_total"}
	for _, m := range f.meteredTwice(o) {
		var none []string
		for i, what := range []string{"slow", "failed"} {
			by, ok := m.growth(metrics[i])
			switch {
			case !ok:
				o.unknown(m.Name(), noMetric(metrics[i]))
			case by >= limits.at("read-indexes"):
				o.warn("%s: %.0f %s read indexes in the last %s", m.Name(), by, what, f.Sample)
			default:
				none = append(none, what)
			}
		}
		if len(none) > 0 {
			o.ok("no %s read index in the last %s", strings.Join(none, " or "), f.Sample)
		}
	}
}

func judgeWatches(f *Facts, limits Limits, o *outcome) {
	const slowWatchers, pendingEvents = "etcd_debugging_mvcc_slow_watcher_total", "etcd_debugging_mvcc_pending_events_total"
	for _, m := range f.meteredTwice(o) {
		slow, ok := m.now.Value(slowWatchers)
		if !ok {
			o.unknown(m.Name(), noMetric(slowWatchers))
			continue
		}
		watchers, _ := m.now.Value("etcd_debugging_mvcc_watcher_total")
		events, _ := m.growth("etcd_debugging_mvcc_events_total")
		o.shows("%s: %.0f watchers, %.1f events a second", m.Name(), watchers, events/f.Sample.Seconds())
		// A watcher that begins in the past is slow until it has caught up: one look is none.
		slowBefore, _ := m.before.Value(slowWatchers)
		if lasting := min(slow, slowBefore); lasting >= limits.at("slow-watchers") {
			o.warn("%s: %.0f watchers were behind at both looks, %s apart", m.Name(), lasting, f.Sample)
		}
		pending, _ := m.now.Value(pendingEvents)
		pendingBefore, _ := m.before.Value(pendingEvents)
		if pending-pendingBefore >= limits.at("pending-events") {
			o.warn("%s: %.0f events wait to be sent, %.0f more than %s before", m.Name(), pending, pending-pendingBefore, f.Sample)
		}
		o.ok("no watcher stays behind")
	}
}

func judgeProcess(f *Facts, limits Limits, o *outcome) {
	for _, m := range f.metered(o) {
		judgeFiles(m, limits, o)
		judgeMemory(m, limits, o)
	}
}

const withinLimits = "no process is near its limits"

func judgeFiles(m metered, limits Limits, o *outcome) {
	open, has := m.now.Value("process_open_fds")
	most, hasMost := m.now.Value("process_max_fds")
	if !has || !hasMost || most <= 0 {
		o.unknown(m.Name(), noMetric("process_open_fds and process_max_fds"))
		return
	}
	o.shows("%s: %.0f of %.0f files open", m.Name(), open, most)
	if open/most >= limits.at("open-files") {
		o.warn("%s has %.0f%% of its files open", m.Name(), 100*open/most)
	}
	o.ok("%s", withinLimits)
}

// judgeMemory goes by the resident set. The database's pages are in it, and the kernel can
// take those back: that it is near the limit is no kill yet.
func judgeMemory(m metered, limits Limits, o *outcome) {
	resident, ok := m.now.Value("process_resident_memory_bytes")
	if !ok {
		o.unknown(m.Name(), noMetric("process_resident_memory_bytes"))
		return
	}
	if m.Pod == nil || m.Pod.MemoryLimit <= 0 {
		o.shows("%s: %.0f MiB resident, no limit is known", m.Name(), resident/(1<<20))
		return
	}
	limit := float64(m.Pod.MemoryLimit)
	o.shows("%s: %.0f of %.0f MiB resident", m.Name(), resident/(1<<20), limit/(1<<20))
	if resident/limit >= limits.at("memory-limit") {
		o.warn("%s has %.0f%% of its memory limit", m.Name(), 100*resident/limit)
	}
	o.ok("%s", withinLimits)
}

func judgeServerView(f *Facts, limits Limits, o *outcome) {
	k := f.Kubernetes
	switch {
	case k == nil:
		o.unknown("", f.WithoutKubernetes)
		return
	case k.Serves != "main":
		// With one metric for all of its etcds the main one's requests are most of it.
		o.unknown("", "this is not the API server's main etcd, and its metrics don't tell one from the other")
		return
	case !k.Metrics.Known():
		o.unknown("", k.Metrics.Because)
		return
	}
	l := pages{f.earlier(k.Before, k.Metrics.Value), k.Metrics.Value, f.Sample}
	judgeServerRequests(l, limits, o)
	if f.Sample > 0 && k.Before.Value != nil && l.before == nil {
		o.unknown("errors", "two API servers answered, or it started anew between the two looks")
		return
	}
	judgeServerErrors(l, limits, o)
}

// judgeServerRequests judges requests for one object. How long a list takes depends on what
// is listed: it is only shown.
func judgeServerRequests(l pages, limits Limits, o *outcome) {
	const metric = "etcd_request_duration_seconds"
	if list := l.p99(metric, "operation", "list"); list.Known() {
		o.shows("list: p99 %s of %d %s", list.Value, list.Value.Count, list.Value.when)
	}
	var worst timing
	var slowest string
	for _, operation := range []string{"get", "create", "update", "delete"} {
		p99 := l.p99(metric, "operation", operation)
		if !p99.Known() {
			o.unknown(operation, p99.Because)
			continue
		}
		o.shows("%s: p99 %s of %d %s", operation, p99.Value, p99.Value.Count, p99.Value.when)
		if slowest == "" || p99.Value.seconds() > worst.seconds() {
			worst, slowest = p99.Value, operation
		}
	}
	if slowest != "" {
		o.graded(worst.seconds(), limits.at("apiserver-p99"), never, "slowest p99 of the API server's requests: %s (%s)", worst, slowest)
	}
}

func judgeServerErrors(l pages, limits Limits, o *outcome) {
	count := func(name string) func(*etcd.Metrics) float64 {
		return func(m *etcd.Metrics) float64 {
			value, _ := m.Value(name)
			return value
		}
	}
	const all = "etcd_requests_total"
	switch _, has := l.now.Value(all); {
	case l.before == nil:
		o.unknown("errors", lookedOnce)
		return
	case !has:
		o.unknown("errors", noMetric(all)+" (Kubernetes 1.28 and later do)")
		return
	}
	failed := l.share(count("etcd_request_errors_total"), count(all))
	if !failed.Known() {
		o.unknown("errors", failed.Because)
		return
	}
	o.shows("errors: %s", failed.Value)
	o.graded(failed.Value.value(), limits.at("apiserver-errors"), never, "%.2g%% of the API server's requests failed", 100*failed.Value.value())
}

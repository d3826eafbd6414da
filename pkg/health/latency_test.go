package health

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

const (
	fsync    = "etcd_disk_wal_fsync_duration_seconds"
	commit   = "etcd_disk_backend_commit_duration_seconds"
	applying = "etcd_server_apply_duration_seconds"
	handling = "grpc_server_handling_seconds"
	requests = "etcd_request_duration_seconds"
)

// healthyLatencyMetrics are those of a quiet hour, with --metrics=extensive.
func healthyLatencyMetrics() string {
	page := histogram(fsync, 5000, 0.002) + histogram(commit, 5000, 0.006) +
		"# TYPE " + applying + " histogram\n" + took(applying, `op="Range",success="true",version="v3"`, of{5000, 0.0015}) +
		"# TYPE " + handling + " histogram\n" + took(handling, `grpc_method="Range",grpc_type="unary"`, of{5000, 0.006}) +
		took(handling, `grpc_method="Watch",grpc_type="bidi_stream"`, of{5000, 7})
	return page + `etcd_server_slow_apply_total 7
etcd_server_slow_read_indexes_total 2
etcd_server_read_indexes_failed_total 1
etcd_debugging_mvcc_slow_watcher_total 0
etcd_debugging_mvcc_pending_events_total 0
etcd_debugging_mvcc_watcher_total 120
etcd_debugging_mvcc_events_total 90000
process_open_fds 150
process_max_fds 65536
process_resident_memory_bytes 1.5e+08
` + calls(5000, 0, 0)
}

// calls counts unary calls that came out well, that failed, and watches whose clients left.
func calls(well, failed, left int) string {
	return fmt.Sprintf(`grpc_server_handled_total{grpc_code="OK",grpc_method="Range",grpc_type="unary"} %d
grpc_server_handled_total{grpc_code="NotFound",grpc_method="LeaseRevoke",grpc_type="unary"} 9
grpc_server_handled_total{grpc_code="Unavailable",grpc_method="Txn",grpc_type="unary"} %d
grpc_server_handled_total{grpc_code="Unavailable",grpc_method="Watch",grpc_type="bidi_stream"} %d
`, well, failed, left)
}

// of are observations that took about the same.
type of struct {
	count   int
	seconds float64
}

// took is a histogram of them, as histogram's, but with labels and without the type.
func took(name, labels string, observations ...of) string {
	var b strings.Builder
	upTo := func(edge float64) (n int) {
		for _, o := range observations {
			if o.seconds <= edge {
				n += o.count
			}
		}
		return n
	}
	with := func(le string) string {
		if labels == "" {
			return fmt.Sprintf("{le=%q}", le)
		}
		return fmt.Sprintf("{%s,le=%q}", labels, le)
	}
	for edge := 0.001; edge < 9; edge *= 2 {
		fmt.Fprintf(&b, "%s_bucket%s %d\n", name, with(fmt.Sprintf("%g", edge)), upTo(edge))
	}
	all := upTo(1e9)
	suffix := ""
	if labels != "" {
		suffix = "{" + labels + "}"
	}
	fmt.Fprintf(&b, "%s_bucket%s %d\n%s_sum%s 1\n%s_count%s %d\n", name, with("+Inf"), all, name, suffix, name, suffix, all)
	return b.String()
}

// began says on a page when its process did.
func began(ago time.Duration, page string) string {
	return page + fmt.Sprintf("process_start_time_seconds %d\n", noon.Add(-ago).Unix())
}

// lines of a page, for set and setBefore.
func lines(page string) []string { return strings.Split(strings.TrimSpace(page), "\n") }

// watchServer gives the API server's metrics to a cluster whose facts have none.
func watchServer(k *Kubernetes) {
	if k.Metrics.Value == nil {
		server(k, noon, healthyServerMetrics(), healthyServerMetrics())
	}
}

func server(k *Kubernetes, at time.Time, before, now string) {
	k.Before, k.Metrics = Known(metrics(before, at.Add(-10*time.Second))), Known(metrics(now, at))
}

func healthyServerMetrics() string { return serverMetrics(0.004, 5, 5000) }

// serverMetrics has all requests for single objects take so many seconds.
func serverMetrics(seconds float64, failed, all int) string {
	page := "# TYPE " + requests + " histogram\n" + took(requests, `operation="list",resource="pods"`, of{5000, 3})
	for _, operation := range []string{"get", "create", "update", "delete"} {
		page += took(requests, fmt.Sprintf("operation=%q,resource=%q", operation, "pods"), of{5000, seconds})
	}
	return page + fmt.Sprintf("etcd_requests_total{operation=\"get\"} %d\netcd_request_errors_total{operation=\"get\"} %d\n", all, failed)
}

// serverOf is the change that gives an API server these two looks.
func serverOf(before, now string) func(*Facts) {
	return func(f *Facts) { server(f.Kubernetes, f.At, before, now) }
}

// sampled sets a member's look before and its look now.
func sampled(member int, before, now string) func(*Facts) {
	return func(f *Facts) {
		setBefore(f, member, lines(before)...)
		set(f, member, lines(now)...)
	}
}

// both makes two changes.
func both(a, b func(*Facts)) func(*Facts) {
	return func(f *Facts) { a(f); b(f) }
}

// oneLook: no sample was asked for.
func oneLook(f *Facts) {
	f.Sample = 0
	for i := range f.Members {
		f.Members[i].Before = Unknown[*etcd.Metrics]("there was one look")
	}
	if f.Kubernetes != nil {
		f.Kubernetes.Before = Unknown[*etcd.Metrics]("there was one look")
	}
}

// without takes a metric from all members.
func without(name string) func(*Facts) {
	return func(f *Facts) {
		for i := range f.Members {
			drop(f, i, name)
		}
	}
}

func reads(member int, linearizable, serializable []time.Duration) func(*Facts) {
	return func(f *Facts) { f.Members[member].Reads = Known(Reads{linearizable, serializable}) }
}

func noReads(f *Facts) {
	for i := range f.Members {
		f.Members[i].Reads = Unknown[Reads]("connection refused")
	}
}

func latencyCases() []checkCase {
	return slices.Concat(diskCases(), readCases(), callCases(), processCases(), serverViewCases())
}

func diskCases() []checkCase {
	return []checkCase{
		{id: "H30", name: "fast", change: resize(3), level: OK, says: "slowest p99 of WAL fsyncs: 1.99ms (etcd-node0)"},
		{id: "H30", name: "the lowest bucket tells nothing", level: OK, says: "etcd-node1: p99 below 1ms of 2000 WAL fsyncs in the last 10s",
			change: sampled(1, took(fsync, "", of{5000, 0.0005}), took(fsync, "", of{7000, 0.0005}))},
		{id: "H30", name: "nor is it held against a limit below it", level: OK, limits: []string{"fsync-p99=500us"}, says: "below 1ms", change: func(f *Facts) {
			for i := range f.Members {
				sampled(i, took(fsync, "", of{5000, 0.0005}), took(fsync, "", of{7000, 0.0005}))(f)
			}
		}},
		{id: "H30", name: "slow now, fast since the start", level: Warning, says: "(etcd-node1)", mends: "faster disk",
			change: sampled(1, took(fsync, "", of{1000000, 0.002}), took(fsync, "", of{1000000, 0.002}, of{1000, 0.012}))},
		{id: "H30", name: "slow since the start, fast now", level: OK, says: "p99 1.99ms of 1000 WAL fsyncs in the last 10s",
			change: sampled(1, took(fsync, "", of{5000, 2}), took(fsync, "", of{5000, 2}, of{1000, 0.002}))},
		{id: "H30", name: "very slow", level: Critical, says: "(etcd-node2)",
			change: sampled(2, took(fsync, ""), took(fsync, "", of{1000, 0.7}))},
		{id: "H30", name: "too few in the sample", level: OK, says: "p99 1.99ms of 5050 WAL fsyncs since it started (50 in the last 10s are too few)",
			change: sampled(1, took(fsync, "", of{5000, 0.002}), took(fsync, "", of{5000, 0.002}, of{50, 0.0015}))},
		{id: "H30", name: "few because each is slow", level: Warning, says: "etcd-node1: p99 384ms or more of 30 WAL fsyncs in the last 10s, by their median",
			change: sampled(1, took(fsync, "", of{90000, 0.0005}), took(fsync, "", of{90000, 0.0005}, of{30, 0.3}))},
		{id: "H30", name: "few, and one of them slow", level: OK, says: "p99 below 1ms of 90030 WAL fsyncs since it started (30 in the last 10s are too few)",
			change: sampled(1, took(fsync, "", of{90000, 0.0005}), took(fsync, "", of{90029, 0.0005}, of{1, 0.3}))},
		{id: "H30", name: "too few for a median", level: OK, says: "(9 in the last 10s are too few)",
			change: sampled(1, took(fsync, "", of{90000, 0.0005}), took(fsync, "", of{90000, 0.0005}, of{9, 0.3}))},
		{id: "H30", name: "too few at all", level: OK, says: "etcd-node1: only 50 observations since it started",
			change: sampled(1, took(fsync, ""), took(fsync, "", of{50, 2}))},
		{id: "H30", name: "one look", level: Warning, says: "of 6000 WAL fsyncs since it started", change: func(f *Facts) {
			set(f, 1, lines(took(fsync, "", of{5000, 0.002}, of{1000, 0.012}))...)
			oneLook(f)
		}},
		{id: "H30", name: "by our own limit", level: OK, limits: []string{"fsync-p99=20ms"}, says: "(etcd-node1)",
			change: sampled(1, took(fsync, ""), took(fsync, "", of{1000, 0.012}))},
		{id: "H30", name: "the slow one is not hidden by a silent one", level: Warning, says: "etcd-node0: it does not answer", change: func(f *Facts) {
			kill(f, 0)
			sampled(1, took(fsync, ""), took(fsync, "", of{1000, 0.012}))(f)
		}},
		{id: "H30", name: "none can be read", change: noMetrics, level: Unmeasured, says: "etcd-node0: connection refused"},
		{id: "H30", name: "unknown to this version", change: without(fsync), level: Unmeasured, says: "this version has no " + fsync},

		{id: "H31", name: "fast", change: resize(3), level: OK, says: "p99 of commits"},
		{id: "H31", name: "an fsync's limit is not its", level: OK, change: sampled(1, took(commit, ""), took(commit, "", of{1000, 0.015}))},
		{id: "H31", name: "slow", level: Warning, says: "(etcd-node1)", change: sampled(1, took(commit, ""), took(commit, "", of{1000, 0.06}))},
		{id: "H31", name: "very slow", level: Critical, says: "(etcd-node1)", change: sampled(1, took(commit, ""), took(commit, "", of{1000, 0.5}))},
		{id: "H31", name: "none can be read", change: noMetrics, level: Unmeasured, says: "connection refused"},

		{id: "H32", name: "fast", change: resize(3), level: OK, says: "p99 of applied requests"},
		{id: "H32", name: "slow", level: Warning, says: "(etcd-node1)", mends: "apply request took too long",
			change: sampled(1, took(applying, `op="Put"`), took(applying, `op="Put"`, of{1000, 0.06}))},
		{id: "H32", name: "some are slow", level: Info, says: "etcd-node1: 3 requests took 100ms",
			change: sampled(1, "etcd_server_slow_apply_total 7", "etcd_server_slow_apply_total 10")},
		{id: "H32", name: "many are slow", level: Warning, says: "etcd-node1: 30 requests took 100ms",
			change: sampled(1, "etcd_server_slow_apply_total 7", "etcd_server_slow_apply_total 37")},
		{id: "H32", name: "a new process counts anew", level: Info, says: "etcd-node1: 2 requests took 100ms",
			change: sampled(1, "etcd_server_slow_apply_total 7", "etcd_server_slow_apply_total 2")},
		{id: "H32", name: "one look", change: oneLook, level: OK, says: "needs --sample"},
		{id: "H32", name: "a second look that failed", level: OK, says: "etcd-node1: timeout", change: func(f *Facts) {
			f.Members[1].Before = Unknown[*etcd.Metrics]("timeout")
		}},
		{id: "H32", name: "none can be read", change: noMetrics, level: Unmeasured, says: "connection refused"},
	}
}

func readCases() []checkCase {
	fast, slow := times(40, 2*time.Millisecond), times(40, 150*time.Millisecond)
	oneSlow := append(times(39, 2*time.Millisecond), 3*time.Second)
	return []checkCase{
		{id: "H33", name: "fast", change: resize(3), level: OK, says: "linearizable p50 2ms, p99 2ms; serializable p50 1ms"},
		{id: "H33", name: "slow", change: reads(1, slow, fast), level: Warning, says: "takes 148ms at the most, without the way there (etcd-node1)"},
		{id: "H33", name: "far away", change: reads(1, slow, times(40, 149*time.Millisecond)), level: OK, says: "takes 1ms at the most"},
		{id: "H33", name: "one slow read is none", change: reads(1, oneSlow, fast), level: OK, says: "p99 3s"},
		{id: "H33", name: "too few", change: reads(1, slow[:29], fast), level: OK, says: "etcd-node1: only 29 reads"},
		{id: "H33", name: "no linearizable one", change: reads(1, nil, fast), level: OK, says: "etcd-node1: only 0 reads"},
		{id: "H33", name: "silence hides nothing", change: both(func(f *Facts) { kill(f, 0) }, reads(1, slow, fast)), level: Warning, says: "etcd-node0: it does not answer"},
		{id: "H33", name: "none", change: noReads, level: Unmeasured, says: "connection refused"},

		{id: "H36", name: "none", change: resize(3), level: OK, says: "no slow or failed read index in the last 10s"},
		{id: "H36", name: "slow", level: Warning, says: "etcd-node1: 4 slow read indexes", mends: "network",
			change: sampled(1, "etcd_server_slow_read_indexes_total 2", "etcd_server_slow_read_indexes_total 6")},
		{id: "H36", name: "failed", level: Warning, says: "etcd-node2: 1 failed read indexes",
			change: sampled(2, "etcd_server_read_indexes_failed_total 1", "etcd_server_read_indexes_failed_total 2")},
		{id: "H36", name: "of another process", level: OK, says: "etcd-node1: its process started anew", change: sampled(1,
			"etcd_server_slow_read_indexes_total 2", "etcd_server_slow_read_indexes_total 6\n"+began(time.Second, ""))},
		{id: "H36", name: "silence hides nothing", level: Warning, says: "etcd-node0: it does not answer", change: both(func(f *Facts) { kill(f, 0) },
			sampled(1, "etcd_server_slow_read_indexes_total 2", "etcd_server_slow_read_indexes_total 6"))},
		{id: "H36", name: "unknown to this version", change: without("etcd_server_slow_read_indexes_total"), level: OK, says: "this version has no etcd_server_slow_read_indexes_total"},
		{id: "H36", name: "a sample of no length", change: func(f *Facts) { f.Sample = 0 }, level: Unmeasured, says: "needs --sample"},
		{id: "H36", name: "one look", change: oneLook, level: Unmeasured, says: "needs --sample"},
	}
}

func callCases() []checkCase {
	return []checkCase{
		{id: "H34", name: "none failed", change: resize(3), level: OK, says: "0 of 5009 (0%) since it started (0 in the last 10s are too few)"},
		{id: "H34", name: "some failed", level: Warning, says: "2% of the calls failed at the most (etcd-node1)", change: sampled(1, calls(5000, 0, 0), calls(5980, 20, 0))},
		{id: "H34", name: "by which code", level: Warning, says: "etcd-node1: 20 Unavailable in the last 10s", change: sampled(1, calls(5000, 0, 0), calls(5980, 20, 0))},
		{id: "H34", name: "many failed", level: Critical, says: "(etcd-node1)", change: sampled(1, calls(5000, 0, 0), calls(5900, 100, 0))},
		{id: "H34", name: "long ago", level: OK, says: "0 of 1000", change: sampled(1, calls(5000, 900, 0), calls(6000, 900, 0))},
		{id: "H34", name: "watches that clients left", level: OK, change: sampled(1, calls(5000, 0, 0), calls(6000, 0, 500))},
		{id: "H34", name: "a few calls are no share", level: OK, says: "10 of 5029 (0.2%) since it started (20 in the last 10s", change: sampled(1, calls(5000, 0, 0), calls(5010, 10, 0))},
		{id: "H34", name: "silence hides nothing", level: Warning, says: "etcd-node0: it does not answer",
			change: both(func(f *Facts) { kill(f, 0) }, sampled(1, calls(5000, 0, 0), calls(5980, 20, 0)))},
		{id: "H34", name: "one look", change: oneLook, level: Unmeasured, says: "needs --sample"},
		{id: "H34", name: "unknown to this version", change: without("grpc_server_handled_total"), level: Unmeasured, says: "has no grpc_server_handled_total"},

		{id: "H35", name: "fast", change: resize(3), level: OK, says: "p99 of unary calls"},
		{id: "H35", name: "slow", level: Critical, says: "(etcd-node1)", mends: "disk",
			change: sampled(1, took(handling, `grpc_type="unary"`), took(handling, `grpc_type="unary"`, of{1000, 0.4}))},
		{id: "H35", name: "basic metrics", change: without(handling), level: Unmeasured, says: "--metrics=extensive"},

		{id: "H39", name: "fast", change: resize(3), level: OK, says: "p99 of the API server's requests"},
		{id: "H39", name: "a long list is none", change: resize(3), level: OK, says: "list: p99"},
		{id: "H39", name: "slow", level: Warning, says: "slowest p99", mends: "network", change: serverOf(healthyServerMetrics(), serverMetrics(1, 5, 5000))},
	}
}

func processCases() []checkCase {
	limited := func(f *Facts) { f.Members[1].Pod.MemoryLimit = 1 << 30 }
	return []checkCase{
		{id: "H37", name: "none is slow", change: resize(3), level: OK, says: "120 watchers, 0.0 events a second"},
		{id: "H37", name: "slow at both looks", level: Warning, says: "etcd-node1: 2 watchers were behind",
			change: sampled(1, "etcd_debugging_mvcc_slow_watcher_total 2", "etcd_debugging_mvcc_slow_watcher_total 5")},
		{id: "H37", name: "slow at one", level: OK, change: sampled(1, "etcd_debugging_mvcc_slow_watcher_total 0", "etcd_debugging_mvcc_slow_watcher_total 5")},
		{id: "H37", name: "slow at the first", level: OK, change: sampled(1, "etcd_debugging_mvcc_slow_watcher_total 5", "etcd_debugging_mvcc_slow_watcher_total 0")},
		{id: "H37", name: "events pile up", level: Warning, says: "3000 events wait to be sent, 2500 more",
			change: sampled(1, "etcd_debugging_mvcc_pending_events_total 500", "etcd_debugging_mvcc_pending_events_total 3000")},
		{id: "H37", name: "as many wait as before", level: OK, change: sampled(1, "etcd_debugging_mvcc_pending_events_total 3000", "etcd_debugging_mvcc_pending_events_total 3000")},
		{id: "H37", name: "events drain", level: OK, change: sampled(1, "etcd_debugging_mvcc_pending_events_total 3000", "etcd_debugging_mvcc_pending_events_total 500")},
		{id: "H37", name: "how many", level: OK, says: "etcd-node1: 120 watchers, 500.0 events a second",
			change: sampled(1, "etcd_debugging_mvcc_events_total 90000", "etcd_debugging_mvcc_events_total 95000")},
		{id: "H37", name: "silence hides nothing", level: Warning, says: "etcd-node0: it does not answer",
			change: both(func(f *Facts) { kill(f, 0) }, sampled(1, "etcd_debugging_mvcc_slow_watcher_total 2", "etcd_debugging_mvcc_slow_watcher_total 5"))},
		{id: "H37", name: "one look", change: oneLook, level: Unmeasured, says: "needs --sample"},
		{id: "H37", name: "unknown to this version", change: without("etcd_debugging_mvcc_slow_watcher_total"), level: Unmeasured, says: "this version has no"},

		{id: "H38", name: "few", change: resize(3), level: OK, says: "150 of 65536 files open"},
		{id: "H38", name: "no limit of memory", change: resize(3), level: OK, says: "143 MiB resident, no limit is known"},
		{id: "H38", name: "files", level: Warning, says: "etcd-node1 has 81% of its files open", change: sampled(1, "process_max_fds 1000", "process_open_fds 810\nprocess_max_fds 1000")},
		{id: "H38", name: "memory", level: Warning, says: "etcd-node1 has 93% of its memory limit", mends: "raise",
			change: both(limited, sampled(1, "", "process_resident_memory_bytes 1e+09"))},
		{id: "H38", name: "memory below its limit", level: OK, says: "143 of 1024 MiB", change: limited},
		{id: "H38", name: "one look is enough", level: OK, change: oneLook},
		{id: "H38", name: "unknown", change: without("process_open_fds"), level: Unmeasured, says: "has no process_open_fds"},
		{id: "H38", name: "memory unknown", change: without("process_resident"), level: OK, says: "has no process_resident_memory_bytes"},
		{id: "H38", name: "silence hides nothing", level: Warning, says: "etcd-node0: it does not answer",
			change: both(func(f *Facts) { kill(f, 0) }, sampled(1, "", "process_open_fds 60000"))},
		{id: "H38", name: "none can be read", change: noMetrics, level: Unmeasured, says: "connection refused"},
	}
}

func serverViewCases() []checkCase {
	olderServer := "# TYPE " + requests + " histogram\n" + took(requests, `operation="get"`, of{5000, 0.004})
	return []checkCase{
		{id: "H39", name: "errors", level: Warning, says: "2% of the API server's requests failed", change: serverOf(healthyServerMetrics(), serverMetrics(0.004, 25, 6000))},
		{id: "H39", name: "errors of long ago", level: OK, says: "errors: 0 of 1000", change: serverOf(serverMetrics(0.004, 900, 5000), serverMetrics(0.004, 900, 6000))},
		{id: "H39", name: "two API servers behind one address", level: OK, says: "errors: two API servers answered",
			change: serverOf(began(time.Hour, healthyServerMetrics()), began(24*time.Hour, serverMetrics(0.004, 500, 10000)))},
		{id: "H39", name: "errors need two looks", change: oneLook, level: OK, says: "errors: needs --sample"},
		{id: "H39", name: "an older API server", level: OK, says: "errors: this version has no etcd_requests_total",
			change: serverOf(olderServer, olderServer)},
		{id: "H39", name: "nothing deleted yet", level: OK, says: "delete: only 0 observations", change: serverOf(olderServer, olderServer)},
		{id: "H39", name: "somebody else's etcd", level: Unmeasured, says: "not the API server's main etcd", change: func(f *Facts) { f.Kubernetes.Serves = "" }},
		{id: "H39", name: "forbidden", level: Unmeasured, says: "forbidden", change: func(f *Facts) { f.Kubernetes.Metrics = Unknown[*etcd.Metrics]("forbidden") }},
		{id: "H39", name: "no Kubernetes", level: Unmeasured, says: "--endpoints", change: func(f *Facts) {
			f.Kubernetes, f.WithoutKubernetes = nil, "reached by --endpoints"
		}},
	}
}

func TestPercent(t *testing.T) {
	for share, want := range map[float64]string{0: "0%", 0.0012: "0.12%", 0.056: "5.6%", 0.123: "12%", 1: "100%"} {
		if got := percent(share); got != want {
			t.Errorf("%g: got %s, want %s", share, got, want)
		}
	}
}

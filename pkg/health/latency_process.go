package health

import "github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"

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
	o.graded(failed.Value.value(), limits.at("apiserver-errors"), never, "%s of the API server's requests failed", percent(failed.Value.value()))
}

package health

import (
	"cmp"
	"fmt"
	"strconv"
	"time"
)

// kubeCompacts is how often a kube-apiserver compacts, unless --etcd-compaction-interval says otherwise.
const kubeCompacts = 5 * time.Minute

// compactor is who compacts by the clock.
type compactor struct {
	who   string        // empty: nobody does
	slack time.Duration // by how much longer than usual the limits may be passed
}

func judgeCompaction(f *Facts, limits Limits, o *outcome) {
	by := f.compactor()
	if !by.Known() {
		o.unknown("", by.Because)
		return
	}
	warning := limits.seconds("compaction-age") + by.Value.slack
	critical := limits.seconds("compaction-age-critical") + by.Value.slack
	members := read(f.Members, o, func(m Member) Fact[idleness] { return idleSince(m, warning) })
	if by.Value.who == "" {
		judgeUncompacted(f, members, warning, o)
		return
	}
	for _, m := range members {
		idle := m.Value
		o.graded(idle.age.Seconds(), warning.Seconds(), critical.Seconds(), "%s %s", m.Name(), idle.text)
	}
}

// compactor is Kubernetes, else etcd itself.
func (f *Facts) compactor() Fact[compactor] {
	if f.forKubernetes() {
		if every := f.Kubernetes.compactsEvery(); every > 0 {
			return Known(compactor{"the API servers", max(every-kubeCompacts, 0)})
		}
	}
	return f.autoCompaction()
}

func (f *Facts) forKubernetes() bool { return f.Kubernetes != nil && f.Kubernetes.Serves != "" }

// compactsEvery is the shortest interval of any API server, since each one's compaction counts
// for all; 0: it is turned off at each of them.
func (k *Kubernetes) compactsEvery() time.Duration {
	every := time.Duration(0)
	for _, server := range k.Servers {
		interval, err := time.ParseDuration(cmp.Or(server.Flags["etcd-compaction-interval"], kubeCompacts.String()))
		if err != nil {
			interval = kubeCompacts // it would not have started with that
		}
		if interval > 0 && (every == 0 || interval < every) {
			every = interval
		}
	}
	if len(k.Servers) == 0 {
		return kubeCompacts
	}
	return every
}

// autoCompaction is etcd's own: the leader's settings count, and any member may come to lead.
func (f *Facts) autoCompaction() Fact[compactor] {
	known := false
	for _, m := range f.Members {
		if len(m.Settings.Value) == 0 {
			continue
		}
		known = true
		retention := autoRetention(m.Settings.Value["auto-compaction-retention"])
		switch {
		case retention == 0:
		case m.Settings.Value["auto-compaction-mode"] == "revision":
			return Unknown[compactor]("auto-compaction goes by revisions, not by time")
		default: // it begins after retention, and goes on at least as often
			return Known(compactor{"auto-compaction", retention})
		}
	}
	if !known {
		return Unknown[compactor]("whether anything compacts it is not known")
	}
	return Known(compactor{})
}

// autoRetention reads --auto-compaction-retention: "10h", or hours where it is a number
// (server/v3 embed parseCompactionRetention). 0: there is none.
func autoRetention(text string) time.Duration {
	if hours, err := strconv.Atoi(text); err == nil {
		return time.Duration(hours) * time.Hour
	}
	retention, _ := time.ParseDuration(text) // etcd would not have started
	return retention
}

// idleness is for how long a member has compacted nothing.
type idleness struct {
	age  time.Duration
	text string // "last compacted 2m0s ago"
}

// idleSince is not known of a process that is younger than limit and has compacted nothing
// yet: the metric is 0 at its start (server/v3 storage/mvcc, dbCompactionLast).
func idleSince(m Member, limit time.Duration) Fact[idleness] {
	last := m.value("etcd_debugging_mvcc_db_compaction_last")
	if !last.Known() {
		return Unknown[idleness](last.Because)
	}
	revision, compacted := m.value("etcd_debugging_mvcc_current_revision"), m.value("etcd_debugging_mvcc_compact_revision")
	if revision.Known() && compacted.Known() && revision.Value == compacted.Value {
		return Known(idleness{0, "has nothing to compact"})
	}
	if last.Value > 0 {
		age := m.Now.Value.Since(unix(last.Value))
		return Known(idleness{age, fmt.Sprintf("last compacted %s ago", age.Round(time.Second))})
	}
	uptime := m.uptime()
	switch {
	case !uptime.Known():
		return Unknown[idleness]("it has not compacted since its process began, whenever that was")
	case uptime.Value < limit:
		return Unknown[idleness](fmt.Sprintf("its process began %s ago and has not compacted yet", uptime.Value.Round(time.Second)))
	}
	return Known(idleness{uptime.Value, fmt.Sprintf("has not compacted since its process began %s ago", uptime.Value.Round(time.Second))})
}

// judgeUncompacted is for a key space that nothing is set to compact. Its users may.
func judgeUncompacted(f *Facts, members []reading[idleness], limit time.Duration, o *outcome) {
	for _, m := range members {
		if m.Value.age < limit {
			o.ok("%s %s, though nothing is set to compact it", m.Name(), m.Value.text)
			return
		}
		o.shows("%s %s", m.Name(), m.Value.text)
	}
	if f.forKubernetes() {
		o.warn("nothing compacts: the API servers are set not to (--etcd-compaction-interval=0), and etcd has no auto-compaction")
		o.mend("remove --etcd-compaction-interval=0 from the API servers")
		return
	}
	if f.Kubernetes == nil {
		o.info("etcd itself is not set to compact; whether API servers do that is not seen from here")
		o.mend("look at it through Kubernetes; for an etcd of anything else: --auto-compaction-retention=1h, unless its users compact it")
		return
	}
	o.info("nothing is set to compact: the history of every key is kept, unless its users compact it")
	o.mend("--auto-compaction-retention=1h, unless its users compact it")
}

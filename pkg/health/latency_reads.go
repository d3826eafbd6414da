package health

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

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
			"%s of the calls failed at the most (%s)", percent(worst.value()), where)
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

package health

import (
	"cmp"
	"fmt"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// enough is how many observations a p99, or a share of failures, has to be of: among
// fewer one slow or failed call makes it (ours).
const enough = 100

// pages are one process' metrics at two moments.
type pages struct {
	before *etcd.Metrics // nil: there was one look
	now    *etcd.Metrics
	sample time.Duration // between them
}

// metered is a member with its metrics.
type metered struct {
	Member
	pages
}

// metered are the members whose metrics were read; of the others it is noted why not.
func (f *Facts) metered(o *outcome) []metered {
	var read []metered
	for _, m := range f.Members {
		if why := missing(m, m.Now, m.Now.Value == nil); why != "" {
			o.unknown(m.Name(), why)
			continue
		}
		read = append(read, metered{m, pages{f.earlier(m.Before, m.Now.Value), m.Now.Value, f.Sample}})
	}
	return read
}

// meteredTwice are those of which there are two looks.
func (f *Facts) meteredTwice(o *outcome) []metered {
	var read []metered
	for _, m := range f.metered(o) {
		switch {
		case m.before != nil:
			read = append(read, m)
		case f.Sample > 0 && !m.Before.Known():
			o.unknown(m.Name(), m.Before.Because)
		case f.Sample > 0 && m.Before.Value != nil:
			o.unknown(m.Name(), restarted)
		default:
			o.unknown("", lookedOnce)
		}
	}
	return read
}

// earlier is the look before; nil: there was none, or it was at another process than now's.
func (f *Facts) earlier(before Fact[*etcd.Metrics], now *etcd.Metrics) *etcd.Metrics {
	if f.Sample == 0 || !before.Known() || !sameProcess(before.Value, now) {
		return nil
	}
	return before.Value
}

// missing is why m lacks a fact; empty: it has it. One that nobody asked for is empty.
func missing[T any](m Member, fact Fact[T], isEmpty bool) string {
	switch {
	case !fact.Known():
		return fact.Because
	case !isEmpty:
		return ""
	}
	return cmp.Or(m.silent(), "nothing was seen")
}

// growth is by how much a counter grew between the looks; ok is false where this etcd has
// no such metric. One that fell is of a new process: it counts what that one counted.
func (l pages) growth(name string, labels ...string) (by float64, ok bool) {
	count := func(m *etcd.Metrics) float64 {
		value, _ := m.Value(name, labels...) // none yet: it begins at 0
		return value
	}
	_, ok = l.now.Value(name, labels...)
	return l.grown(count), ok
}

func (l pages) grown(count func(*etcd.Metrics) float64) float64 {
	now, before := count(l.now), count(l.before)
	if now < before {
		return now
	}
	return now - before
}

// share is a part of what was counted.
type share struct {
	part, whole float64
	when        string // "in the last 10s", "since it started"
}

func (s share) value() float64 { return s.part / s.whole }

func (s share) String() string {
	return fmt.Sprintf("%.0f of %.0f (%s) %s", s.part, s.whole, percent(s.value()), s.when)
}

// share counts between the looks, or where that is of too few, since the process began.
func (l pages) share(part, whole func(*etcd.Metrics) float64) Fact[share] {
	if n := l.grown(whole); l.before != nil && n >= enough {
		return Known(share{min(l.grown(part), n), n, "in the last " + l.sample.String()})
	}
	all := whole(l.now)
	if all < enough {
		return Unknown[share](fmt.Sprintf("only %.0f since it started", all))
	}
	return Known(share{part(l.now), all, l.sinceStart(uint64(l.grown(whole)))})
}

// sinceStart says that the sample, if there was one, has only few.
func (l pages) sinceStart(few uint64) string {
	if l.before == nil {
		return "since it started"
	}
	return fmt.Sprintf("since it started (%d in the last %s are too few)", few, l.sample)
}

// timing is a p99 of how long something took.
type timing struct {
	etcd.Quantile
	when   string
	orMore bool // it is of too few for a p99, and their median: the p99 is no less
}

// some is how many observations a median has to be of (ours).
const some = 10

// p99 is that of the sample, or where it has too few observations, since the process began. A
// slow disk is one of few observations: their median counts where it is worse than that.
func (l pages) p99(name string, labels ...string) Fact[timing] {
	few := uint64(0)
	if l.before != nil {
		if q, ok := l.now.Quantile(0.99, l.before, name, labels...); ok {
			if q.Count >= enough {
				return Known(timing{q, "in the last " + l.sample.String(), false})
			}
			few = q.Count
		}
	}
	if _, has := l.now.Value(name); !has {
		return Unknown[timing](noMetric(name))
	}
	q, _ := l.now.Quantile(0.99, nil, name, labels...)
	if q.Count < enough {
		return Unknown[timing](fmt.Sprintf("only %d observations since it started", q.Count))
	}
	if few >= some {
		median, _ := l.now.Quantile(0.5, l.before, name, labels...)
		if median.Value > q.Value {
			return Known(timing{median, "in the last " + l.sample.String() + ", by their median", true})
		}
	}
	return Known(timing{q, l.sinceStart(few), false})
}

func noMetric(name string) string { return "this version has no " + name }

// seconds is what the p99 is judged by: within the lowest bucket nothing is known of it.
func (t timing) seconds() float64 {
	if t.Value <= t.Least {
		return 0
	}
	return t.Value
}

func (t timing) String() string {
	if t.Value <= t.Least {
		return "below " + brief(t.Least)
	}
	if t.orMore {
		return brief(t.Value) + " or more"
	}
	return brief(t.Value)
}

// brief is a number of seconds with as many digits as a measurement deserves.
func brief(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}

// percent is a share in percent, of a small one two digits.
func percent(share float64) string {
	if share >= 0.1 {
		return fmt.Sprintf("%.0f%%", 100*share)
	}
	return fmt.Sprintf("%.2g%%", 100*share)
}

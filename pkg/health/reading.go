package health

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

const (
	// lookedOnce is why a rate is not known where members were looked at once.
	lookedOnce = "needs --sample: there was one look"
	// restarted is why two looks can't be compared: counts begin anew with the process.
	restarted = "its process started anew between the two looks"

	processStart = "process_start_time_seconds"
)

// reading is a fact about a member that is known.
type reading[T any] struct {
	Member
	Value T
}

// read asks for a fact of each of the members, and notes where it is not known and why. It goes
// by no answer to Status: metrics may be served where that is not answered.
func read[T any](members []Member, o *outcome, fact func(Member) Fact[T]) []reading[T] {
	var readings []reading[T]
	for _, m := range members {
		got := fact(m)
		if !got.Known() {
			o.unknown(m.Name(), got.Because)
			continue
		}
		readings = append(readings, reading[T]{m, got.Value})
	}
	return readings
}

// page is m's newest page of metrics.
func (m Member) page() Fact[*etcd.Metrics] {
	if m.Now.Known() && m.Now.Value == nil {
		return Unknown[*etcd.Metrics](cmp.Or(m.silent(), "its metrics were not read"))
	}
	return m.Now
}

// value is the newest value of m's metric called name, summed over its series.
func (m Member) value(name string) Fact[float64] {
	page := m.page()
	if !page.Known() {
		return Unknown[float64](page.Because)
	}
	value, ok := page.Value.Value(name)
	if !ok {
		return Unknown[float64](m.lacks(name))
	}
	return Known(value)
}

// lacks says that this version has no such metric.
func (m Member) lacks(name string) string {
	version := ""
	if m.View.Status != nil {
		version = " " + m.View.Status.Version
	}
	return fmt.Sprintf("etcd%s shows no %s", version, name)
}

// uptime is how long m's process runs.
func (m Member) uptime() Fact[time.Duration] {
	started := m.value(processStart)
	if !started.Known() {
		return Unknown[time.Duration](started.Because)
	}
	return Known(m.Now.Value.Since(unix(started.Value)))
}

// running is how long m runs: its pod's container, else, where it shows its metrics, its process.
func (f *Facts) running(m Member) Fact[time.Duration] {
	if m.Pod != nil && !m.Pod.Started.IsZero() {
		return Known(f.At.Sub(m.Pod.Started))
	}
	return m.uptime()
}

func unix(seconds float64) time.Time { return time.Unix(int64(seconds), 0) }

// looks are two pages of one process.
type looks struct {
	before, now *etcd.Metrics
	apart       time.Duration
}

// looks are m's two pages; not known: there was one, or its process is another by now.
func (f *Facts) looks(m Member) Fact[looks] {
	page := m.page()
	switch {
	case !page.Known():
		return Unknown[looks](page.Because)
	case f.Sample == 0:
		return Unknown[looks](lookedOnce)
	case !m.Before.Known():
		return Unknown[looks](m.Before.Because)
	}
	l := looks{m.Before.Value, page.Value, f.Sample}
	if l.before == nil {
		return Unknown[looks]("its metrics were read once")
	}
	l.apart = l.now.At.Sub(l.before.At)
	if !sameProcess(l.before, l.now) {
		return Unknown[looks](restarted)
	}
	return Known(l)
}

// sameProcess tells whether two pages are of one, as far as they show when it began.
func sameProcess(before, now *etcd.Metrics) bool {
	earlier, shown := before.Value(processStart)
	later, _ := now.Value(processStart)
	return !shown || earlier == later
}

// change is by how much m's gauge called name rose between the looks; negative: it fell.
func (f *Facts) change(m Member, name string) Fact[float64] {
	now := m.value(name)
	if !now.Known() {
		return now
	}
	l := f.looks(m)
	if !l.Known() {
		return Unknown[float64](l.Because)
	}
	before, ok := l.Value.before.Value(name)
	if !ok {
		return Unknown[float64](m.lacks(name))
	}
	return Known(now.Value - before)
}

// increase is how far m's counter called name went between the looks. One look is enough for
// a counter that never counted.
func (f *Facts) increase(m Member, name string) Fact[float64] {
	if now := m.value(name); f.Sample == 0 && now.Known() && now.Value == 0 {
		return now
	}
	n := f.change(m, name)
	if n.Value < 0 {
		return Unknown[float64](restarted)
	}
	return n
}

// rate is increase by the second.
func (f *Facts) rate(m Member, name string) Fact[float64] {
	n := f.increase(m, name)
	if l := f.looks(m); n.Known() && l.Known() {
		n.Value /= l.Value.apart.Seconds()
	}
	return n
}

// increaseBy is increase for each value of a label. A series appears with its first event, so
// that one which is not there counted nothing.
func (f *Facts) increaseBy(m Member, name, label string) Fact[map[string]float64] {
	page := m.page()
	if !page.Known() {
		return Unknown[map[string]float64](page.Because)
	}
	counts := page.Value.By(name, label)
	if f.Sample == 0 && !slices.ContainsFunc(slices.Collect(maps.Values(counts)), func(n float64) bool { return n > 0 }) {
		return Known(counts)
	}
	l := f.looks(m)
	if !l.Known() {
		return Unknown[map[string]float64](l.Because)
	}
	for key, before := range l.Value.before.By(name, label) {
		counts[key] -= before
		if counts[key] < 0 {
			return Unknown[map[string]float64](restarted)
		}
	}
	return Known(counts)
}

// humanBytes is "1.5 GiB".
func humanBytes[N int64 | float64](n N) string {
	value, unit := float64(n), 0
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	for math.Abs(value) >= 1024 && unit < len(units)-1 {
		value, unit = value/1024, unit+1
	}
	return strings.TrimSuffix(strconv.FormatFloat(value, 'f', 1, 64), ".0") + " " + units[unit]
}

package etcd

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Metrics are a page of Prometheus metrics, as read at one moment.
type Metrics struct {
	At       time.Time // by our clock
	date     time.Time // by that of who shows it; zero: it did not say
	families map[string]*dto.MetricFamily
}

// Since is how long ago something was at whom the page is of, which tells times by its own
// clock: that is asked, in whole seconds, else ours.
func (m *Metrics) Since(then time.Time) time.Duration {
	if m.date.IsZero() {
		return m.At.Sub(then)
	}
	return m.date.Sub(then)
}

// ReadMetrics parses the text format.
func ReadMetrics(page io.Reader, at time.Time) (*Metrics, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(page)
	if err != nil {
		return nil, fmt.Errorf("parse metrics: %w", err)
	}
	return &Metrics{At: at, families: families}, nil
}

// Value is the sum of a counter's or gauge's series that have the labels, given as name and
// value in turn; a histogram's or summary's is its count. ok is false where there are none.
func (m *Metrics) Value(name string, labels ...string) (value float64, ok bool) {
	for _, series := range m.series(name, labels) {
		value += number(series)
		ok = true
	}
	return value, ok
}

// By is the value for each value of a label.
func (m *Metrics) By(name, label string) map[string]float64 {
	values := map[string]float64{}
	m.Each(name, func(labels map[string]string, value float64) {
		if of, ok := labels[label]; ok {
			values[of] += value
		}
	})
	return values
}

// Each calls do for every series, with its labels.
func (m *Metrics) Each(name string, do func(labels map[string]string, value float64)) {
	for _, series := range m.series(name, nil) {
		labels := map[string]string{}
		for _, pair := range series.GetLabel() {
			labels[pair.GetName()] = pair.GetValue()
		}
		do(labels, number(series))
	}
}

// Sum is a histogram's sum and count over the series that have the labels.
func (m *Metrics) Sum(name string, labels ...string) (sum float64, count uint64) {
	for _, series := range m.series(name, labels) {
		sum += series.GetHistogram().GetSampleSum()
		count += series.GetHistogram().GetSampleCount()
	}
	return sum, count
}

func (m *Metrics) series(name string, labels []string) []*dto.Metric {
	if m == nil || m.families[name] == nil {
		return nil
	}
	var found []*dto.Metric
	for _, series := range m.families[name].GetMetric() {
		if hasLabels(series, labels) {
			found = append(found, series)
		}
	}
	return found
}

func hasLabels(series *dto.Metric, labels []string) bool {
	for i := 0; i+1 < len(labels); i += 2 {
		has := slices.ContainsFunc(series.GetLabel(), func(pair *dto.LabelPair) bool {
			return pair.GetName() == labels[i] && pair.GetValue() == labels[i+1]
		})
		if !has {
			return false
		}
	}
	return true
}

func number(series *dto.Metric) float64 {
	switch {
	case series.Counter != nil:
		return series.Counter.GetValue()
	case series.Gauge != nil:
		return series.Gauge.GetValue()
	case series.Histogram != nil:
		return float64(series.Histogram.GetSampleCount())
	case series.Summary != nil:
		return float64(series.Summary.GetSampleCount())
	}
	return series.Untyped.GetValue()
}

// Quantile is a share of a histogram's observations that took at most Value.
type Quantile struct {
	Value float64 // interpolated within its bucket, as Prometheus does; seconds for durations
	Count uint64  // observations that it is of
	Least float64 // the upper edge of the lowest bucket: below it nothing is told apart
}

// Quantile is the q-quantile of a histogram over the series that have the labels, of what
// was observed since before; nil: since the process began. ok is false where nothing was.
func (m *Metrics) Quantile(q float64, before *Metrics, name string, labels ...string) (_ Quantile, ok bool) {
	buckets := m.buckets(name, labels)
	subtract(buckets, before.buckets(name, labels))
	if len(buckets) == 0 || buckets[len(buckets)-1].count == 0 {
		return Quantile{}, false
	}
	total := buckets[len(buckets)-1].count
	return Quantile{Value: interpolate(buckets, q*float64(total)), Count: total, Least: buckets[0].edge}, true
}

// subtract takes out of buckets what they held earlier; where any held more then, the process
// is another, and all that is in them was observed since.
func subtract(buckets, earlier []bucket) {
	then := make([]uint64, len(buckets))
	for i, b := range buckets {
		j := slices.IndexFunc(earlier, func(e bucket) bool { return e.edge == b.edge })
		if j < 0 {
			continue
		}
		if then[i] = earlier[j].count; then[i] > b.count {
			return
		}
	}
	for i := range buckets {
		buckets[i].count -= then[i]
	}
}

// bucket is the number of observations up to edge.
type bucket struct {
	edge  float64
	count uint64
}

// buckets are those of all series together, by edge; the last one's is infinite.
func (m *Metrics) buckets(name string, labels []string) []bucket {
	counts := map[float64]uint64{}
	for _, series := range m.series(name, labels) {
		for _, b := range series.GetHistogram().GetBucket() {
			if !math.IsInf(b.GetUpperBound(), 1) {
				counts[b.GetUpperBound()] += b.GetCumulativeCount()
			}
		}
		counts[math.Inf(1)] += series.GetHistogram().GetSampleCount()
	}
	list := make([]bucket, 0, len(counts))
	for edge, count := range counts {
		list = append(list, bucket{edge, count})
	}
	slices.SortFunc(list, func(a, b bucket) int { return cmp.Compare(a.edge, b.edge) })
	return list
}

// interpolate is where the observation number rank lies. Above the last finite edge nothing
// is known: that edge it is.
func interpolate(buckets []bucket, rank float64) float64 {
	lower, below := 0.0, uint64(0)
	for _, b := range buckets {
		if float64(b.count) >= rank && b.count > below {
			if math.IsInf(b.edge, 1) {
				return lower
			}
			return lower + (b.edge-lower)*(rank-float64(below))/float64(b.count-below)
		}
		lower, below = b.edge, b.count
	}
	return lower
}

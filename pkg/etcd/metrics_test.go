package etcd

import (
	"math"
	"strings"
	"testing"
	"time"
)

func page(t *testing.T, text string) *Metrics {
	t.Helper()
	m, err := ReadMetrics(strings.NewReader(text), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

const twoSeries = `# TYPE h histogram
h_bucket{to="a",le="1"} 10
h_bucket{to="a",le="2"} 10
h_bucket{to="a",le="+Inf"} 10
h_sum{to="a"} 5
h_count{to="a"} 10
h_bucket{to="b",le="1"} 0
h_bucket{to="b",le="2"} 10
h_bucket{to="b",le="+Inf"} 10
h_sum{to="b"} 15
h_count{to="b"} 10
# TYPE c counter
c{code="OK",type="unary"} 3
c{code="OK",type="stream"} 4
c{code="Internal",type="unary"} 5
`

func TestQuantile(t *testing.T) {
	m := page(t, twoSeries)
	tests := []struct {
		name   string
		q      float64
		labels []string
		want   float64
		count  uint64
	}{
		{"both", 0.5, nil, 1, 20},
		{"one", 0.5, []string{"to", "b"}, 1.5, 10},
		{"top", 1, nil, 2, 20},
		{"interpolated", 0.25, nil, 0.5, 20},
	}
	for _, test := range tests {
		got, ok := m.Quantile(test.q, nil, "h", test.labels...)
		if !ok || math.Abs(got.Value-test.want) > 1e-9 || got.Count != test.count || got.Least != 1 {
			t.Errorf("%s: %+v, %t, want %v of %d", test.name, got, ok, test.want, test.count)
		}
	}
	earlier := page(t, strings.ReplaceAll(twoSeries, `to="b"`, `to="c"`)) // b's were not there yet
	if got, ok := m.Quantile(0.5, earlier, "h", "to", "b"); !ok || got.Count != 10 {
		t.Errorf("since before the series was: %+v, %t", got, ok)
	}
	half := page(t, strings.ReplaceAll(twoSeries, "} 10", "} 4"))
	if got, ok := m.Quantile(0.5, half, "h", "to", "b"); !ok || got.Count != 6 || got.Value != 1.5 {
		t.Errorf("since then: %+v, %t", got, ok)
	}
	restarted := page(t, strings.ReplaceAll(twoSeries, "} 10", "} 99"))
	if got, ok := m.Quantile(0.5, restarted, "h"); !ok || got.Count != 20 {
		t.Errorf("after a restart: %+v, %t", got, ok)
	}
	// The process before had slow ones alone, and fewer quick ones than this one has by now.
	slow := page(t, "# TYPE h histogram\nh_bucket{le=\"1\"} 10\nh_bucket{le=\"2\"} 19\nh_bucket{le=\"4\"} 19\nh_bucket{le=\"+Inf\"} 30\nh_count 30\n")
	quick := page(t, "# TYPE h histogram\nh_bucket{le=\"1\"} 20\nh_bucket{le=\"2\"} 20\nh_bucket{le=\"4\"} 20\nh_bucket{le=\"+Inf\"} 20\nh_count 20\n")
	if got, ok := quick.Quantile(0.99, slow, "h"); !ok || got.Count != 20 || got.Value > 1 {
		t.Errorf("after a restart, of a process that was slow: %+v, %t", got, ok)
	}
	if _, ok := m.Quantile(0.5, m, "h"); ok {
		t.Error("nothing was observed since, and there is a quantile")
	}
	if _, ok := m.Quantile(0.5, nil, "none"); ok {
		t.Error("there is a quantile of no histogram")
	}
	beyond := page(t, "# TYPE h histogram\nh_bucket{le=\"1\"} 0\nh_bucket{le=\"+Inf\"} 9\nh_sum 90\nh_count 9\n")
	if got, ok := beyond.Quantile(0.5, nil, "h"); !ok || got.Value != 1 {
		t.Errorf("above all edges: %+v, %t", got, ok)
	}
}

func TestMetricValues(t *testing.T) {
	m := page(t, twoSeries)
	if v, ok := m.Value("c", "code", "OK"); !ok || v != 7 {
		t.Errorf("c of OK is %v, %t", v, ok)
	}
	if v, ok := m.Value("c", "code", "OK", "type", "unary"); !ok || v != 3 {
		t.Errorf("c of OK and unary is %v, %t", v, ok)
	}
	if _, ok := m.Value("c", "code", "Aborted"); ok {
		t.Error("there is a series that there is not")
	}
	if by := m.By("c", "code"); by["OK"] != 7 || by["Internal"] != 5 || len(by) != 2 {
		t.Errorf("by code: %v", by)
	}
	if sum, count := m.Sum("h"); sum != 20 || count != 20 {
		t.Errorf("sum %v of %d", sum, count)
	}
	if _, err := ReadMetrics(strings.NewReader("<html>"), time.Time{}); err == nil {
		t.Error("a web page passed for metrics")
	}
}

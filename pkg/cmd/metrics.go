package cmd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
)

// metrics are what Prometheus may ask of a backup that follows. A nil one sees nothing.
type metrics struct {
	server *http.Server
	ended  chan error

	mu                             sync.Mutex
	lastBase, lastSegment, until   time.Time
	revision, head, events, bytes  float64
	baseBytes, failures, waiting   float64
	disagree, connected, timelines float64
	floor                          float64
}

// startMetrics serves them on an address; empty: none.
func startMetrics(address, archive string) (*metrics, error) {
	if address == "" {
		return nil, nil
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("serve metrics: %w", err)
	}
	m := &metrics{ended: make(chan error, 1)}
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.WrapCollectorWith(prometheus.Labels{"archive": archive}, m))
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	m.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() { m.ended <- m.server.Serve(listener) }()
	return m, nil
}

func (m *metrics) close() error {
	if m == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := m.server.Shutdown(ctx)
	if ended := <-m.ended; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

func (m *metrics) see(n backup.Notice) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case n.Segment != nil:
		s := n.Segment.Summary
		m.lastSegment, m.until, m.revision = n.Time, s.LastTime, float64(s.Last)
		m.events, m.bytes, m.waiting = m.events+float64(s.Events), m.bytes+float64(n.Segment.Bytes), float64(n.Segment.Waiting)
		m.head = max(m.head, m.revision)
	case n.Base != nil:
		m.lastBase, m.baseBytes = n.Time, float64(n.Base.Info.StoredSize)
		m.revision = max(m.revision, float64(n.Base.Info.Last))
		if m.floor == 0 {
			m.floor = float64(n.Base.Info.Floor)
		}
	case n.Idle != nil:
		m.until = n.Idle.Time
	case n.Timeline != nil && n.Timeline.Opened:
		m.timelines++
	case n.Err != nil:
		m.failures++
	case n.Capture != nil:
		m.capture(n)
	}
}

func (m *metrics) capture(n backup.Notice) {
	switch e := n.Capture; {
	case e.Disagree:
		m.disagree = 1
	case e.Lost != nil:
		m.connected = 0
	case e.Connected != "":
		m.connected, m.head = 1, max(m.head, float64(e.Head))
	}
}

var metricDescriptions = []struct {
	name, help string
	kind       prometheus.ValueType
	value      func(*metrics) (float64, bool)
}{
	{"last_base_age_seconds", "Since the last base was put; absent: none was.", prometheus.GaugeValue, func(m *metrics) (float64, bool) { return age0(m.lastBase) }},
	{"last_segment_age_seconds", "Since the last segment was put; absent: none was.", prometheus.GaugeValue, func(m *metrics) (float64, bool) { return age0(m.lastSegment) }},
	{"lag_seconds", "How old the newest moment is that is in the archive.", prometheus.GaugeValue, func(m *metrics) (float64, bool) { return age0(m.until) }},
	{"archived_revision", "Last revision in the archive.", prometheus.GaugeValue, func(m *metrics) (float64, bool) { return m.revision, m.revision > 0 }},
	{"restorable_from_revision", "First revision that this writer's first base reaches back to.", prometheus.GaugeValue, func(m *metrics) (float64, bool) { return m.floor, m.floor > 0 }},
	{"lag_revisions", "Revisions that etcd was seen to have and the archive has not.", prometheus.GaugeValue, func(m *metrics) (float64, bool) { return max(m.head-m.revision, 0), m.revision > 0 }},
	{"events_total", "Events put into the archive.", prometheus.CounterValue, func(m *metrics) (float64, bool) { return m.events, true }},
	{"segment_bytes_total", "Bytes of segments put into the archive.", prometheus.CounterValue, func(m *metrics) (float64, bool) { return m.bytes, true }},
	{"last_base_bytes", "Bytes of the last base, as stored.", prometheus.GaugeValue, func(m *metrics) (float64, bool) { return m.baseBytes, m.baseBytes > 0 }},
	{"segments_waiting", "Segments that wait for the store.", prometheus.GaugeValue, func(m *metrics) (float64, bool) { return m.waiting, true }},
	{"errors_total", "Puts and bases that failed and were tried again.", prometheus.CounterValue, func(m *metrics) (float64, bool) { return m.failures, true }},
	{"timelines_opened_total", "Histories that this writer opened.", prometheus.CounterValue, func(m *metrics) (float64, bool) { return m.timelines, true }},
	{"connected", "1 while a member is followed.", prometheus.GaugeValue, func(m *metrics) (float64, bool) { return m.connected, true }},
	{"members_disagree", "1 once members were seen to hold different data.", prometheus.GaugeValue, func(m *metrics) (float64, bool) { return m.disagree, true }},
}

func age0(t time.Time) (float64, bool) { return time.Since(t).Seconds(), !t.IsZero() }

// Describe is a prometheus.Collector's.
func (m *metrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range metricDescriptions {
		to <- prometheus.NewDesc("kubectl_etcd_"+d.name, d.help, nil, nil)
	}
}

// Collect is a prometheus.Collector's.
func (m *metrics) Collect(to chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range metricDescriptions {
		if value, ok := d.value(m); ok {
			to <- prometheus.MustNewConstMetric(prometheus.NewDesc("kubectl_etcd_"+d.name, d.help, nil, nil), d.kind, value)
		}
	}
}

package cmd

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/health"
)

// syncs are a member's fsyncs: so many of 1 ms, and so many of half a second.
func syncs(t *testing.T, quick, slow int) health.Fact[*etcd.Metrics] {
	t.Helper()
	const name = "etcd_disk_wal_fsync_duration_seconds"
	page := fmt.Sprintf("# TYPE %[1]s histogram\n%[1]s_bucket{le=\"0.001\"} %[2]d\n%[1]s_bucket{le=\"0.256\"} %[2]d\n%[1]s_bucket{le=\"0.512\"} %[3]d\n%[1]s_bucket{le=\"+Inf\"} %[3]d\n%[1]s_sum 1\n%[1]s_count %[3]d\n",
		name, quick, quick+slow)
	metrics, err := etcd.ReadMetrics(strings.NewReader(page), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return health.Known(metrics)
}

// TestDiskTime: the sample counts where it has enough; where it has few since each was slow,
// they do all the same.
func TestDiskTime(t *testing.T) {
	for _, test := range []struct {
		name                     string
		quickBefore, quick, slow int
		least, most              time.Duration // 0: not known
	}{
		{"enough in the sample", 100000, 0, 150, 256 * time.Millisecond, 512 * time.Millisecond},
		{"enough, and quick", 100000, 150, 0, time.Millisecond, time.Millisecond},
		{"few, since each is slow", 100000, 0, 30, 256 * time.Millisecond, 512 * time.Millisecond},
		{"few, and one of them slow", 100000, 29, 1, time.Millisecond, time.Millisecond},
		{"too few for a median", 100000, 0, 9, time.Millisecond, time.Millisecond},
		{"too few at all", 0, 50, 0, 0, 0},
	} {
		m := health.Member{Before: syncs(t, test.quickBefore, 0), Now: syncs(t, test.quickBefore+test.quick, test.slow)}
		got := diskTime(m, "etcd_disk_wal_fsync_duration_seconds")
		switch {
		case test.most == 0 && got.Value != nil, test.most > 0 && (got.Value == nil || *got.Value < test.least || *got.Value > test.most):
			t.Errorf("%s: %v %s, want %s to %s", test.name, got.Value, got.Missing, test.least, test.most)
		}
	}
}

package health

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// member has two pages, ten seconds apart. Empty: there is no such page.
func member(before, now string) Member {
	m := Member{}
	if before != "" {
		m.Before = Known(metrics(before, noon.Add(-10*time.Second)))
	}
	if now != "" {
		m.Now = Known(metrics(now, noon))
	}
	return m
}

func TestIncrease(t *testing.T) {
	const start, later = "process_start_time_seconds 100\n", "process_start_time_seconds 200\n"
	for _, c := range []struct {
		name, before, now string
		sample            time.Duration
		want              Fact[float64]
	}{
		{"rose", start + "n 3\n", start + "n 8\n", time.Second, Known(5.0)},
		{"stayed", start + "n 3\n", start + "n 3\n", time.Second, Known(0.0)},
		{"fell", start + "n 3\n", start + "n 2\n", time.Second, Unknown[float64](restarted)},
		{"rose in another process", start + "n 3\n", later + "n 8\n", time.Second, Unknown[float64](restarted)},
		{"rose, and no start is shown", "n 3\n", "n 8\n", time.Second, Known(5.0)},
		{"is new", start, start + "n 8\n", time.Second, Unknown[float64]("etcd shows no n")},
		{"is not there", start, start, time.Second, Unknown[float64]("etcd shows no n")},
		{"was seen once", "", start + "n 8\n", 0, Unknown[float64](lookedOnce)},
		{"was seen once and never counted", "", start + "n 0\n", 0, Known(0.0)},
		{"lacks the first look", "", start + "n 0\n", time.Second, Unknown[float64]("its metrics were read once")},
		{"was never seen", "", "", time.Second, Unknown[float64]("it does not answer")},
	} {
		f := &Facts{Sample: c.sample}
		if got := f.increase(member(c.before, c.now), "n"); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestIncreaseBy(t *testing.T) {
	const none, some, more = "x 1\n", "n{To=\"a\"} 3\n", "n{To=\"a\"} 8\nn{To=\"b\"} 2\n"
	for _, c := range []struct {
		name, before, now string
		sample            time.Duration
		want              map[string]float64
		because           string
	}{
		{"rose, and appeared", some, more, time.Second, map[string]float64{"a": 5, "b": 2}, ""},
		{"fell", more, some, time.Second, nil, restarted},
		{"was seen once", "", more, 0, nil, lookedOnce},
		{"was seen once and never counted", "", "n{To=\"a\"} 0\n", 0, map[string]float64{"a": 0}, ""},
		{"is not there", none, none, time.Second, map[string]float64{}, ""},
		{"was never seen", "", "", time.Second, nil, "it does not answer"},
	} {
		f := &Facts{Sample: c.sample}
		if got := f.increaseBy(member(c.before, c.now), "n", "To"); got.Because != c.because || !maps.Equal(got.Value, c.want) {
			t.Errorf("%s: %+v, want %v %q", c.name, got, c.want, c.because)
		}
	}
}

// TestRate goes by when the pages were read, not by how long they should be apart.
func TestRate(t *testing.T) {
	f := &Facts{Sample: time.Second}
	if got := f.rate(member("n 3\n", "n 8\n"), "n"); got != Known(0.5) {
		t.Errorf("%+v", got)
	}
}

// TestOwnClock: how long ago something was at a member is told by the member's own clock.
func TestOwnClock(t *testing.T) {
	hour := time.Hour
	for _, ours := range []time.Duration{-hour, 0, hour} {
		page := etcd.Page{Status: 200, Date: noon, Answered: noon.Add(ours), Body: []byte(fmt.Sprintf(
			"process_start_time_seconds %d\netcd_debugging_mvcc_db_compaction_last %d\n", noon.Add(-2*hour).Unix(), noon.Add(-time.Minute).Unix()))}
		metrics, err := page.Metrics()
		if err != nil {
			t.Fatal(err)
		}
		m := Member{Now: Known(metrics)}
		if up, idle := m.uptime(), idleSince(m, hour); up.Value != 2*hour || idle.Value.age != time.Minute {
			t.Errorf("ours %s ahead: up %+v, idle %+v", ours, up, idle)
		}
	}
}

func TestUnreadPage(t *testing.T) {
	answers := Member{View: etcd.MemberView{Status: &etcd.Status{}}}
	if got := answers.page(); got.Because != "its metrics were not read" {
		t.Errorf("%+v", got)
	}
}

func TestHumanBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1 KiB", 3 << 29: "1.5 GiB", -2 << 20: "-2 MiB", 1 << 50: "1024 TiB"} {
		if got := humanBytes(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

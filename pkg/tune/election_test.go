package tune

import (
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/config"
)

// The worked examples of the rules (§1.5), all on etcd's defaults of 100 and 1000.
func TestWorkedExamples(t *testing.T) {
	for _, test := range []struct {
		name       string
		rtt, fsync time.Duration
		want       Timing
		keep       bool
	}{
		{"kubeadm, three zones", 1500 * time.Microsecond, 6 * ms, Timing{100 * ms, time.Second}, true},
		{"the lab's pair", 59 * ms, 12 * ms, Timing{100 * ms, time.Second}, true},
		{"US to US", 130 * ms, 8 * ms, Timing{130 * ms, 1430 * ms}, false},
		{"EU to Asia", 250 * ms, 40 * ms, Timing{250 * ms, 3 * time.Second}, false},
		{"US to Japan", 400 * ms, 40 * ms, Timing{400 * ms, 4400 * ms}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := Advise(kubeadmFacts(3, test.rtt, test.fsync), Options{})
			if a.Timing == nil || *a.Timing != test.want {
				t.Fatalf("got %v, want %v", a.Timing, test.want)
			}
			if got := recommend(test.rtt, test.fsync); got != test.want {
				t.Errorf("recommended %v, want %v", got, test.want)
			}
			level, verb := LevelSuggest, "set "
			if test.keep {
				level, verb = LevelKeep, "keep "
			}
			for flag, value := range map[string]time.Duration{"heartbeat-interval": test.want.Heartbeat, "election-timeout": test.want.Election} {
				item := itemOf(t, a, flag)
				suggested := flagMillis(value)
				if test.keep {
					suggested = ""
				}
				if item.Level != level || item.Suggested != suggested {
					t.Errorf("%s: %s %q, want %s %q", flag, item.Level, item.Suggested, level, suggested)
				}
			}
			if a.Summary != verb+"heartbeat-interval="+flagMillis(test.want.Heartbeat)+" and election-timeout="+flagMillis(test.want.Election) {
				t.Errorf("summary %q", a.Summary)
			}
			if (len(a.Steps) == 0) != test.keep {
				t.Errorf("%d steps", len(a.Steps))
			}
		})
	}
}

func TestTimingLevels(t *testing.T) {
	const second = time.Second
	plain := func(rtt, fsync time.Duration) Facts { return kubeadmFacts(3, rtt, fsync) }
	apart := plain(ms, 6*ms)
	apart.Members[2].Fsync = Unknown[time.Duration]("no metrics")
	unheard := plain(ms, 6*ms)
	unheard.RTTs = nil
	unread := plain(ms, 6*ms)
	unread.Members[1].Unread, unread.Members[1].Settings = "forbidden", nil
	other := plain(600*ms, 6*ms)
	other.Kubernetes = Known(false)
	for _, test := range []struct {
		name      string
		facts     Facts
		heartbeat Level
		election  Level
		says      string // in the election-timeout's reason, or the summary
	}{
		{"well", plain(ms, 6*ms), LevelKeep, LevelKeep, "keep"},
		{"well, set long ago", plain(130*ms, 8*ms).timing("150", "1500"), LevelKeep, LevelKeep, "keep heartbeat-interval=150 and election-timeout=1500"},
		{"heartbeat just long enough", plain(130*ms, 8*ms).timing("65", "1500"), LevelKeep, LevelKeep, "keep"},
		{"heartbeat just short enough", plain(130*ms, 8*ms).timing("195", "1560"), LevelKeep, LevelKeep, "keep"},
		{"heartbeat too short", plain(130*ms, 8*ms).timing("64", "1500"), LevelSuggest, LevelSuggest, "set heartbeat-interval=130"},
		{"heartbeat too long", plain(10*ms, 8*ms).timing("101", "1111"), LevelSuggest, LevelSuggest, "set heartbeat-interval=100"},
		{"timeout too short", plain(130*ms, 8*ms).timing("130", "1300"), LevelKeep, LevelSuggest, "set heartbeat-interval=130"},
		{"timeout floored", plain(ms, 6*ms).timing("100", "1050"), LevelKeep, LevelKeep, "takes 1000 for 1050"},
		{"timeout floored too short", plain(130*ms, 8*ms).timing("150", "1490"), LevelSuggest, LevelSuggest, "takes 1350 for 1490"},
		{"members differ", plain(ms, 6*ms).timing("100", "1200", 1), LevelKeep, LevelCritical, "the members differ"},
		{"won't start", plain(ms, 6*ms).timing("300", "1000"), LevelCritical, LevelCritical, "less than 5 times"},
		{"won't start, too long", plain(ms, 6*ms).timing("100", "50001"), LevelCritical, LevelCritical, "more than 50000"},
		{"won't start, no number", plain(ms, 6*ms).timing("100", "1s"), LevelCritical, LevelCritical, `"1s" is no number`},
		{"unsupported", plain(6*second, 6*ms), LevelCritical, LevelCritical, "RTT unsupported"},
		{"just supported", plain(4500*ms, 6*ms), LevelSuggest, LevelWarning, "set heartbeat-interval=4500 and election-timeout=49500"},
		{"long for Kubernetes", plain(600*ms, 6*ms), LevelSuggest, LevelWarning, "our own number"},
		{"long for others", other, LevelSuggest, LevelSuggest, "set heartbeat-interval=600"},
		{"kept, as long as Kubernetes likes", plain(ms, 6*ms).timing("100", "5000"), LevelKeep, LevelKeep, "keep"},
		{"a very slow disk", plain(ms, 300*ms), LevelSuggest, LevelWarning, "then: set heartbeat-interval=150 and election-timeout=3150"},
		{"kept too long", plain(ms, 6*ms).timing("100", "9000"), LevelKeep, LevelWarning, "1000 would do"},
		{"slow disk", plain(ms, 100*ms), LevelKeep, LevelWarning, "fix the disk first: fsync p99 100ms"},
		{"nearly slow disk", plain(ms, 99*ms), LevelKeep, LevelKeep, "keep"},
		{"one voter", plain(0, 6*ms), LevelKeep, LevelKeep, "keep"},
		{"a disk not measured", apart, LevelUnknown, LevelUnknown, "not all was measured: fsync of m3: no metrics"},
		{"no round trips", unheard, LevelUnknown, LevelUnknown, "nobody measured it"},
		{"settings not read", unread, LevelUnknown, LevelUnknown, "not known of m2: forbidden"},
		{"nothing", Facts{}, LevelUnknown, LevelUnknown, "not measured"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := Advise(test.facts, Options{})
			h, e := itemOf(t, a, "heartbeat-interval"), itemOf(t, a, "election-timeout")
			if h.Level != test.heartbeat || e.Level != test.election {
				t.Errorf("got %s and %s, want %s and %s: %s", h.Level, e.Level, test.heartbeat, test.election, e.Reason)
			}
			if !strings.Contains(e.Reason+"\n"+a.Summary+"\n"+strings.Join(a.Reasons, "\n"), test.says) {
				t.Errorf("%q, %q do not say %q", e.Reason, a.Summary, test.says)
			}
			if a.Timing != nil && a.Timing.Validate() != nil {
				t.Errorf("suggested %v: %v", *a.Timing, a.Timing.Validate())
			}
		})
	}
}

// What etcd makes of an election timeout, by its own code where that can be called.
func TestEffects(t *testing.T) {
	for _, test := range []struct {
		Timing
		lease time.Duration
	}{
		{Timing{100 * ms, time.Second}, 2 * time.Second},
		{Timing{100 * ms, 1050 * ms}, 2 * time.Second},
		{Timing{400 * ms, 4400 * ms}, 7 * time.Second},
		{Timing{time.Second, 9 * time.Second}, 13 * time.Second}, // 27/2 ticks are 13
	} {
		server := config.ServerConfig{TickMs: uint(test.Heartbeat / ms), ElectionTicks: int(test.Election / test.Heartbeat)}
		e := server.ElectionTimeout()
		want := Effects{RequestTimeout: server.ReqTimeout(), PeerDialTimeout: time.Second + e, MinLeaseTTL: test.lease, FailoverMin: e, FailoverMax: 2 * e}
		if got := test.effects(); got != want {
			t.Errorf("%v: got %+v, want %+v", test.Timing, got, want)
		}
	}
}

func TestOptionsMoveOurOwnNumbers(t *testing.T) {
	f := kubeadmFacts(3, 600*ms, 150*ms)
	a := Advise(f, Options{LongElection: 10 * time.Second, SlowFsync: time.Second})
	if e := itemOf(t, a, "election-timeout"); e.Level != LevelSuggest {
		t.Errorf("got %s: %s", e.Level, e.Reason)
	}
}

func TestRestartPending(t *testing.T) {
	flagged := kubeadmFacts(3, 130*ms, 8*ms).timing("130", "1430")
	for i := range flagged.Members {
		flagged.Members[i].Running = Settings{"name": {"m", FromProcess}} // started without the two
	}
	logged := kubeadmFacts(3, 130*ms, 8*ms).timing("130", "1430")
	logged.Members[0].Running = Settings{"heartbeat-interval": {"100", FromLog}, "election-timeout": {"1000", FromLog}}
	env := kubeadmFacts(3, 130*ms, 8*ms)
	for i := range env.Members { // a command line says nothing of the environment
		env.Members[i].Settings["heartbeat-interval"] = Setting{"130", FromEnvironment}
		env.Members[i].Settings["election-timeout"] = Setting{"1430", FromEnvironment}
		env.Members[i].Running = Settings{"name": {"m", FromProcess}}
	}
	same := kubeadmFacts(3, 130*ms, 8*ms).timing("130", "1430")
	same.Members[0].Running = Settings{"heartbeat-interval": {"130", FromProcess}, "election-timeout": {"1430", FromProcess}}
	for _, test := range []struct {
		name    string
		facts   Facts
		level   Level
		pending bool
	}{
		{"all", flagged, LevelWarning, true},
		{"one, by its log", logged, LevelCritical, true}, // and so the members differ
		{"environment", env, LevelKeep, false},
		{"the same", same, LevelKeep, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			item := itemOf(t, Advise(test.facts, Options{}), "election-timeout")
			if item.Level != test.level || strings.Contains(item.Reason, "restart pending") != test.pending {
				t.Errorf("%s: %s", item.Level, item.Reason)
			}
			if (item.Current[0].Pending != nil) != test.pending {
				t.Errorf("current %+v", item.Current)
			}
			if item.Suggested != "" {
				t.Errorf("suggests %s, which the specification has", item.Suggested)
			}
		})
	}
}

// TestReasonsNameTheDisk: where it is the fsync that asks for so much, no round trip is blamed.
func TestReasonsNameTheDisk(t *testing.T) {
	a := Advise(kubeadmFacts(3, ms, 5*time.Second), Options{})
	text := strings.Join(append(a.Reasons, a.Items[0].Reason), "; ")
	if a.Timing != nil || strings.Contains(text, "RTT unsupported") || !strings.Contains(text, "no setting suits fsyncs of 5s") {
		t.Errorf("%q, %q, %+v", a.Summary, text, a.Timing)
	}
	a = Advise(kubeadmFacts(3, ms, 400*ms), Options{})
	if item := a.Items[0]; item.Suggested != "200" || !strings.Contains(item.Reason, "half the fsync of 400ms") {
		t.Errorf("%+v", item)
	}
}

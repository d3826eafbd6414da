package tune

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// The round trip that counts is that of the best method.
func TestRoundTripsByMethod(t *testing.T) {
	measured := func(method Method, d time.Duration, samples int) RTT {
		return RTT{From: "m1", To: "m2", Method: method, P50: Known(d), Samples: samples}
	}
	back := measured(MethodConnect, 14*ms, 40)
	back.From, back.To = "m2", "m1"
	failed := RTT{From: "m1", To: "m2", Method: MethodConnect, P50: Unknown[time.Duration]("connection refused")}
	gone := RTT{From: "m1", To: "m9", Method: MethodConnect, P50: Known(time.Second), Samples: 40}
	for _, test := range []struct {
		name string
		rtts []RTT
		want time.Duration // 0: unknown
		says string        // in the reason, or a note
	}{
		{"connect first", []RTT{measured(MethodMetric, 18*ms, 10), measured(MethodConnect, 12*ms, 30)}, 12 * ms, ""},
		{"the slower direction", []RTT{measured(MethodConnect, 12*ms, 30), back}, 14 * ms, ""},
		{"reads before the metric", []RTT{measured(MethodMetric, 14*ms, 10), measured(MethodReadIndex, 10*ms, 30)}, 10 * ms, ""},
		{"reads against the metric", []RTT{measured(MethodMetric, 71*ms, 10), measured(MethodReadIndex, 22*ms, 30)}, 22 * ms, ""},
		{"reads near connects", []RTT{measured(MethodConnect, 10*ms, 30), measured(MethodReadIndex, 15*ms, 30)}, 10 * ms, ""},
		{"reads against connects", []RTT{measured(MethodConnect, 10*ms, 30), measured(MethodReadIndex, 16*ms, 30)}, 10 * ms, "16ms by reads, which wait for more"},
		{"few samples", []RTT{measured(MethodConnect, 10*ms, 29)}, 0, "29 samples by connect, 30 are needed"},
		{"few samples, then the metric", []RTT{measured(MethodReadIndex, 10*ms, 29), measured(MethodMetric, 18*ms, 4)}, 18 * ms, ""},
		{"failed", []RTT{failed}, 0, "connection refused"},
		{"a member that is gone", []RTT{gone}, 0, "nobody measured it"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := kubeadmFacts(2, 0, 6*ms)
			f.RTTs = test.rtts
			a := Advise(f, Options{})
			got := time.Duration(0)
			if a.RTT.Value != nil {
				got = *a.RTT.Value
			}
			if got != test.want {
				t.Errorf("got %s %q, want %s", got, a.RTT.Missing, test.want)
			}
			if said := a.RTT.Missing + strings.Join(a.Notes, "\n"); !strings.Contains(said, test.says) {
				t.Errorf("%q does not say %q", said, test.says)
			}
		})
	}
}

// etcd's own probes are averaged since it started, also over a time when a member was down: they
// alone change no timeout, and the shorter of a line's two directions counts.
func TestProbesAloneChangeNothing(t *testing.T) {
	for _, test := range []struct {
		name     string
		connects time.Duration // between m1 and m2; 0: not measured
		back     time.Duration // by the metric, from m3 to m1
		summary  string
		timing   bool
	}{
		{"only the metric, one direction short", 0, 10 * ms, "keep heartbeat-interval=100", true},
		{"only the metric", 0, 150 * ms, "measure the lines before the timeouts are changed", false},
		{"the metric is longer than what is sure, and that is fine", 20 * ms, 150 * ms, "measure the lines before the timeouts are changed", false},
		{"what is sure wants a change", 150 * ms, 160 * ms, "set heartbeat-interval=", true},
	} {
		f := kubeadmFacts(3, 0, 6*ms)
		f.RTTs = nil
		for _, r := range []struct {
			from, to string
			rtt      time.Duration
		}{{"m1", "m2", 5 * ms}, {"m1", "m3", 162 * ms}, {"m3", "m1", test.back}, {"m2", "m3", 5 * ms}} {
			f.RTTs = append(f.RTTs, RTT{From: r.from, To: r.to, Method: MethodMetric, P50: Known(r.rtt), Samples: 10})
		}
		if test.connects > 0 {
			f.RTTs = append(f.RTTs, RTT{From: "m1", To: "m2", Method: MethodConnect, P50: Known(test.connects), Samples: 40})
		}
		a := Advise(f, Options{})
		if !strings.HasPrefix(a.Summary, test.summary) || (a.Timing != nil) != test.timing {
			t.Errorf("%s: %s %q, timing %v", test.name, a.Summary, a.Reasons, a.Timing)
		}
	}
}

// The way to measure is one that was not tried, and can tell.
func TestHowToMeasure(t *testing.T) {
	read := func(from, to string, unreliable bool) RTT {
		return RTT{From: from, To: to, Method: MethodReadIndex, P50: Known(5 * ms), Samples: 40, Unreliable: unreliable}
	}
	connect := RTT{From: "m1", To: "m3", Method: MethodConnect, P50: Known(5 * ms), Samples: 40, Unreliable: true}
	none := RTT{From: "m1", To: "m3", Method: MethodReadIndex, P50: Unknown[time.Duration]("no certificate")}
	for _, test := range []struct {
		rtts []RTT
		want string
	}{
		{nil, "--relay, or a certificate"},
		{[]RTT{none}, "--relay, or a certificate"},
		{[]RTT{read("m2", "m1", false), read("m2", "m3", true)}, "--relay"},
		{[]RTT{read("m3", "m1", true)}, "again, when less goes on, or by --relay"},
		{[]RTT{read("m3", "m1", true), connect}, "again, when less goes on"},
	} {
		f := kubeadmFacts(3, 0, 6*ms)
		f.RTTs = test.rtts
		for _, ends := range []pair{{"m1", "m2"}, {"m1", "m3"}, {"m2", "m3"}} {
			f.RTTs = append(f.RTTs, RTT{From: ends.a, To: ends.b, Method: MethodMetric, P50: Known(5 * ms), Samples: 10})
		}
		f.RTTs[len(test.rtts)+1].P50 = Known(150 * ms)
		if want, got := "measure the lines before the timeouts are changed: "+test.want, Advise(f, Options{}).Summary; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestLearnersDoNotCount(t *testing.T) {
	f := kubeadmFacts(4, 2*ms, 6*ms)
	f.Members[3].Learner = true
	f.Members[3].Fsync = Known(2 * time.Second)
	for i := range f.RTTs {
		if f.RTTs[i].To == "m4" {
			f.RTTs[i].P50 = Known(time.Second)
		}
	}
	a := Advise(f, Options{})
	if *a.RTT.Value != 2*ms || *a.Fsync.Value != 6*ms || *a.Timing != (Timing{100 * ms, time.Second}) {
		t.Errorf("rtt %s, fsync %s, %v", *a.RTT.Value, *a.Fsync.Value, a.Timing)
	}
}

// One pair that could not be measured may be the longest: nothing is called well.
func TestSomePairsNotMeasured(t *testing.T) {
	f := kubeadmFacts(3, 2*ms, 6*ms)
	f.RTTs[2].P50 = Unknown[time.Duration]("m2 does not answer")
	a := Advise(f, Options{})
	item := itemOf(t, a, "heartbeat-interval")
	if item.Level != LevelUnknown || item.Suggested != "" || strings.HasPrefix(a.Summary, "keep") {
		t.Errorf("%s %q: %s; %s", item.Level, item.Suggested, item.Reason, a.Summary)
	}
	if notes := strings.Join(a.Notes, "\n"); !strings.Contains(notes, "not measured: m2 to m3: m2 does not answer") {
		t.Errorf("notes %s", notes)
	}
}

func TestSlowCommits(t *testing.T) {
	f := kubeadmFacts(3, 2*ms, 6*ms)
	f.Members[1].Commit = Known(25 * ms)
	if notes := strings.Join(Advise(f, Options{}).Notes, "\n"); strings.Count(notes, "backend commit p99 of m2 is 25ms") != 1 {
		t.Errorf("notes %s", notes)
	}
}

// TestBest: one method for each two members; what only tells why it is not known stays
// where nothing else is.
func TestBest(t *testing.T) {
	of := func(from, to string, method Method, p50 Fact[time.Duration]) RTT {
		return RTT{From: from, To: to, Method: method, P50: p50, Samples: 40}
	}
	lost := Unknown[time.Duration]("refused")
	all := []RTT{
		of("a", "b", MethodConnect, Known(ms)), of("b", "a", MethodConnect, Known(2*ms)), of("a", "c", MethodConnect, lost),
		of("a", "b", MethodReadIndex, Known(3*ms)), of("a", "c", MethodReadIndex, Known(4*ms)), of("a", "d", MethodReadIndex, lost),
		of("c", "b", MethodMetric, Known(5*ms)), of("d", "a", MethodMetric, lost),
	}
	var got []string
	for _, r := range Best(all) {
		got = append(got, r.From+r.To+" "+string(r.Method))
	}
	want := []string{"ab connect", "ba connect", "ac readindex", "ad readindex", "cb metric"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

package tune

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// reads are n of a mean, each off by up to jitter.
func readTimes(random *rand.Rand, n int, mean, jitter time.Duration) []time.Duration {
	times := make([]time.Duration, n)
	for i := range times {
		times[i] = mean
		if jitter > 0 {
			times[i] += time.Duration(random.Int64N(int64(2*jitter))) - jitter
		}
	}
	slices.Sort(times)
	return times
}

// TestFromReads: a cluster with known round trips, each member behind a way of its own
// length, is read back.
func TestFromReads(t *testing.T) {
	const quorum = 5 * ms // what the leader takes to hear from one
	random := rand.New(rand.NewPCG(1, 2))
	member := func(name string, leader bool, way, rtt, jitter time.Duration) Reads {
		linearizable := way + quorum
		if !leader {
			linearizable += rtt
		}
		return Reads{Member: name, Leader: leader,
			Linearizable: readTimes(random, 40, linearizable, jitter), Serializable: readTimes(random, 40, way, jitter)}
	}
	for _, injected := range []time.Duration{0, 5 * ms, 20 * ms, 50 * ms, 100 * ms} {
		rtts := FromReads([]Reads{
			member("a", true, 3*ms, 0, ms/4), member("b", false, 40*ms, injected, ms/4), member("c", false, 1*ms, 2*injected, ms/4),
		})
		if len(rtts) != 2 {
			t.Fatalf("%d pairs", len(rtts))
		}
		for i, want := range []time.Duration{injected, 2 * injected} {
			r := rtts[i]
			if r.From != "a" || r.Samples != 40 || r.Method != MethodReadIndex || r.unfit() != "" {
				t.Errorf("%+v", r)
			}
			if off := *r.P50.Value - want; off.Abs() > max(want*15/100, 2*ms) {
				t.Errorf("injected %s, read %s", want, *r.P50.Value)
			}
			if strings.Contains(r.Confidence, "not to be relied") {
				t.Errorf("quiet reads are not believed: %s", r.Confidence)
			}
		}
	}
	noisy := FromReads([]Reads{member("a", true, ms, 0, 30*ms), member("b", false, ms, 5*ms, 30*ms)})
	if !strings.Contains(noisy[0].Confidence, "not to be relied upon") {
		t.Errorf("reads that vary by 30 ms are believed: %s", noisy[0].Confidence)
	}
	if noisy[0].unfit() == "" {
		t.Error("something goes by reads that vary by 30 ms")
	}
}

func TestFromReadsThatAreMissing(t *testing.T) {
	one := []time.Duration{ms}
	leader := Reads{Member: "a", Leader: true, Linearizable: one, Serializable: one}
	dead := Reads{Member: "b", Missing: "no answer in 5s"}
	if rtts := FromReads([]Reads{leader, dead}); len(rtts) != 1 || rtts[0].P50.Missing != "no answer in 5s" {
		t.Errorf("%+v", rtts)
	}
	if rtts := FromReads([]Reads{dead}); rtts != nil {
		t.Errorf("without a leader: %+v", rtts)
	}
	if rtts := FromReads([]Reads{leader, {Member: "b"}}); rtts[0].P50.Value != nil {
		t.Errorf("no read at all gave %+v", rtts)
	}
	few := FromReads([]Reads{leader, {Member: "b", Linearizable: one, Serializable: one}})
	if why := few[0].unfit(); !strings.Contains(why, "1 samples by readindex") {
		t.Errorf("one sample is enough: %q", why)
	}
}

func TestFromMetrics(t *testing.T) {
	means := []PeerMean{{"a", "b", 60 * ms, 10}, {"b", "c", 90 * ms, 10}, {"c", "a", 90 * ms, 3}}
	known := func(rtts []RTT, i int, want time.Duration, how string) {
		t.Helper()
		if r := rtts[i]; r.P50.Value == nil || *r.P50.Value != want || !strings.Contains(r.Confidence, how) {
			t.Errorf("%+v, want %s by %s", r, want, how)
		}
	}
	plain := FromMetrics(means, false, nil)
	known(plain, 0, 40*ms, "no TLS")
	known(plain, 1, 60*ms, "no TLS")
	if plain[2].P50.Value != nil {
		t.Errorf("three probes are enough: %+v", plain[2])
	}
	known(FromMetrics(means, true, nil), 0, 30*ms, "TLS")

	read := func(rtt time.Duration) []RTT {
		return []RTT{{From: "b", To: "a", P50: Known(rtt), Samples: 40, Method: MethodReadIndex}}
	}
	known(FromMetrics(means, true, read(20*ms)), 1, 30*ms, "as against what was measured") // 60/20 = 3
	known(FromMetrics(means, true, read(2*ms)), 0, 15*ms, "as against what was measured")  // at most 4
	known(FromMetrics(means, true, read(50*ms)), 0, 40*ms, "as against what was measured") // at least 1.5
	known(FromMetrics(means, true, read(ms)), 0, 30*ms, "TLS")                             // too short to go by
}

func TestFromConnects(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	took := readTimes(random, 100, 20*ms, ms)
	took[3], took[99] = took[99], took[3] // in any order
	rtt := FromConnects("a", "b", took, "")
	if p50 := *rtt.P50.Value; (p50-20*ms).Abs() > ms/2 || *rtt.P99.Value < p50 || rtt.unfit() != "" {
		t.Errorf("%+v", rtt)
	}
	if few := FromConnects("a", "b", took[:40], ""); few.P50.Value == nil || few.P99.Value != nil || few.unfit() != "" {
		t.Errorf("40 connects: %+v", few)
	}
	// Some lost: the p50 stands, the p99 tells.
	for i := range 5 {
		took[i] = time.Second
	}
	if lost := FromConnects("a", "b", took, ""); *lost.P50.Value > 21*ms || *lost.P99.Value != time.Second || lost.unfit() != "" {
		t.Errorf("with loss: %+v", lost)
	}
	// Half of them near, half far: the median is the one or the other by chance.
	split := append(readTimes(random, 20, ms, 0), readTimes(random, 20, 100*ms, 0)...)
	if noisy := FromConnects("a", "b", split, ""); noisy.unfit() == "" {
		t.Errorf("something goes by connects of 1 and of 100 ms: %+v", noisy)
	}
	if none := FromConnects("a", "b", nil, "refused"); none.P50.Missing != "refused" {
		t.Errorf("%+v", none)
	}
}

// TestFromReadsOnABusyCluster: two reads in three wait for another batch, or for entries to
// be written, up to as long again; the quickest don't.
func TestFromReadsOnABusyCluster(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	const rtt, quorum, way = 20 * ms, 21 * ms, 4 * ms
	busy := func(base time.Duration) []time.Duration {
		times := readTimes(random, 40, base, ms/2)
		for i := range times {
			if random.IntN(3) > 0 {
				times[i] += time.Duration(random.Int64N(int64(base + rtt)))
			}
		}
		slices.Sort(times)
		return times
	}
	for range 100 {
		got := FromReads([]Reads{
			{Member: "a", Leader: true, Linearizable: busy(way + quorum), Serializable: readTimes(random, 40, way, ms/2)},
			{Member: "b", Linearizable: busy(way + quorum + rtt), Serializable: readTimes(random, 40, way, ms/2)},
		})[0]
		if off := (*got.P50.Value - rtt).Abs(); off > 3*ms && !got.Unreliable {
			t.Errorf("%v instead of %v, %s", *got.P50.Value, rtt, got.Confidence)
		}
	}
}

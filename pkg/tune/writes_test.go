package tune

import (
	"strings"
	"testing"
	"time"
)

// trip sets the round trip of the leader, m1, and a follower.
func (f Facts) trip(to string, d time.Duration) Facts {
	for i := range f.RTTs {
		if f.RTTs[i].From == "m1" && f.RTTs[i].To == to {
			f.RTTs[i].P50 = Known(d)
		}
	}
	return f
}

func TestWriteLatency(t *testing.T) {
	spread := kubeadmFacts(5, 0, 2*ms).trip("m2", 30*ms).trip("m3", 10*ms).trip("m4", 20*ms).trip("m5", 40*ms)
	slowLeader := kubeadmFacts(3, ms, 2*ms)
	slowLeader.Members[0].Fsync = Known(90 * ms)
	slowFollower := kubeadmFacts(3, 20*ms, 4*ms)
	slowFollower.Members[1].Fsync = Known(300 * ms)
	for _, test := range []struct {
		name  string
		facts Facts
		want  map[int]time.Duration // by members
	}{
		{"the lab, 20 ms each", kubeadmFacts(3, 20*ms, 4*ms), map[int]time.Duration{1: 4 * ms, 3: 24 * ms, 5: 24 * ms, 7: 24 * ms}},
		{"spread", spread, map[int]time.Duration{1: 2 * ms, 3: 12 * ms, 5: 22 * ms, 7: 32 * ms}},
		{"the leader's disk", slowLeader, map[int]time.Duration{1: 90 * ms, 3: 90 * ms, 5: 90 * ms, 7: 90 * ms}},
		{"a follower's disk", slowFollower, map[int]time.Duration{1: 4 * ms, 3: 24 * ms, 5: 320 * ms, 7: 320 * ms}},
		{"four", kubeadmFacts(4, 20*ms, 4*ms), map[int]time.Duration{1: 4 * ms, 3: 24 * ms, 4: 24 * ms, 5: 24 * ms, 7: 24 * ms}},
	} {
		t.Run(test.name, func(t *testing.T) {
			writes := Advise(test.facts, Options{}).Writes
			if len(writes) != len(test.want) {
				t.Errorf("%d rows, want %d", len(writes), len(test.want))
			}
			for _, w := range writes {
				if w.Latency.Value == nil || *w.Latency.Value != test.want[w.Members] {
					t.Errorf("%d members: %+v, want %s", w.Members, w.Latency, test.want[w.Members])
				}
				if voters := len(test.facts.Members); w.Current != (w.Members == voters) || w.Assumed != max(0, w.Members-voters) || w.CanLose != (w.Members-1)/2 {
					t.Errorf("%+v", w)
				}
			}
		})
	}
}

func TestWriteLatencyNotMeasured(t *testing.T) {
	noLeader := kubeadmFacts(3, ms, 2*ms)
	noLeader.Members[0].Leader = false
	noDisk := kubeadmFacts(3, ms, 2*ms)
	noDisk.Members[0].Fsync = Unknown[time.Duration]("no metrics")
	noPair := kubeadmFacts(3, ms, 2*ms)
	noPair.RTTs[0].P50 = Unknown[time.Duration]("timed out")
	for _, test := range []struct {
		name   string
		facts  Facts
		single bool // what one member takes is known all the same
		says   string
	}{
		{"no leader", noLeader, false, "no leader is known"},
		{"the leader's disk", noDisk, false, "fsync of m1: no metrics"},
		{"a round trip", noPair, true, "round trip m1 to m2: timed out"},
		{"no followers", kubeadmFacts(1, 0, 2*ms), true, "there is no follower yet"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, w := range Advise(test.facts, Options{}).Writes {
				known := w.Latency.Value != nil
				if known != (test.single && w.Members == 1) || !known && w.Latency.Missing != test.says {
					t.Errorf("%d members: %+v", w.Members, w.Latency)
				}
			}
		})
	}
}

func TestMemberNotes(t *testing.T) {
	for members, even := range map[int]bool{1: false, 2: true, 3: false, 4: true, 5: false} {
		notes := strings.Join(Advise(kubeadmFacts(members, ms, 2*ms), Options{}).Notes, "\n")
		if strings.Contains(notes, "never an even number") != even || !strings.Contains(notes, "no autoscaling") || !strings.Contains(notes, "reads faster") {
			t.Errorf("%d members: %s", members, notes)
		}
	}
}

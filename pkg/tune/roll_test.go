package tune

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func members(n int, t Timing) []MemberTiming {
	var all []MemberTiming
	for i := range n {
		all = append(all, MemberTiming{Name: fmt.Sprintf("m%d", i+1), Leader: i == 0, Timing: t})
	}
	return all
}

// order is the steps in short: "1:m2=130/1430".
func order(steps []Step) string {
	var texts []string
	for _, s := range steps {
		texts = append(texts, fmt.Sprintf("%d:%s=%s/%s", s.Pass, s.Member, flagMillis(s.Set.Heartbeat), flagMillis(s.Set.Election)))
	}
	return strings.Join(texts, " ")
}

func TestRollOrder(t *testing.T) {
	of := func(h, e int) Timing { return Timing{time.Duration(h) * ms, time.Duration(e) * ms} }
	half := members(3, of(100, 1000))
	half[1].Timing = of(130, 1430)
	for _, test := range []struct {
		name   string
		now    []MemberTiming
		target Timing
		want   string
	}{
		{"nothing", members(3, of(100, 1000)), of(100, 1000), ""},
		{"raising", members(3, of(100, 1000)), of(130, 1430), "1:m2=130/1430 1:m3=130/1430 1:m1=130/1430"},
		{"raising far", members(3, of(100, 1000)), of(400, 4400), "1:m2=100/4400 1:m3=100/4400 1:m1=100/4400 2:m2=400/4400 2:m3=400/4400 2:m1=400/4400"},
		{"lowering", members(3, of(130, 1430)), of(100, 1000), "1:m2=100/1430 1:m3=100/1430 1:m1=100/1430 2:m2=100/1000 2:m3=100/1000 2:m1=100/1000"},
		{"lowering the timeout alone", members(2, of(100, 3000)), of(100, 1000), "1:m2=100/1000 1:m1=100/1000"},
		{"lowering the heartbeat alone", members(2, of(200, 3000)), of(100, 3000), "1:m2=100/3000 1:m1=100/3000"},
		{"closer together", members(2, of(100, 3000)), of(200, 2000), "1:m2=200/2000 1:m1=200/2000"},
		{"half done", half, of(130, 1430), "1:m3=130/1430 1:m1=130/1430"},
		{"one member", members(1, of(100, 1000)), of(400, 4400), "1:m1=100/4400 2:m1=400/4400"},
	} {
		t.Run(test.name, func(t *testing.T) {
			steps, err := Roll(test.now, test.target)
			if err != nil {
				t.Fatal(err)
			}
			if got := order(steps); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
	if _, err := Roll(members(3, of(100, 1000)), of(300, 1000)); err == nil {
		t.Error("a target that etcd does not start with was taken")
	}
}

// randomTiming is one that etcd starts with, often at the edge of it.
func randomTiming(r *rand.Rand) Timing {
	heartbeat := time.Duration(1+r.IntN(10000)) * ms
	most := int(maxElection/heartbeat) - minRatio
	return Timing{heartbeat, heartbeat*minRatio + time.Duration(r.IntN(max(1, most*r.IntN(2)+1)))*heartbeat}
}

// At every step, played from the beginning, any leader's five heartbeats fit into every
// member's timeout; where they did not at first, no step makes it worse; and in the end all
// have the target.
func TestRollHoldsAtEveryStep(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		now := members(1+r.IntN(7), randomTiming(r))
		mixed := r.IntN(2) == 0
		for i := range now {
			if mixed {
				now[i].Timing = randomTiming(r)
			}
			now[i].Leader = false
		}
		leader := r.IntN(len(now))
		now[leader].Leader = true
		target := randomTiming(r)
		steps, err := Roll(now, target)
		if err != nil {
			t.Fatal(err)
		}
		play(t, now, target, steps)
	}
}

func play(t *testing.T, start []MemberTiming, target Timing, steps []Step) {
	t.Helper()
	now := map[string]Timing{}
	for _, m := range start {
		now[m.Name] = m.Timing
	}
	held, before := holds(extremes(start)), extremes(start)
	last := map[int]string{}
	for _, s := range steps {
		now[s.Member] = s.Set
		after := Timing{Election: maxElection}
		for _, m := range now {
			after = Timing{max(after.Heartbeat, m.Heartbeat), min(after.Election, m.Election)}
		}
		fits := 5*after.Heartbeat <= after.Election
		if after != s.After || fits != s.Holds || held && !fits || s.Set.Validate() != nil {
			t.Fatalf("from %v to %v: %s: after %+v", start, target, order(steps), s)
		}
		if !held && s.Pass == 1 && (after.Heartbeat > before.Heartbeat || after.Election < before.Election) {
			t.Fatalf("from %v to %v: %s: worse at %+v", start, target, order(steps), s)
		}
		before, last[s.Pass] = after, s.Member
	}
	for _, m := range start {
		if now[m.Name] != target {
			t.Fatalf("from %v to %v: %s ends at %v", start, target, m.Name, now[m.Name])
		}
	}
	for _, m := range start {
		for pass, name := range last {
			if m.Leader && touches(steps, pass, m.Name) && name != m.Name {
				t.Fatalf("pass %d ends with %s, not with the leader: %s", pass, name, order(steps))
			}
		}
	}
}

func touches(steps []Step, pass int, name string) bool {
	for _, s := range steps {
		if s.Pass == pass && s.Member == name {
			return true
		}
	}
	return false
}

package tune

import "fmt"

// MemberTiming is what a member runs with.
type MemberTiming struct {
	Name   string
	Leader bool
	Timing
}

// Step is one member's restart.
type Step struct {
	Pass   int    `json:"pass"` // from 1; a pass begins when the one before has ended
	Member string `json:"member"`
	Set    Timing `json:"set"`
	// After are the longest heartbeat and the shortest election timeout of any member once
	// it is done. Whoever leads, the others wait for it as long as etcd demands of one
	// member's own settings: five of these heartbeats fit into this timeout.
	After Timing `json:"after"`
	// Holds: they do. It is false only where they did not at the beginning.
	Holds bool `json:"holds"`
}

// Roll is the order in which members are restarted to come to a timing, one at a time, the
// leader last in each pass. Where old and new values don't go together, or where both go
// down, it takes two passes: first each member's heartbeat goes down and its election
// timeout up as far as either will, which no other member can mind; then all get the new
// values. Members that have a pass' values are left alone.
func Roll(members []MemberTiming, target Timing) ([]Step, error) {
	if err := target.Validate(); err != nil {
		return nil, fmt.Errorf("plan the restarts: %w", err)
	}
	now := leaderLast(members)
	passes := []func(Timing) Timing{
		func(t Timing) Timing {
			return Timing{min(t.Heartbeat, target.Heartbeat), max(t.Election, target.Election)}
		},
		func(Timing) Timing { return target },
	}
	if mixes(now, target) {
		passes = passes[1:]
	}
	var steps []Step
	for _, next := range passes {
		before := len(steps)
		pass := 1
		if before > 0 {
			pass = steps[before-1].Pass + 1
		}
		for i, m := range now {
			set := next(m.Timing)
			if set == m.Timing {
				continue
			}
			now[i].Timing = set
			after := extremes(now)
			steps = append(steps, Step{pass, m.Name, set, after, holds(after)})
		}
	}
	return steps, nil
}

// leaderLast is a copy with the leader at its end.
func leaderLast(members []MemberTiming) []MemberTiming {
	var followers, leaders []MemberTiming
	for _, m := range members {
		if m.Leader {
			leaders = append(leaders, m)
		} else {
			followers = append(followers, m)
		}
	}
	return append(followers, leaders...)
}

// mixes tells whether one pass will do: any old value goes with any new one, and the two
// do not go down together, where a leader with the long heartbeat would be heard by
// members with the short timeout.
func mixes(members []MemberTiming, target Timing) bool {
	heartbeatDown, electionDown := false, false
	for _, m := range members {
		heartbeatDown = heartbeatDown || m.Heartbeat > target.Heartbeat
		electionDown = electionDown || m.Election > target.Election
	}
	all := extremes(append([]MemberTiming{{Timing: target}}, members...))
	return holds(all) && (!heartbeatDown || !electionDown)
}

// extremes are the longest heartbeat and the shortest election timeout.
func extremes(members []MemberTiming) Timing {
	t := members[0].Timing
	for _, m := range members[1:] {
		t = Timing{max(t.Heartbeat, m.Heartbeat), min(t.Election, m.Election)}
	}
	return t
}

func holds(t Timing) bool { return minRatio*t.Heartbeat <= t.Election }

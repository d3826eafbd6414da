package tune

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const tuningSource = "etcd.io/docs tuning, Time parameters"

func timingFlags() (heartbeat, election flag) {
	heartbeat = flag{name: "heartbeat-interval", defaults: []since{{oldest, "100"}}, normal: wholeNumber, source: tuningSource}
	election = flag{name: "election-timeout", defaults: []since{{oldest, "1000"}}, normal: wholeNumber, source: tuningSource}
	return heartbeat, election
}

// judgeTiming adds the items of heartbeat-interval and election-timeout, which go together.
func (a *adviser) judgeTiming() {
	heartbeat, election := timingFlags()
	h, e := a.read(heartbeat), a.read(election)
	now, err := a.timings(heartbeat, election)
	rh, re := a.suitable(now, err)
	rh, re = rh.settle(heartbeat, h), re.settle(election, e)
	if fault := a.startFault(heartbeat, election); fault != "" {
		r := ruling{LevelCritical, "", fault}
		rh, re = rh.with(r), re.with(r)
	}
	rh = rh.with(heartbeat.differ(h, LevelCritical)).with(pendingOf(h))
	re = re.with(election.differ(e, LevelCritical)).with(pendingOf(e)).with(a.floored(now)).with(a.tooLong(now))
	if a.slowDisk() {
		re = ruling{LevelWarning, "", fmt.Sprintf("fix the disk first: fsync p99 is %s, and no timeout mends that", say(*a.fsync.Value))}.with(re)
	}
	for _, x := range []struct {
		flag
		current []Current
		ruling
	}{{heartbeat, h, rh}, {election, e, re}} {
		a.add(Item{
			Flag: x.name, Current: x.current, Suggested: x.suggested, Level: x.level,
			Reason: x.reason, Source: x.source, Default: a.defaultText(x.flag),
		})
	}
	a.plan(now, err)
}

// timings are what the members run with; an error says of whom that isn't known.
func (a *adviser) timings(heartbeat, election flag) ([]MemberTiming, error) {
	var all []MemberTiming
	for _, m := range a.facts.Members {
		h, e := m.current(heartbeat), m.current(election)
		for _, c := range []Current{h, e} {
			if c.Missing != "" {
				return nil, fmt.Errorf("%s: %s", m.Name, c.Missing)
			}
		}
		t, err := timingOf(h.Value, e.Value)
		if err != nil && t == (Timing{}) {
			return nil, fmt.Errorf("%s: %w", m.Name, err)
		}
		all = append(all, MemberTiming{m.Name, m.Leader, t})
	}
	if all == nil {
		return nil, fmt.Errorf("no member is known")
	}
	return all, nil
}

// suitable compares what the members have with what the network and the disks want, and
// settles Timing.
func (a *adviser) suitable(now []MemberTiming, unknown error) (heartbeat, election ruling) {
	if a.RTT.Value == nil {
		r := ruling{LevelUnknown, "", "round trips not measured: " + a.RTT.why()}
		return r, r
	}
	rtt, fsync := *a.RTT.Value, time.Duration(0)
	if a.fsync.Value != nil {
		fsync = *a.fsync.Value
	}
	want := recommend(rtt, fsync)
	if want.Election > maxElection {
		a.refused = true
		what := "RTT unsupported: " + say(rtt)
		if a.diskAlone() {
			what = "fsyncs of " + say(fsync)
		}
		r := ruling{LevelCritical, "", fmt.Sprintf("%s would take an election-timeout of %s, and etcd starts with no more than 50000", what, flagMillis(want.Election))}
		return r, r
	}
	level := LevelSuggest
	switch {
	case unknown != nil:
		level = LevelUnknown
	case uniform(now) && now[0].suits(rtt, fsync):
		want, level = now[0].Timing, LevelKeep
	case a.network.probed && uniform(now) && now[0].suits(a.network.sure, fsync):
		a.doubt = fmt.Sprintf("by etcd's own probes %s is %s, which would want heartbeat-interval=%s and election-timeout=%s; they are averaged since etcd started, also over times when a member was down",
			a.network.farthest, say(rtt), flagMillis(want.Heartbeat), flagMillis(want.Election))
		r := ruling{LevelUnknown, "", a.doubt}
		return r, r
	}
	a.Timing = &want
	effects := want.effects()
	a.Effects = &effects
	if level == LevelKeep && len(a.incomplete()) > 0 {
		level = LevelUnknown
	}
	return a.explain(level, want, unknown)
}

func (a *adviser) explain(level Level, want Timing, unknown error) (heartbeat, election ruling) {
	rtt, fsync := *a.RTT.Value, "not measured"
	if a.fsync.Value != nil {
		fsync = say(*a.fsync.Value)
	}
	trip := "a single voter waits for nobody"
	switch {
	case a.fsync.Value != nil && *a.fsync.Value/2 > max(rtt, defaultHeartbeat):
		trip = fmt.Sprintf("half the fsync of %s, longer than any round trip: a shorter one would count as late", fsync)
	case a.network.farthest != "":
		trip = fmt.Sprintf("the longest round trip is %s (%s): 0.5 to 1.5 of it, or 100", say(rtt), a.network.farthest)
	}
	heartbeat = ruling{level, flagMillis(want.Heartbeat), trip}
	election = ruling{level, flagMillis(want.Election), fmt.Sprintf("at least ten times round trip and fsync together, %s and %s, in whole heartbeats", say(rtt), fsync)}
	if missing := a.incomplete(); len(missing) > 0 {
		text := "; more may be needed, for not all was measured: " + missing[0]
		heartbeat.reason += text
		election.reason += text
	}
	if unknown != nil {
		a.unseen = "what they are now is not known of " + unknown.Error()
		heartbeat = ruling{level, "", flagMillis(want.Heartbeat) + " suits: " + heartbeat.reason + "; " + a.unseen}
		election = ruling{level, "", flagMillis(want.Election) + " suits: " + election.reason + "; " + a.unseen}
	}
	return heartbeat, election
}

// diskAlone: with a faster disk etcd could wait for the round trips.
func (a *adviser) diskAlone() bool { return recommend(*a.RTT.Value, 0).Election <= maxElection }

// incomplete is what was not measured, and may be longer than what was.
func (a *adviser) incomplete() []string { return slices.Concat(a.network.unknown, a.fsyncUnknown) }

func uniform(members []MemberTiming) bool {
	for _, m := range members {
		if m.Timing != members[0].Timing {
			return false
		}
	}
	return true
}

// startFault tells why a member does not start, now or at the next restart.
func (a *adviser) startFault(heartbeat, election flag) string {
	var texts []string
	for _, m := range a.facts.Members {
		h, e := m.specified(heartbeat), m.specified(election)
		if h.Missing != "" || e.Missing != "" {
			continue
		}
		if _, err := timingOf(h.Value, e.Value); err != nil {
			texts = append(texts, fmt.Sprintf("%s will not start again: %s", m.Name, err))
		}
	}
	return strings.Join(texts, "; ")
}

// floored tells that etcd takes another election timeout than is set.
func (a *adviser) floored(now []MemberTiming) ruling {
	for _, m := range now {
		if m.Heartbeat > 0 && m.effective() != m.Election {
			return ruling{LevelKeep, "", fmt.Sprintf("etcd counts in whole heartbeats, and takes %s for %s", flagMillis(m.effective()), flagMillis(m.Election))}
		}
	}
	return ruling{}
}

// tooLong is about timeouts that Kubernetes doesn't like, as they are or as they'd have to be.
func (a *adviser) tooLong(now []MemberTiming) ruling {
	if k := a.facts.Kubernetes.Value; k != nil && !*k {
		return ruling{}
	}
	longest := time.Duration(0)
	for _, m := range now {
		longest = max(longest, m.Election)
	}
	if a.Timing != nil {
		longest = max(longest, a.Timing.Election)
	}
	if longest <= a.options.LongElection {
		return ruling{}
	}
	r := ruling{LevelWarning, "", fmt.Sprintf("an election-timeout of %s may leave Kubernetes without a leader for longer than its leases are renewed in, 10s (from %s on is our own number)", flagMillis(longest), flagMillis(a.options.LongElection))}
	if a.RTT.Value != nil && a.fsync.Value != nil {
		if want := recommend(*a.RTT.Value, *a.fsync.Value); a.Timing != nil && want.Election < a.Timing.Election {
			r.reason += fmt.Sprintf("; %s would do", flagMillis(want.Election))
		}
	}
	return r
}

// plan is the order of the restarts.
func (a *adviser) plan(now []MemberTiming, unknown error) {
	if a.Timing == nil || len(now) == 0 {
		return
	}
	if unknown != nil {
		a.Notes = append(a.Notes, "no order of restarts: not known is what runs, of "+unknown.Error())
		return
	}
	steps, err := Roll(now, *a.Timing)
	if err != nil {
		panic("tune: internal error: " + err.Error()) // we recommended it
	}
	a.Steps = steps
	if len(steps) > 0 && steps[len(steps)-1].Pass > 1 {
		a.Notes = append(a.Notes, "what is suggested are the values of the last pass: until then the members get those of the passes before it")
	}
}

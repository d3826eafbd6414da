package health

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

const (
	etcdMixin  = "etcd mixin "
	etcdServer = "server/v3 etcdserver "
)

// raftChecks are those of consensus: who leads, and who keeps up.
func raftChecks() []Check {
	return []Check{
		{
			ID: "H10", Title: "leader", Category: Raft, judge: judgeLeader,
			Measures: "the leader that each member's newest answer names; etcd_server_has_leader of those that do not answer",
			Source:   etcdMixin + "etcdNoLeader",
			Remedy:   "bring voters back until a quorum is up (kubectl etcd status), and see that they reach each other's port 2380",
		},
		{
			ID: "H11", Title: "leader changes", Category: Raft, judge: judgeLeaderChanges,
			Limits:   []string{"leader-changes", "leader-changes-window"},
			Measures: "etcd_server_leader_changes_seen_total between two looks, and on average since the process began",
			Source:   etcdMixin + "etcdHighNumberOfLeaderChanges",
			Remedy:   "look for a slow disk (H30, H31), a busy CPU or a network that loses packets (H17); across regions raise --election-timeout",
		},
		{
			ID: "H12", Title: "raft term", Category: Raft, judge: judgeTerm,
			Measures: "the raft term of each member's newest answer",
			Source:   "etcd-diagnosis, endpoint status",
			Remedy:   "the member at another term is cut off or holds elections: see that it reaches the others' port 2380 (H17)",
		},
		{
			ID: "H13", Title: "commit and apply", Category: Raft, judge: judgeApply,
			Limits:   []string{"commit-apply-gap", "commit-apply-gap-critical"},
			Measures: "raft index less applied index of one answer, the smallest of all that the member gave",
			Source:   etcdServer + "maxGapBetweenApplyAndCommitIndex (5000); the warning is ours",
			Remedy:   "look at that member's disk (H30, H31) and CPU, and for requests that are very large",
		},
		{
			ID: "H14", Title: "followers keep up", Category: Raft, judge: judgeFollowers, Limits: []string{"follower-lag"},
			Measures: "match index and state of each follower, as the leader has them in /debug/vars",
			Source:   "raft/v3 tracker; " + etcdServer + "DefaultSnapshotCatchUpEntries (5000)",
			Remedy:   "see that the follower runs, and that the leader reaches it on port 2380; then look at its disk",
		},
		{
			ID: "H15", Title: "proposals", Category: Raft, judge: judgeProposals,
			Limits:   []string{"proposals-failed", "proposals-pending"},
			Measures: "etcd_server_proposals_failed_total by the second, and etcd_server_proposals_pending at both looks",
			Source:   etcdMixin + "etcdHighNumberOfFailedProposals; what may wait is ours",
			Remedy:   "writes are lost to missing leaders (H10, H11) or wait for disks (H30): mend that",
		},
		{
			ID: "H16", Title: "heartbeats", Category: Raft, judge: judgeHeartbeats, Limits: []string{"heartbeat-failures"},
			Measures: "etcd_server_heartbeat_send_failures_total between two looks: heartbeats later than two intervals",
			Source:   etcdServer + "raftNode.processMessages",
			Remedy:   "the leader's disk (H30) or CPU is too slow: give it more, or keep other work off its node",
		},
		{
			ID: "H17", Title: "peer connections", Category: Raft, judge: judgePeers, Limits: []string{"peer-failures", "peer-failures-window"},
			Measures: "etcd_network_active_peers, and failures to send and to receive, of members that are in the list",
			Source:   etcdMixin + "etcdMembersDown",
			Remedy:   "see that the members reach each other's port 2380 and that their peer certificates are valid (H45)",
		},
		{
			ID: "H18", Title: "raft snapshots", Category: Raft, judge: judgeSnapshots, Limits: []string{"snapshot-failures"},
			Measures: "snapshots that are sent, received or applied now, and failures to send between two looks",
			Source:   "server/v3 rafthttp and etcdserver metrics",
			Remedy:   "a follower fell too far behind: keep load down until it has caught up (H14), and start no defragmentation or backup meanwhile",
		},
	}
}

func raftLimits() []Limit {
	return []Limit{
		{"leader-changes", 4, Count, "H11", Warning, etcdMixin + "etcdHighNumberOfLeaderChanges"},
		{"leader-changes-window", 900, Duration, "H11", Warning, etcdMixin + "etcdHighNumberOfLeaderChanges"},
		{"commit-apply-gap", 1000, Count, "H13", Warning, "ours"},
		{"commit-apply-gap-critical", 5000, Count, "H13", Critical, etcdServer + "maxGapBetweenApplyAndCommitIndex"},
		{"follower-lag", 5000, Count, "H14", Critical, etcdServer + "DefaultSnapshotCatchUpEntries"},
		{"proposals-failed", 5, Count, "H15", Warning, etcdMixin + "etcdHighNumberOfFailedProposals"},
		{"proposals-pending", 5, Count, "H15", Warning, "ours"},
		{"heartbeat-failures", 1, Count, "H16", Warning, etcdServer + "raftNode.processMessages"},
		{"peer-failures", 0.01, Count, "H17", Warning, etcdMixin + "etcdMembersDown"},
		{"peer-failures-window", 120, Duration, "H17", Warning, etcdMixin + "etcdMembersDown"},
		{"snapshot-failures", 1, Count, "H18", Warning, "ours"},
	}
}

func judgeLeader(f *Facts, _ Limits, o *outcome) {
	members := read(f.Members, o, hasLeader)
	if len(members) == 0 {
		return
	}
	var without []string
	for _, m := range members {
		if !m.Value {
			without = append(without, m.Name())
		}
	}
	switch len(without) {
	case 0:
		judgePastLeader(members, o)
	case len(members):
		o.critical("no member knows a leader")
	default:
		o.critical("without a leader: %s", strings.Join(without, ", "))
	}
}

// hasLeader tells whether m knows a leader: by its newest answer, else by its metrics, which
// may be served where no answer comes.
func hasLeader(m Member) Fact[bool] {
	if m.silent() == "" {
		return Known(last(m).Leader != 0)
	}
	has := m.value("etcd_server_has_leader")
	return Fact[bool]{Value: has.Value != 0, Because: has.Because}
}

// judgePastLeader is for members that know one by now: their metrics are of another moment.
func judgePastLeader(members []reading[bool], o *outcome) {
	for _, m := range members {
		if had := m.value("etcd_server_has_leader"); had.Known() && had.Value == 0 {
			o.warn("%s had no leader at the moment when its metrics were read", m.Name())
		}
	}
	o.ok("%s, each knows a leader", plural(len(members), "member"))
}

func judgeLeaderChanges(f *Facts, limits Limits, o *outcome) {
	window, most := limits.seconds("leader-changes-window"), limits.at("leader-changes")
	seen := read(f.Members, o, changesSeen)
	for _, m := range seen {
		judgeChangesNow(f, m.Member, most, o)
		// A process that is younger than the window had all its changes within it.
		average := m.Value.count * window.Seconds() / max(window, m.Value.uptime).Seconds()
		text := fmt.Sprintf("%s saw %s in %s", m.Name(), plural(int(m.Value.count), "leader change"), m.Value.uptime.Round(time.Second))
		switch {
		case average >= most:
			o.warn("%s, %.1f in %s", text, average, window)
		case m.Value.count > 0:
			o.shows("%s", text)
		}
	}
	if len(seen) > 0 {
		o.ok("the leader stays")
	}
}

// judgeChangesNow is of those between the looks. A few are no rule's finding, but news.
func judgeChangesNow(f *Facts, m Member, most float64, o *outcome) {
	n := f.increase(m, leaderChanges)
	if !n.Known() || n.Value == 0 {
		return
	}
	level := Info
	if n.Value >= most {
		level = Warning
	}
	o.say(level, "%s saw %s within %s", m.Name(), plural(int(n.Value), "leader change"), f.Sample)
}

const leaderChanges = "etcd_server_leader_changes_seen_total"

// leadership is how often a process saw the leader change.
type leadership struct {
	count  float64
	uptime time.Duration
}

func changesSeen(m Member) Fact[leadership] {
	seen, uptime := m.value(leaderChanges), m.uptime()
	if !seen.Known() || !uptime.Known() {
		return Unknown[leadership](cmp.Or(seen.Because, uptime.Because))
	}
	// The first leader that a process hears of counts too (etcdserver raftNode.start).
	return Known(leadership{max(seen.Value-1, 0), uptime.Value})
}

const onlyOne = "only one member answered, there is no other to compare it with"

func judgeTerm(f *Facts, _ Limits, o *outcome) {
	terms := map[string][]string{}
	answered := f.answering(o)
	for _, m := range answered {
		term := strconv.FormatUint(last(m).RaftTerm, 10)
		terms[term] = append(terms[term], m.Name())
	}
	switch {
	case len(answered) == 0:
	case len(answered) == 1 && len(f.Members) > 1:
		o.unknown("", onlyOne)
	case len(terms) > 1:
		o.warn("the members are at %d raft terms", len(terms))
		showEach(o, "term", terms)
	default:
		o.ok("%s at term %s", plural(len(answered), "member"), sortedKeys(terms)[0])
	}
}

func judgeApply(f *Facts, limits Limits, o *outcome) {
	warning, critical := limits.at("commit-apply-gap"), limits.at("commit-apply-gap-critical")
	for _, m := range f.answering(o) {
		gap := applyGap(m)
		if !gap.Known() {
			o.unknown(m.Name(), gap.Because)
			continue
		}
		if gap.Value < warning {
			o.ok("what is committed is applied")
			continue
		}
		text := fmt.Sprintf("%s has %.0f committed entries still to apply", m.Name(), gap.Value)
		if gap.Value >= critical {
			text += ": it refuses writes (too many requests)"
		}
		o.graded(gap.Value, warning, critical, "%s", text)
	}
}

// applyGap is the smallest of m's answers: a burst of writes opens it for a moment.
func applyGap(m Member) Fact[float64] {
	gap := math.Inf(1)
	for _, s := range answers(m) {
		if s.RaftApplied == 0 && s.RaftIndex > 0 {
			return Unknown[float64]("it does not tell what it has applied")
		}
		// It reads one after the other: the second may be ahead by then.
		gap = min(gap, float64(s.RaftIndex-min(s.RaftApplied, s.RaftIndex)))
	}
	return Known(gap)
}

// answers are all of a member that answered, oldest first.
func answers(m Member) []etcd.Status {
	if len(m.Statuses) > 0 {
		return m.Statuses
	}
	return []etcd.Status{*m.View.Status}
}

package health

import (
	"fmt"
	"slices"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

const noLeader = "no member that answered leads"

func judgeFollowers(f *Facts, limits Limits, o *outcome) {
	leader, listed := f.leader(), f.listed()
	switch {
	case leader == nil:
		o.unknown("", noLeader)
		return
	case !leader.Vars.Known():
		o.unknown(leader.Name()+", which leads", leader.Vars.Because)
		return
	case len(listed) == 0:
		o.unknown("", noList)
		return
	}
	progress := leader.Vars.Value.Raft.Progress
	own, ok := progress[leader.View.Status.MemberID]
	if !ok { // it led when it answered, and not any more when it was asked for this
		o.unknown(leader.Name()+", which leads", "it shows no progress of followers")
		return
	}
	followers := 0
	for _, m := range listed {
		if m.View.Member.ID == leader.View.Status.MemberID {
			continue
		}
		its, ok := progress[m.View.Member.ID]
		if !ok {
			o.unknown(m.Name(), "the leader says nothing of it")
			continue
		}
		followers++
		judgeFollower(m, its, own.Match-min(its.Match, own.Match), limits, o)
	}
	if followers > 0 || len(listed) == 1 {
		o.ok("no follower is behind")
	}
}

func judgeFollower(m Member, its etcd.Progress, behind uint64, limits Limits, o *outcome) {
	text := fmt.Sprintf("%s is %d entries behind the leader, in %s", m.Name(), behind, its.State)
	switch {
	case m.View.Member.Learner && (behind > 0 || its.State != "StateReplicate"):
		o.info("%s: it is a learner", text) // how long it may take is H04's
	case float64(behind) >= limits.at("follower-lag"):
		o.critical("%s: it needs a snapshot to catch up", text)
	case its.State != "StateReplicate":
		o.warn("%s", text)
	}
}

func judgeProposals(f *Facts, limits Limits, o *outcome) {
	failed := read(f.Members, o, func(m Member) Fact[float64] { return f.rate(m, "etcd_server_proposals_failed_total") })
	for _, m := range failed {
		if m.Value >= limits.at("proposals-failed") {
			o.warn("%s: %.1f proposals a second fail", m.Name(), m.Value)
		}
	}
	pending := read(f.Members, o, func(m Member) Fact[float64] {
		return f.lasting(m, "etcd_server_proposals_pending", limits.at("proposals-pending"))
	})
	for _, m := range pending {
		if m.Value >= limits.at("proposals-pending") {
			o.warn("%s: %.0f proposals or more wait all the time", m.Name(), m.Value)
		}
	}
	if len(failed) > 0 && len(pending) > 0 {
		o.ok("writes are neither refused nor queued")
	}
}

// lasting is the smaller one of a gauge's two values. One look is enough where that is less
// than what is looked for.
func (f *Facts) lasting(m Member, name string, least float64) Fact[float64] {
	now := m.value(name)
	if !now.Known() || now.Value < least {
		return now
	}
	rise := f.change(m, name)
	if !rise.Known() {
		return rise
	}
	return Known(min(now.Value, now.Value-rise.Value))
}

func judgeHeartbeats(f *Facts, limits Limits, o *outcome) {
	late := read(f.Members, o, func(m Member) Fact[float64] {
		return f.increase(m, "etcd_server_heartbeat_send_failures_total")
	})
	leads := false
	for _, m := range late {
		leads = leads || m.View.Leads()
		if m.Value >= limits.at("heartbeat-failures") { // of one that led until now, too
			o.warn("%s sent %s late within %s", m.Name(), plural(int(m.Value), "heartbeat"), f.Sample)
		}
	}
	// Followers send none: only the leader's count says that all is well.
	switch {
	case leads:
		o.ok("the leader sends its heartbeats in time")
	case f.leader() == nil:
		o.unknown("", noLeader)
	}
}

func judgePeers(f *Facts, limits Limits, o *outcome) {
	listed := f.listed()
	if len(listed) == 0 {
		o.unknown("", noList)
		return
	}
	connected := read(listed, o, func(m Member) Fact[map[string]float64] { return activePeers(m, listed) })
	for _, m := range connected {
		for _, peer := range peersOf(m.Member, listed) {
			if m.Value[peer.View.Member.ID.String()] == 0 {
				o.warn("%s is not connected to %s", m.Name(), peer.Name())
			}
		}
	}
	judgePeerFailures(f, listed, limits, o)
	if len(connected) > 0 {
		o.ok("the members are connected to each other")
	}
}

// activePeers are m's connections, by the other's ID. A process that never had one shows no
// such metric, nor does an etcd that does not know it.
func activePeers(m Member, listed []Member) Fact[map[string]float64] {
	page := m.page()
	if !page.Known() {
		return Unknown[map[string]float64](page.Because)
	}
	active := page.Value.By("etcd_network_active_peers", "Remote")
	if len(active) == 0 && len(peersOf(m, listed)) > 0 {
		return Unknown[map[string]float64](m.lacks("etcd_network_active_peers"))
	}
	return Known(active)
}

// peersOf are the members beside m that have started.
func peersOf(m Member, listed []Member) []Member {
	return slices.DeleteFunc(slices.Clone(listed), func(peer Member) bool {
		return peer.View.Member.Name == "" || peer.View.Member.ID == m.View.Member.ID
	})
}

// judgePeerFailures looks at members of the list alone: series of removed ones stay until a
// restart, and what nobody known sent is counted under its address.
func judgePeerFailures(f *Facts, listed []Member, limits Limits, o *outcome) {
	// The rule's window: one failure in a short look is not yet its rate.
	window := max(limits.seconds("peer-failures-window"), f.Sample).Seconds()
	for _, way := range []struct{ metric, label, text string }{
		{"etcd_network_peer_sent_failures_total", "To", "%s failed %s within %s to send to %s"},
		{"etcd_network_peer_received_failures_total", "From", "%s failed %s within %s to receive from %s"},
	} {
		failures := read(listed, o, func(m Member) Fact[map[string]float64] { return f.increaseBy(m, way.metric, way.label) })
		for _, m := range failures {
			for _, peer := range listed {
				if n := m.Value[peer.View.Member.ID.String()]; n/window >= limits.at("peer-failures") {
					o.warn(way.text, m.Name(), plural(int(n), "time"), f.Sample, peer.Name())
				}
			}
		}
	}
}

func judgeSnapshots(f *Facts, limits Limits, o *outcome) {
	listed := f.listed()
	if len(listed) == 0 {
		o.unknown("", noList)
		return
	}
	applying := read(listed, o, func(m Member) Fact[float64] { return m.value("etcd_server_snapshot_apply_in_progress_total") })
	for _, m := range applying {
		if m.Value > 0 {
			o.say(trouble(m.Member), "%s applies a snapshot", m.Name())
		}
		judgeTransfers(m.Member, listed, o)
	}
	failures := read(listed, o, func(m Member) Fact[map[string]float64] {
		return f.increaseBy(m, "etcd_network_snapshot_send_failures", "To")
	})
	for _, m := range failures {
		for _, peer := range listed {
			if n := m.Value[peer.View.Member.ID.String()]; n >= limits.at("snapshot-failures") {
				o.warn("%s failed %s within %s to send a snapshot to %s", m.Name(), plural(int(n), "time"), f.Sample, peer.Name())
			}
		}
	}
	if len(applying) > 0 {
		o.ok("no member needs a snapshot")
	}
}

func judgeTransfers(m Member, listed []Member, o *outcome) {
	sends := m.Now.Value.By("etcd_network_snapshot_send_inflights_total", "To")
	receives := m.Now.Value.By("etcd_network_snapshot_receive_inflights_total", "From")
	for _, peer := range listed {
		if sends[peer.View.Member.ID.String()] > 0 {
			o.say(trouble(peer), "%s sends a snapshot to %s", m.Name(), peer.Name())
		}
		if receives[peer.View.Member.ID.String()] > 0 {
			o.say(trouble(m), "%s receives a snapshot from %s", m.Name(), peer.Name())
		}
	}
}

// trouble is the level of a snapshot for m: a learner begins with one.
func trouble(m Member) Level {
	if m.View.Member.Learner {
		return Info
	}
	return Warning
}

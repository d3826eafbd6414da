package health

import (
	"fmt"
	"strings"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// healthyRaftMetrics are of a process that runs for 30 days and has seen some trouble in them.
func healthyRaftMetrics() string {
	var b strings.Builder
	fmt.Fprintf(&b, "process_start_time_seconds %d\n", noon.AddDate(0, 0, -30).Unix())
	for i := range 9 { // itself and members that never were are in it too: nobody looks there
		fmt.Fprintf(&b, "etcd_network_active_peers{Local=\"10\",Remote=\"%x\"} 1\n", 0x10+i)
	}
	b.WriteString(`etcd_server_leader_changes_seen_total 12
etcd_server_proposals_failed_total 3
etcd_server_proposals_pending 0
etcd_server_heartbeat_send_failures_total 4
etcd_network_peer_sent_failures_total{To="11"} 7
etcd_network_peer_received_failures_total{From="11"} 1
etcd_network_peer_received_failures_total{From="10.9.9.9:4711"} 8
etcd_network_snapshot_send_failures{To="11"} 1
etcd_network_snapshot_send_inflights_total{To="11"} 0
etcd_network_snapshot_receive_inflights_total{From="11"} 0
etcd_server_snapshot_apply_in_progress_total 0
`)
	return b.String()
}

// once makes it a look without a sample.
func once(f *Facts) {
	f.Sample = 0
	for i := range f.Members {
		f.Members[i].Before = Unknown[*etcd.Metrics]("there was one look")
	}
}

// startedAgo is the line of a process that began so long before noon.
func startedAgo(ago time.Duration) string {
	return fmt.Sprintf("process_start_time_seconds %d", noon.Add(-ago).Unix())
}

// answersOf makes statuses of member i's answer, one for each change.
func answersOf(f *Facts, i int, changes ...func(*etcd.Status)) {
	first := f.Members[i].Statuses[0]
	f.Members[i].Statuses = nil
	for _, change := range changes {
		status := first
		change(&status)
		f.Members[i].Statuses = append(f.Members[i].Statuses, status)
	}
}

func leaderless(s *etcd.Status) { s.Leader = 0 }

func behindBy(gap uint64) func(*etcd.Status) {
	return func(s *etcd.Status) { s.RaftApplied = s.RaftIndex - gap }
}

// follows sets how far the leader has member i.
func follows(f *Facts, i int, match uint64, state string) {
	f.Members[0].Vars.Value.Raft.Progress[etcd.ID(0x10+i)] = etcd.Progress{Match: match, Next: match + 1, State: state}
}

func raftCases() []checkCase {
	return append(consensusCases(), peerCases()...)
}

func consensusCases() []checkCase {
	unchanged := func(*etcd.Status) {}
	return []checkCase{
		{id: "H10", name: "led", change: resize(3), level: OK, says: "3 members, each knows"},
		{id: "H10", name: "one knows none", level: Critical, says: "without a leader: etcd-node1", mends: "2380", change: func(f *Facts) {
			answersOf(f, 1, leaderless)
		}},
		{id: "H10", name: "nobody does", level: Critical, says: "no member knows a leader", mends: "quorum", change: func(f *Facts) {
			for i := range f.Members {
				answersOf(f, i, leaderless)
			}
		}},
		{id: "H10", name: "an election that ended", level: OK, says: "each knows", change: func(f *Facts) {
			answersOf(f, 1, leaderless, unchanged)
		}},
		{id: "H10", name: "metrics of another moment", level: Warning, says: "etcd-node1 had no leader at the moment", change: func(f *Facts) {
			set(f, 1, "etcd_server_has_leader 0")
		}},
		{id: "H10", name: "only metrics are served", level: Critical, says: "without a leader: etcd-node1", change: func(f *Facts) {
			kill(f, 1)
			set(f, 1, "etcd_server_has_leader 0")
		}},
		{id: "H10", name: "one is silent", level: OK, says: "2 members, each", change: func(f *Facts) { kill(f, 2) }},
		{id: "H10", name: "one is silent, another knows none", level: Critical, says: "etcd-node1", change: func(f *Facts) {
			kill(f, 2)
			answersOf(f, 1, leaderless)
		}},
		{id: "H10", name: "silence", change: killAll, level: Unmeasured, says: "etcd-node0: it does not answer"},

		{id: "H11", name: "a few in a month", change: resize(3), level: OK, says: "etcd-node0 saw 11 leader changes in 720h0m0s"},
		{id: "H11", name: "without a sample", change: once, level: OK, says: "the leader stays"},
		{id: "H11", name: "many since the start", level: Warning, says: "etcd-node2 saw 4 leader changes in 10m0s, 4.0 in 15m0s", mends: "disk", change: func(f *Facts) {
			once(f)
			set(f, 2, startedAgo(10*time.Minute), "etcd_server_leader_changes_seen_total 5")
		}},
		{id: "H11", name: "the first leader is no change", level: OK, says: "saw 3 leader changes", change: func(f *Facts) {
			set(f, 2, startedAgo(10*time.Minute), "etcd_server_leader_changes_seen_total 4")
		}},
		{id: "H11", name: "as many in an hour", level: OK, says: "saw 4 leader changes in 1h0m0s", change: func(f *Facts) {
			set(f, 2, startedAgo(time.Hour), "etcd_server_leader_changes_seen_total 5")
		}},
		{id: "H11", name: "as many in an hour, by our own limit", level: Warning, limits: []string{"leader-changes-window=1h"}, says: "4.0 in 1h", change: func(f *Facts) {
			set(f, 2, startedAgo(time.Hour), "etcd_server_leader_changes_seen_total 5")
		}},
		{id: "H11", name: "one between the looks", level: Info, says: "etcd-node1 saw 1 leader change within 10s", change: func(f *Facts) {
			set(f, 1, "etcd_server_leader_changes_seen_total 13")
		}},
		{id: "H11", name: "many between the looks", level: Warning, says: "saw 4 leader changes within 10s", change: func(f *Facts) {
			set(f, 1, "etcd_server_leader_changes_seen_total 16")
		}},
		{id: "H11", name: "restarted between the looks", level: OK, says: "the leader stays", change: func(f *Facts) {
			set(f, 1, startedAgo(5*time.Second), "etcd_server_leader_changes_seen_total 1")
		}},
		{id: "H11", name: "restarted, and counts more by now", level: OK, says: "the leader stays", change: func(f *Facts) {
			setBefore(f, 1, "etcd_server_leader_changes_seen_total 1")
			set(f, 1, startedAgo(5*time.Second), "etcd_server_leader_changes_seen_total 2")
		}},
		{id: "H11", name: "one is silent", level: Warning, says: "etcd-node1: it does not answer", change: func(f *Facts) {
			kill(f, 1)
			set(f, 2, startedAgo(time.Minute), "etcd_server_leader_changes_seen_total 9")
		}},
		{id: "H11", name: "no start time", level: OK, says: "etcd-node0: etcd 3.7.3 shows no process_start", change: func(f *Facts) { drop(f, 0, "process_start") }},
		{id: "H11", name: "no metrics", change: noMetrics, level: Unmeasured, says: "connection refused"},

		{id: "H12", name: "one term", change: resize(3), level: OK, says: "3 members at term 4"},
		{id: "H12", name: "another term", level: Warning, says: "term 5: etcd-node1", mends: "H17", change: func(f *Facts) {
			answersOf(f, 1, func(s *etcd.Status) { s.RaftTerm = 5 })
		}},
		{id: "H12", name: "a later answer counts", level: OK, says: "at term 4", change: func(f *Facts) {
			answersOf(f, 1, func(s *etcd.Status) { s.RaftTerm = 3 }, unchanged)
		}},
		{id: "H12", name: "one is silent, another differs", level: Warning, says: "etcd-node2: no answer", change: func(f *Facts) {
			kill(f, 2)
			answersOf(f, 1, func(s *etcd.Status) { s.RaftTerm = 5 })
		}},
		{id: "H12", name: "nothing to compare", level: Unmeasured, says: onlyOne, change: func(f *Facts) { kill(f, 1); kill(f, 2) }},
		{id: "H12", name: "the only member", change: resize(1), level: OK, says: "1 member at term 4"},
		{id: "H12", name: "silence", change: killAll, level: Unmeasured, says: "no answer"},

		{id: "H13", name: "none", change: resize(3), level: OK, says: "applied"},
		{id: "H13", name: "below", level: OK, says: "applied", change: func(f *Facts) { answersOf(f, 1, behindBy(999)) }},
		{id: "H13", name: "wide", level: Warning, says: "etcd-node1 has 1000 committed entries", mends: "disk", change: func(f *Facts) {
			answersOf(f, 1, behindBy(1000))
		}},
		{id: "H13", name: "too wide", level: Critical, says: "too many requests", change: func(f *Facts) { answersOf(f, 1, behindBy(5000)) }},
		{id: "H13", name: "for a moment", level: OK, says: "applied", change: func(f *Facts) {
			answersOf(f, 1, behindBy(7000), behindBy(6), behindBy(2000))
		}},
		{id: "H13", name: "the whole time", level: Warning, says: "1500", change: func(f *Facts) {
			answersOf(f, 1, behindBy(7000), behindBy(1500), behindBy(2000))
		}},
		{id: "H13", name: "applied is ahead by the time it is read", level: OK, says: "applied", change: func(f *Facts) {
			answersOf(f, 1, func(s *etcd.Status) { s.RaftApplied = s.RaftIndex + 2 })
		}},
		{id: "H13", name: "tells no applied index", level: OK, says: "etcd-node1: it does not tell", change: func(f *Facts) {
			answersOf(f, 1, func(s *etcd.Status) { s.RaftApplied = 0 })
		}},
		{id: "H13", name: "one is silent, another behind", level: Warning, says: "etcd-node2: no answer", change: func(f *Facts) {
			kill(f, 2)
			answersOf(f, 1, behindBy(1000))
		}},
		{id: "H13", name: "no later answers", level: OK, says: "applied", change: func(f *Facts) { f.Members[1].Statuses = nil }},
		{id: "H13", name: "silence", change: killAll, level: Unmeasured, says: "no answer"},
	}
}

func peerCases() []checkCase {
	return []checkCase{
		{id: "H14", name: "all replicate", change: resize(3), level: OK, says: "no follower is behind"},
		{id: "H14", name: "a bit behind", level: OK, says: "no follower is behind", change: func(f *Facts) { follows(f, 1, 8000, "StateReplicate") }},
		{id: "H14", name: "probed", level: Warning, says: "etcd-node1 is 10 entries behind the leader, in StateProbe", mends: "2380", change: func(f *Facts) {
			follows(f, 1, 8990, "StateProbe")
		}},
		{id: "H14", name: "gets a snapshot", level: Warning, says: "StateSnapshot", change: func(f *Facts) { follows(f, 1, 8990, "StateSnapshot") }},
		{id: "H14", name: "needs one", level: Critical, says: "is 5000 entries behind", change: func(f *Facts) { follows(f, 1, 4000, "StateProbe") }},
		{id: "H14", name: "a learner that joins", level: Info, says: "it is a learner", change: func(f *Facts) {
			asLearner(1)(f)
			follows(f, 1, 0, "StateSnapshot")
		}},
		{id: "H14", name: "ahead of what the leader had of itself", level: OK, says: "no follower is behind", change: func(f *Facts) {
			follows(f, 1, 9002, "StateReplicate")
		}},
		{id: "H14", name: "removed members don't count", level: OK, says: "no follower is behind", change: func(f *Facts) { follows(f, 7, 1, "StateProbe") }},
		{id: "H14", name: "one is silent, and behind", level: Critical, says: "etcd-node1 is 8999 entries", change: func(f *Facts) {
			kill(f, 1)
			follows(f, 1, 1, "StateProbe")
		}},
		{id: "H14", name: "one is not in it", level: OK, says: "etcd-node1: the leader says nothing", change: func(f *Facts) {
			delete(f.Members[0].Vars.Value.Raft.Progress, 0x11)
		}},
		{id: "H14", name: "the only member", change: resize(1), level: OK, says: "no follower is behind"},
		{id: "H14", name: "the leader is silent", level: Unmeasured, says: noLeader, change: func(f *Facts) { kill(f, 0) }},
		{id: "H14", name: "its variables can't be read", level: Unmeasured, says: "etcd-node0, which leads: 403", change: func(f *Facts) {
			f.Members[0].Vars = Unknown[etcd.Vars]("403")
		}},
		{id: "H14", name: "it leads no more", level: Unmeasured, says: "shows no progress", change: func(f *Facts) {
			f.Members[0].Vars.Value.Raft.Progress = nil
		}},
		{id: "H14", name: "no list", level: Unmeasured, says: noList, change: unlisted},

		{id: "H15", name: "none", change: resize(3), level: OK, says: "neither refused nor queued"},
		{id: "H15", name: "fail", level: Warning, says: "etcd-node1: 5.0 proposals a second fail", mends: "H10", change: func(f *Facts) {
			set(f, 1, "etcd_server_proposals_failed_total 53")
		}},
		{id: "H15", name: "a few fail", level: OK, says: "neither", change: func(f *Facts) { set(f, 1, "etcd_server_proposals_failed_total 52") }},
		{id: "H15", name: "wait", level: Warning, says: "etcd-node1: 6 proposals or more wait", change: func(f *Facts) {
			setBefore(f, 1, "etcd_server_proposals_pending 6")
			set(f, 1, "etcd_server_proposals_pending 9")
		}},
		{id: "H15", name: "wait for a moment", level: OK, says: "neither", change: func(f *Facts) { set(f, 1, "etcd_server_proposals_pending 9") }},
		{id: "H15", name: "restarted", level: OK, says: "etcd-node1: " + restarted, change: func(f *Facts) {
			set(f, 1, "etcd_server_proposals_failed_total 2")
		}},
		{id: "H15", name: "restarted, with more by now", level: OK, says: "etcd-node1: " + restarted, change: func(f *Facts) {
			set(f, 1, startedAgo(time.Second), "etcd_server_proposals_failed_total 900")
		}},
		{id: "H15", name: "without a sample", change: once, level: Unmeasured, says: lookedOnce},
		{id: "H15", name: "without a sample, none ever failed", level: OK, says: "etcd-node1: " + lookedOnce, change: func(f *Facts) {
			once(f)
			set(f, 0, "etcd_server_proposals_failed_total 0")
		}},
		{id: "H15", name: "without a sample, many wait", level: Unmeasured, says: lookedOnce, change: func(f *Facts) {
			once(f)
			for i := range f.Members {
				set(f, i, "etcd_server_proposals_failed_total 0", "etcd_server_proposals_pending 9")
			}
		}},
		{id: "H15", name: "one is silent", level: Warning, says: "etcd-node2: it does not answer", change: func(f *Facts) {
			kill(f, 2)
			set(f, 1, "etcd_server_proposals_failed_total 53")
		}},
		{id: "H15", name: "the first look failed", level: OK, says: "etcd-node1: timed out", change: func(f *Facts) {
			f.Members[1].Before = Unknown[*etcd.Metrics]("timed out")
		}},
		{id: "H15", name: "another version", level: OK, says: "etcd-node1: etcd 3.7.3 shows no etcd_server_proposals_pending", change: func(f *Facts) {
			drop(f, 1, "etcd_server_proposals_pending")
		}},
		{id: "H15", name: "no metrics", change: noMetrics, level: Unmeasured, says: "connection refused"},

		{id: "H16", name: "in time", change: resize(3), level: OK, says: "in time"},
		{id: "H16", name: "late", level: Warning, says: "etcd-node0 sent 2 heartbeats late within 10s", mends: "disk", change: func(f *Facts) {
			set(f, 0, "etcd_server_heartbeat_send_failures_total 6")
		}},
		{id: "H16", name: "one that led until now", level: Warning, says: "etcd-node2 sent 1", change: func(f *Facts) {
			set(f, 2, "etcd_server_heartbeat_send_failures_total 5")
		}},
		{id: "H16", name: "none ever", level: OK, says: "in time", change: func(f *Facts) {
			once(f)
			set(f, 0, "etcd_server_heartbeat_send_failures_total 0")
		}},
		{id: "H16", name: "without a sample", change: once, level: Unmeasured, says: lookedOnce},
		{id: "H16", name: "followers alone say nothing", level: Unmeasured, says: "etcd-node0: timed out", change: func(f *Facts) {
			f.Members[0].Now = Unknown[*etcd.Metrics]("timed out")
		}},
		{id: "H16", name: "the leader restarted", level: Unmeasured, says: restarted, change: func(f *Facts) {
			set(f, 0, "etcd_server_heartbeat_send_failures_total 1")
		}},
		{id: "H16", name: "the leader is silent", level: Unmeasured, says: noLeader, change: func(f *Facts) { kill(f, 0) }},
		{id: "H16", name: "a follower is silent", level: OK, says: "etcd-node1: it does not answer", change: func(f *Facts) { kill(f, 1) }},

		{id: "H17", name: "all connected", change: resize(3), level: OK, says: "connected to each other"},
		{id: "H17", name: "the only member", change: resize(1), level: OK},
		{id: "H17", name: "nobody is his own peer", level: OK, says: "connected", change: func(f *Facts) {
			set(f, 0, `etcd_network_active_peers{Local="10",Remote="10"} 0`)
		}},
		{id: "H17", name: "not connected", level: Warning, says: "etcd-node0 is not connected to etcd-node2", mends: "2380", change: func(f *Facts) {
			set(f, 0, `etcd_network_active_peers{Local="10",Remote="12"} 0`)
		}},
		{id: "H17", name: "never was", level: Warning, says: "etcd-node0 is not connected to etcd-node2", change: func(f *Facts) {
			drop(f, 0, `etcd_network_active_peers{Local="10",Remote="12"}`)
		}},
		{id: "H17", name: "removed members don't count", level: OK, says: "connected", change: func(f *Facts) {
			set(f, 0, `etcd_network_active_peers{Local="10",Remote="99"} 0`, `etcd_network_peer_sent_failures_total{To="99"} 1000`)
		}},
		{id: "H17", name: "nor do those that never started", level: OK, says: "connected", change: func(f *Facts) {
			unnamed(f, 2, false)
			for i := range 2 {
				set(f, i, `etcd_network_active_peers{Local="10",Remote="12"} 0`)
			}
		}},
		{id: "H17", name: "sending fails", level: Warning, says: "etcd-node0 failed 2 times within 10s to send to etcd-node1", change: func(f *Facts) {
			set(f, 0, `etcd_network_peer_sent_failures_total{To="11"} 9`)
		}},
		{id: "H17", name: "sending fails for the first time", level: Warning, says: "failed 5 times within 10s to send to etcd-node2", change: func(f *Facts) {
			set(f, 0, `etcd_network_peer_sent_failures_total{To="12"} 5`)
		}},
		{id: "H17", name: "one failure is not yet a rate", level: OK, says: "connected", change: func(f *Facts) {
			set(f, 0, `etcd_network_peer_sent_failures_total{To="11"} 8`)
		}},
		{id: "H17", name: "over a long look it is less", level: OK, says: "connected", change: func(f *Facts) {
			f.Sample = 10 * time.Minute
			set(f, 0, `etcd_network_peer_sent_failures_total{To="11"} 12`)
		}},
		{id: "H17", name: "receiving fails", level: Warning, says: "to receive from etcd-node1", change: func(f *Facts) {
			set(f, 0, `etcd_network_peer_received_failures_total{From="11"} 4`)
		}},
		{id: "H17", name: "strangers knock", level: OK, says: "connected", change: func(f *Facts) {
			set(f, 0, `etcd_network_peer_received_failures_total{From="10.9.9.9:4711"} 400`)
		}},
		{id: "H17", name: "restarted", level: OK, says: "etcd-node0: " + restarted, change: func(f *Facts) {
			set(f, 0, `etcd_network_peer_sent_failures_total{To="11"} 1`)
		}},
		{id: "H17", name: "without a sample connections are seen", level: Warning, says: lookedOnce, change: func(f *Facts) {
			once(f)
			set(f, 0, `etcd_network_active_peers{Local="10",Remote="12"} 0`)
		}},
		{id: "H17", name: "another version", level: OK, says: "etcd-node0: etcd 3.7.3 shows no etcd_network_active_peers", change: func(f *Facts) {
			drop(f, 0, "etcd_network_active_peers")
		}},
		{id: "H17", name: "one is silent, the others tell", level: Warning, says: "etcd-node0 is not connected to etcd-node1", change: func(f *Facts) {
			kill(f, 1)
			set(f, 0, `etcd_network_active_peers{Local="10",Remote="11"} 0`)
		}},
		{id: "H17", name: "no metrics", change: noMetrics, level: Unmeasured, says: "connection refused"},
		{id: "H17", name: "no list", level: Unmeasured, says: noList, change: unlisted},

		{id: "H18", name: "none", change: resize(3), level: OK, says: "no member needs"},
		{id: "H18", name: "sent", level: Warning, says: "etcd-node0 sends a snapshot to etcd-node1", mends: "H14", change: func(f *Facts) {
			set(f, 0, `etcd_network_snapshot_send_inflights_total{To="11"} 1`)
		}},
		{id: "H18", name: "received", level: Warning, says: "etcd-node2 receives a snapshot from etcd-node1", change: func(f *Facts) {
			set(f, 2, `etcd_network_snapshot_receive_inflights_total{From="11"} 1`)
		}},
		{id: "H18", name: "applied", level: Warning, says: "etcd-node1 applies a snapshot", change: func(f *Facts) {
			set(f, 1, "etcd_server_snapshot_apply_in_progress_total 1")
		}},
		{id: "H18", name: "a learner begins with one", level: Info, says: "sends a snapshot to etcd-node1", change: func(f *Facts) {
			asLearner(1)(f)
			set(f, 0, `etcd_network_snapshot_send_inflights_total{To="11"} 1`)
			set(f, 1, `etcd_network_snapshot_receive_inflights_total{From="10"} 1`, "etcd_server_snapshot_apply_in_progress_total 1")
		}},
		{id: "H18", name: "fails", level: Warning, says: "etcd-node0 failed 1 time within 10s to send a snapshot to etcd-node1", change: func(f *Facts) {
			set(f, 0, `etcd_network_snapshot_send_failures{To="11"} 2`)
		}},
		{id: "H18", name: "removed members don't count", level: OK, says: "no member needs", change: func(f *Facts) {
			set(f, 0, `etcd_network_snapshot_send_failures{To="99"} 2`, `etcd_network_snapshot_send_inflights_total{To="99"} 1`)
		}},
		{id: "H18", name: "without a sample", change: once, level: OK, says: lookedOnce},
		{id: "H18", name: "restarted", level: OK, says: "etcd-node0: " + restarted, change: func(f *Facts) {
			set(f, 0, `etcd_network_snapshot_send_failures{To="11"} 0`)
		}},
		{id: "H18", name: "one is silent", level: Warning, says: "etcd-node2: it does not answer", change: func(f *Facts) {
			kill(f, 2)
			set(f, 1, "etcd_server_snapshot_apply_in_progress_total 1")
		}},
		{id: "H18", name: "another version", level: OK, says: "shows no etcd_server_snapshot_apply", change: func(f *Facts) {
			drop(f, 1, "etcd_server_snapshot_apply")
		}},
		{id: "H18", name: "no metrics", change: noMetrics, level: Unmeasured, says: "connection refused"},
		{id: "H18", name: "no list", level: Unmeasured, says: noList, change: unlisted},
	}
}

// unlisted: they answer, but none could tell who the members are.
func unlisted(f *Facts) {
	for i := range f.Members {
		f.Members[i].View.Member = nil
	}
	f.Overview = overview(f.Members)
}

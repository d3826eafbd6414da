package health

import (
	"fmt"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

func healthySpaceMetrics() string {
	return fmt.Sprintf(`etcd_mvcc_db_total_size_in_bytes %d
etcd_debugging_mvcc_compact_revision 4000
`, 100<<20) + compactedAgo(2*time.Minute) + "\n"
}

func compactedAgo(ago time.Duration) string {
	return fmt.Sprintf("etcd_debugging_mvcc_db_compaction_last %d", noon.Add(-ago).Unix())
}

const neverCompacted = "etcd_debugging_mvcc_db_compaction_last 0"

func totalSize(mib int) string { return fmt.Sprintf("etcd_mvcc_db_total_size_in_bytes %d", mib<<20) }

// alarm raises one, as Observe puts it into the rows.
func alarm(f *Facts, i int, name string) {
	f.Members[i].View.Alarms = append(f.Members[i].View.Alarms, name)
}

// sized sets the newest database sizes of member i, in MiB.
func sized(i, total, inUse int) func(*Facts) {
	return func(f *Facts) {
		answersOf(f, i, func(s *etcd.Status) { s.DBSize, s.DBSizeInUse = int64(total)<<20, int64(inUse)<<20 })
	}
}

func quota(bytes int64) func(*Facts) {
	return func(f *Facts) {
		for i := range f.Members {
			f.Members[i].View.Quota = bytes
		}
	}
}

// minute makes the looks a minute apart.
func minute(f *Facts) {
	f.Sample = time.Minute
	for i := range f.Members {
		setBefore(f, i)
	}
}

func spaceCases() []checkCase {
	return append(sizeCases(), compactionCases()...)
}

func sizeCases() []checkCase {
	return []checkCase{
		{id: "H20", name: "none", change: resize(3), level: OK, says: "no alarm"},
		{id: "H20", name: "no space", level: Critical, says: "NOSPACE, raised by etcd-node1: etcd takes only reads", mends: "kubectl etcd compact --keep 5m; then kubectl etcd defrag, which disarms it once all are below 90% of", change: func(f *Facts) {
			alarm(f, 1, "NOSPACE")
		}},
		{id: "H20", name: "corrupt", level: Critical, says: "CORRUPT, raised by etcd-node1", mends: "never disarm", change: func(f *Facts) { alarm(f, 1, "CORRUPT") }},
		{id: "H20", name: "both", level: Critical, says: "NOSPACE, raised by etcd-node0, etcd-node2", mends: "never disarm", change: func(f *Facts) {
			alarm(f, 0, "NOSPACE")
			alarm(f, 1, "CORRUPT")
			alarm(f, 2, "NOSPACE")
		}},
		{id: "H20", name: "of member 0", level: Critical, says: "CORRUPT, raised by no known member (0)", mends: "never disarm", change: func(f *Facts) {
			f.Overview.Alarms = []etcd.Alarm{{Type: "CORRUPT"}}
		}},
		{id: "H20", name: "of a removed member", level: Critical, says: "member 99, which is none of these", mends: "disarm", change: func(f *Facts) {
			f.Overview.Alarms = []etcd.Alarm{{MemberID: 0x99, Type: "NOSPACE"}}
		}},
		{id: "H20", name: "one that is new to us", level: Critical, says: "FLOOD", mends: "alarm list", change: func(f *Facts) { alarm(f, 0, "FLOOD") }},
		{id: "H20", name: "of a silent member", level: Critical, says: "etcd-node1", change: func(f *Facts) {
			kill(f, 1)
			alarm(f, 1, "NOSPACE")
		}},
		{id: "H20", name: "one is silent", level: OK, says: "no alarm", change: func(f *Facts) { kill(f, 1) }},
		{id: "H20", name: "silence", change: killAll, level: Unmeasured, says: "no answer"},

		{id: "H21", name: "little", change: resize(3), level: OK, says: "at most 5%"},
		{id: "H21", name: "two thirds", level: Info, says: "etcd-node1 uses 66% of its quota: 1.3 GiB of 2 GiB", change: sized(1, 1360, 1300)},
		{id: "H21", name: "three quarters", level: Warning, says: "uses 75%", mends: "H23", change: sized(1, 1536, 1300)},
		{id: "H21", name: "nearly all", level: Critical, says: "uses 85%", change: sized(1, 1741, 1300)},
		{id: "H21", name: "by our own limit", level: Critical, limits: []string{"db-quota-critical=4%"}, change: resize(3)},
		{id: "H21", name: "no quota", change: quota(-1), level: OK},
		{id: "H21", name: "one is silent, another full", level: Critical, says: "etcd-node2: no answer", change: func(f *Facts) {
			kill(f, 2)
			sized(1, 1800, 1300)(f)
		}},
		{id: "H21", name: "quota unknown", change: quota(0), level: Unmeasured, says: noQuota},
		{id: "H21", name: "silence", change: killAll, level: Unmeasured, says: "no answer"},

		{id: "H22", name: "none", change: resize(3), level: OK, says: "no database grows"},
		{id: "H22", name: "full, and still", level: OK, limits: []string{"db-growth-least=0"}, says: "no database grows", change: sampled(1,
			"etcd_mvcc_db_total_size_in_bytes 2147483648", "etcd_mvcc_db_total_size_in_bytes 2147483648")},
		{id: "H22", name: "fast", level: Warning, says: "etcd-node1 grew by 10 MiB in 1m0s: if that goes on, its quota is full in 3h14m", mends: "H26", change: func(f *Facts) {
			minute(f)
			set(f, 1, totalSize(110))
		}},
		{id: "H22", name: "slow", level: OK, says: "etcd-node1 grew by 8 MiB in 1m0s", change: func(f *Facts) {
			minute(f)
			set(f, 1, totalSize(108))
		}},
		{id: "H22", name: "fast, in a short look", level: Info, says: "quota is full in 32m0s", mends: "--sample 1m0s", change: func(f *Facts) {
			set(f, 1, totalSize(110))
		}},
		{id: "H22", name: "a few pages say nothing", level: OK, says: "no database grows", change: func(f *Facts) {
			setBefore(f, 1, totalSize(2000))
			set(f, 1, fmt.Sprintf("etcd_mvcc_db_total_size_in_bytes %d", 2000<<20+1000<<10))
		}},
		{id: "H22", name: "full by now", level: Warning, says: "full in 0s", change: func(f *Facts) {
			minute(f)
			setBefore(f, 1, totalSize(2090))
			set(f, 1, totalSize(2100))
		}},
		{id: "H22", name: "defragmented meanwhile", level: OK, says: "no database grows", change: func(f *Facts) { set(f, 1, totalSize(50)) }},
		{id: "H22", name: "no quota to reach", level: OK, says: "grew by 100 MiB", change: func(f *Facts) {
			minute(f)
			quota(-1)(f)
			set(f, 1, totalSize(200))
		}},
		{id: "H22", name: "restarted", level: OK, says: "etcd-node1: " + restarted, change: func(f *Facts) {
			minute(f)
			set(f, 1, startedAgo(time.Second), totalSize(200))
		}},
		{id: "H22", name: "one is silent", level: Warning, says: "etcd-node2: it does not answer", change: func(f *Facts) {
			minute(f)
			kill(f, 2)
			set(f, 1, totalSize(200))
		}},
		{id: "H22", name: "without a sample", change: once, level: Unmeasured, says: lookedOnce},
		{id: "H22", name: "quota unknown", change: quota(0), level: Unmeasured, says: noQuota},
		{id: "H22", name: "no metrics", change: noMetrics, level: Unmeasured, says: "connection refused"},

		{id: "H23", name: "dense", change: resize(3), level: OK, says: "no database has much"},
		{id: "H23", name: "loose", level: Warning, says: "etcd-node1 has 40% of its database in use: 600 MiB of 1000 MiB can be reclaimed",
			mends: "kubectl etcd defrag --auto: one at a time, the leader last; not before etcd 3.5.6", change: sized(1, 1000, 400)},
		{id: "H23", name: "the leader last", level: Warning, says: "etcd-node0",
			mends: "kubectl etcd defrag --auto", change: func(f *Facts) {
				sized(0, 1000, 400)(f)
				sized(2, 1000, 400)(f)
			}},
		{id: "H23", name: "half", change: sized(1, 1000, 500), level: OK, says: "no database has much"},
		{id: "H23", name: "little in it", change: sized(1, 1000, 100), level: OK, says: "no database has much"},
		{id: "H23", name: "little in it, by our own limit", change: sized(1, 1000, 100), level: Warning, limits: []string{"db-in-use-least=10MiB"}},
		{id: "H23", name: "a learner can't be", level: OK, says: "etcd-node1: it is a learner", change: func(f *Facts) {
			answersOf(f, 1, func(s *etcd.Status) { s.DBSize, s.DBSizeInUse, s.Learner = 1000<<20, 400<<20, true })
		}},
		{id: "H23", name: "does not tell", change: sized(1, 1000, 0), level: OK, says: "etcd-node1: it does not tell"},
		{id: "H23", name: "in no list", level: Warning, mends: "kubectl etcd defrag --auto", change: func(f *Facts) {
			unlisted(f)
			sized(1, 1000, 400)(f)
		}},
		{id: "H23", name: "one is silent, another loose", level: Warning, says: "etcd-node2: no answer", change: func(f *Facts) {
			kill(f, 2)
			sized(1, 1000, 400)(f)
		}},
		{id: "H23", name: "silence", change: killAll, level: Unmeasured, says: "no answer"},

		{id: "H24", name: "same", change: resize(3), level: OK, says: "of about one size"},
		{id: "H24", name: "twice", change: sized(1, 200, 100), level: OK, says: "from 100 MiB (etcd-node0) to 200 MiB (etcd-node1)"},
		{id: "H24", name: "more", change: sized(1, 201, 100), level: Info, says: "etcd-node1 holds more than 2 times", mends: "kubectl etcd defrag, which begins with the most fragmented"},
		{id: "H24", name: "all small", level: OK, says: "of about one size", change: func(f *Facts) {
			sized(0, 90, 10)(f)
			sized(1, 10, 10)(f)
			sized(2, 10, 10)(f)
		}},
		{id: "H24", name: "one is silent, the others differ", level: Info, says: "etcd-node2: no answer", change: func(f *Facts) {
			kill(f, 2)
			sized(1, 300, 100)(f)
		}},
		{id: "H24", name: "the only member", change: resize(1), level: OK},
		{id: "H24", name: "nothing to compare", level: Unmeasured, says: onlyOne, change: func(f *Facts) { kill(f, 1); kill(f, 2) }},
		{id: "H24", name: "silence", change: killAll, level: Unmeasured, says: "no answer"},

		{id: "H25", name: "fits", change: resize(3), level: OK, says: "quotas fit"},
		{id: "H25", name: "at the most", change: quota(8 << 30), level: OK, says: "quotas fit"},
		{id: "H25", name: "more than etcd is made for", change: quota(8<<30 + 1), level: Warning, says: "more than the 8 GiB", mends: "--quota-backend-bytes"},
		{id: "H25", name: "more than the node has", level: Warning, says: "etcd-node1 has a quota of 2 GiB, more than the 1.5 GiB of memory", change: func(f *Facts) {
			f.Members[1].Pod.NodeMemory = 3 << 29
		}},
		{id: "H25", name: "none", change: quota(-1), level: Warning, says: "etcd-node0 has no quota"},
		{id: "H25", name: "memory unknown", level: OK, says: "etcd-node1: its node's memory is not known", change: func(f *Facts) { f.Members[1].Pod = nil }},
		{id: "H25", name: "of a silent member", level: Warning, says: "etcd-node1 has a quota of 9 GiB", change: func(f *Facts) {
			kill(f, 1)
			f.Members[1].View.Quota = 9 << 30
		}},
		{id: "H25", name: "unknown", change: quota(0), level: Unmeasured, says: noQuota},
	}
}

func compactionCases() []checkCase {
	// all sets lines in each member's metrics.
	all := func(lines ...string) func(*Facts) {
		return func(f *Facts) {
			for i := range f.Members {
				set(f, i, lines...)
			}
		}
	}
	// own makes it nobody's etcd of Kubernetes, with these settings.
	own := func(f *Facts, settings ...string) {
		f.Kubernetes.Serves = ""
		for i := range f.Members {
			for j := 0; j < len(settings); j += 2 {
				f.Members[i].Settings.Value[settings[j]] = settings[j+1]
			}
		}
	}
	interval := func(f *Facts, every ...string) {
		f.Kubernetes.Servers = nil
		for _, text := range every {
			f.Kubernetes.Servers = append(f.Kubernetes.Servers, APIServer{Flags: map[string]string{"etcd-compaction-interval": text}})
		}
	}
	return []checkCase{
		{id: "H26", name: "now and then", change: resize(3), level: OK, says: "etcd-node0 last compacted 2m0s ago"},
		{id: "H26", name: "without a sample", change: once, level: OK},
		{id: "H26", name: "late", change: all(compactedAgo(15 * time.Minute)), level: Warning, says: "15m0s ago", mends: "compact.go"},
		{id: "H26", name: "stalled", change: all(compactedAgo(time.Hour)), level: Critical, says: "last compacted 1h0m0s ago"},
		{id: "H26", name: "one member's alone", level: Critical, says: "etcd-node1 last compacted 2h0m0s ago", change: func(f *Facts) {
			set(f, 1, compactedAgo(2*time.Hour))
		}},
		{id: "H26", name: "of the events", level: Critical, change: func(f *Facts) {
			f.Kubernetes.Serves = "events"
			all(compactedAgo(time.Hour))(f)
		}},
		{id: "H26", name: "a young process is not stalled", level: OK, says: "etcd-node1: its process began 5m0s ago", change: func(f *Facts) {
			set(f, 1, startedAgo(5*time.Minute), neverCompacted)
		}},
		{id: "H26", name: "all are young", level: Unmeasured, says: "has not compacted yet", change: all(startedAgo(14*time.Minute), neverCompacted)},
		{id: "H26", name: "never since the start", change: all(neverCompacted), level: Critical, says: "has not compacted since its process began 720h0m0s ago"},
		{id: "H26", name: "never, and no start time", level: OK, says: "etcd-node1: it has not compacted since its process began, whenever", change: func(f *Facts) {
			m := metrics(neverCompacted+"\n", noon)
			f.Members[1].Now = Known(m)
		}},
		{id: "H26", name: "another version", level: OK, says: "shows no etcd_debugging_mvcc_db_compaction_last", change: func(f *Facts) {
			drop(f, 1, "etcd_debugging_mvcc_db_compaction_last")
		}},
		{id: "H26", name: "one is silent", level: Critical, says: "etcd-node2: it does not answer", change: func(f *Facts) {
			kill(f, 2)
			set(f, 1, compactedAgo(time.Hour))
		}},
		{id: "H26", name: "API servers that compact less often", level: OK, says: "16m0s ago", change: func(f *Facts) {
			interval(f, "30m")
			all(compactedAgo(16 * time.Minute))(f)
		}},
		{id: "H26", name: "API servers that compact more often", level: OK, says: "14m0s ago", change: func(f *Facts) {
			interval(f, "1m")
			all(compactedAgo(14 * time.Minute))(f)
		}},
		{id: "H26", name: "the one that does most often counts", level: Warning, change: func(f *Facts) {
			interval(f, "30m", "0", "", "nonsense")
			all(compactedAgo(16 * time.Minute))(f)
		}},
		{id: "H26", name: "API servers that do not", level: Warning, says: "nothing compacts", mends: "remove --etcd-compaction-interval=0", change: func(f *Facts) {
			interval(f, "0", "0s")
			all(compactedAgo(time.Hour))(f)
		}},
		{id: "H26", name: "reached without Kubernetes", level: Info, says: "whether API servers do that is not seen from here", change: func(f *Facts) {
			f.Kubernetes, f.WithoutKubernetes = nil, "reached by --endpoints"
			all(compactedAgo(time.Hour))(f)
		}},
		{id: "H26", name: "nor need to", level: OK, says: "last compacted 1h0m0s ago", change: func(f *Facts) {
			interval(f, "0")
			f.Members[1].Settings.Value["auto-compaction-retention"] = "1"
			all(compactedAgo(time.Hour))(f)
		}},
		{id: "H26", name: "auto-compaction", level: Warning, says: "10h15m0s ago", change: func(f *Facts) {
			own(f, "auto-compaction-retention", "10h")
			all(compactedAgo(10*time.Hour + 15*time.Minute))(f)
		}},
		{id: "H26", name: "auto-compaction that has nothing to do", level: OK, says: "nothing to compact", change: func(f *Facts) {
			own(f, "auto-compaction-retention", "1h")
			all(compactedAgo(24*time.Hour), "etcd_debugging_mvcc_compact_revision 5000", "etcd_debugging_mvcc_current_revision 5000")(f)
		}},
		{id: "H26", name: "auto-compaction by revisions", level: Unmeasured, says: "by revisions", change: func(f *Facts) {
			own(f, "auto-compaction-mode", "revision", "auto-compaction-retention", "1000")
		}},
		{id: "H26", name: "somebody else's", level: OK, says: "though nothing is set", change: func(f *Facts) { own(f) }},
		{id: "H26", name: "nobody's", level: Info, says: "nothing is set to compact", mends: "--auto-compaction-retention=1h", change: func(f *Facts) {
			own(f, "auto-compaction-retention", "0")
			all(compactedAgo(time.Hour))(f)
		}},
		{id: "H26", name: "settings unknown", level: Unmeasured, says: "whether anything compacts", change: func(f *Facts) {
			f.Kubernetes = nil
			for i := range f.Members {
				f.Members[i].Settings = Unknown[map[string]string]("403")
			}
		}},
		{id: "H26", name: "no metrics", level: Unmeasured, says: "connection refused", change: noMetrics},
	}
}

package health

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// healthyIntegrityMetrics are none: these checks go by what else is known.
func healthyIntegrityMetrics() string { return "" }

func integrityCases() []checkCase {
	return slices.Concat(hashCases(), versionCases(), flagCases(), driftCases(), certificateCases(), accessCases(), clockCases(), readyCases())
}

// hashed gives a member another hash.
func hashed(member int, change func(*etcd.Hash)) func(*Facts) {
	return func(f *Facts) { change(&f.Members[member].Hash.Value) }
}

// run gives members versions, in their order.
func run(versions ...string) func(*Facts) {
	return func(f *Facts) {
		for i, version := range versions {
			status := *f.Members[i].View.Status
			status.Version, status.StorageVersion = version, version[:3]+".0"
			if version < "3.6" {
				status.StorageVersion = ""
			}
			f.Members[i].View.Status = &status
		}
	}
}

// started gives all pods an age.
func started(age time.Duration) func(*Facts) {
	return func(f *Facts) {
		for i := range f.Members {
			f.Members[i].Pod.Started = f.At.Add(-age)
		}
	}
}

// with gives a member settings, as "flag=value", of which an empty one takes the flag away.
func with(member int, settings ...string) func(*Facts) {
	return func(f *Facts) {
		changed := maps.Clone(f.Members[member].Settings.Value)
		for _, setting := range settings {
			flag, value, _ := strings.Cut(setting, "=")
			changed[flag] = value
			if value == "" {
				delete(changed, flag)
			}
		}
		f.Members[member].Settings = Known(changed)
	}
}

// allWith gives them to all.
func allWith(settings ...string) func(*Facts) {
	return func(f *Facts) {
		for i := range f.Members {
			with(i, settings...)(f)
		}
	}
}

func noSettings(f *Facts) {
	for i := range f.Members {
		f.Members[i].Settings = Unknown[map[string]string]("the pod's log is rotated")
	}
}

func hashCases() []checkCase {
	other := hashed(1, func(h *etcd.Hash) { h.Hash = 0xbad })
	return []checkCase{
		{id: "H40", name: "same", change: resize(3), level: OK, says: "3 members hold the same data at revision 4990"},
		{id: "H40", name: "one differs", change: other, level: Critical, says: "hash bad: etcd-node1", mends: "member replace"},
		{id: "H40", name: "so does its minor", change: both(other, run("3.7.3", "3.6.5", "3.7.3")), level: Info, says: "so do the minors"},
		{id: "H40", name: "another patch is no excuse", change: both(other, run("3.7.3", "3.7.2", "3.7.3")), level: Critical},
		{id: "H40", name: "other compactions are not compared", level: OK, says: "etcd-node1: no other has a hash of revision 4990, compacted at 4500",
			change: both(other, hashed(1, func(h *etcd.Hash) { h.CompactRevision = 4500 }))},
		{id: "H40", name: "nor are other revisions", level: OK, says: "2 members hold the same",
			change: both(other, hashed(1, func(h *etcd.Hash) { h.HashRevision = 4991 }))},
		{id: "H40", name: "no two comparable", level: Unmeasured, says: "--deep", change: both(hashed(1, func(h *etcd.Hash) { h.HashRevision = 4991 }),
			hashed(2, func(h *etcd.Hash) { h.HashRevision = 4992 }))},
		{id: "H40", name: "a learner has none", level: OK, says: "2 members hold the same", change: both(asLearner(2), hashed(2, func(h *etcd.Hash) { h.Hash = 1 }))},
		{id: "H40", name: "silence hides nothing", level: Critical, says: "etcd-node0: it does not answer", change: both(other, func(f *Facts) { kill(f, 0) })},
		{id: "H40", name: "one alone", change: resize(1), level: Unmeasured, says: "no other has a hash"},
		{id: "H40", name: "not deep", change: func(f *Facts) { f.Deep = false }, level: Unmeasured, says: "--deep"},
		{id: "H40", name: "silence", change: killAll, level: Unmeasured, says: "it does not answer"},
		{id: "H40", name: "no list", change: noListAtAll, level: Unmeasured, says: noList},
	}
}

func versionCases() []checkCase {
	mixed := run("3.7.3", "3.6.5", "3.7.3")
	return []checkCase{
		{id: "H41", name: "one", change: resize(3), level: OK, says: "all run 3.7.3"},
		{id: "H41", name: "patches", change: run("3.7.3", "3.7.2", "3.7.3"), level: Info, says: "patches from 3.7.2 to 3.7.3"},
		{id: "H41", name: "an upgrade", change: both(mixed, started(time.Hour)), level: Info, says: "its last step 1h0m0s ago"},
		{id: "H41", name: "one that stopped", change: both(mixed, started(25*time.Hour)), level: Warning, says: "none was started for 25h", mends: "finish"},
		{id: "H41", name: "by our own limit", change: both(mixed, started(25*time.Hour)), limits: []string{"mixed-versions=48h"}, level: Info},
		{id: "H41", name: "an upgrade of an unknown age", level: Info, says: "how long: etcd-node1: 403", change: both(mixed, func(f *Facts) {
			f.Members[1].Pod, f.Members[1].Now = nil, Unknown[*etcd.Metrics]("403")
		})},
		{id: "H41", name: "one that stopped, without Kubernetes", level: Warning, says: "none was started for", change: both(mixed, func(f *Facts) {
			for i := range f.Members {
				f.Members[i].Pod = nil // their processes run for 30 days
			}
		})},
		{id: "H41", name: "two minors apart", change: run("3.7.3", "3.5.26", "3.7.3"), level: Warning, says: "3.5.26 and 3.7.3", mends: "same version"},
		{id: "H41", name: "a downgrade is enabled", level: Info, says: "stores as 3.6", mends: "downgrade cancel", change: func(f *Facts) {
			status := *f.Members[0].View.Status
			status.StorageVersion = "3.6.0"
			f.Members[0].View.Status = &status
		}},
		{id: "H41", name: "3.5 names no storage version", change: run("3.5.26", "3.5.26", "3.5.26"), level: OK},
		{id: "H41", name: "silence hides nothing", level: Warning, says: "etcd-node0: its version is not known: no answer in 5s",
			change: both(run("3.7.3", "3.5.26", "3.7.3"), func(f *Facts) { kill(f, 0) })},
		{id: "H41", name: "no version", change: run("3.7.3", "master", "3.7.3"), level: OK, says: `etcd-node1: "master" is no version`},
		{id: "H41", name: "silence", change: killAll, level: Unmeasured, says: "no answer"},

		{id: "H42", name: "sound", change: resize(3), level: OK, says: "no known fault"},
		{id: "H42", name: "sound 3.5", change: run("3.5.26", "3.5.26", "3.5.26"), level: OK},
		{id: "H42", name: "sound 3.6", change: run("3.6.0", "3.6.0", "3.6.0"), level: OK},
		{id: "H42", name: "loses consistency", change: run("3.5.2", "3.7.3", "3.5.2"), level: Critical, says: "3.5.2 may lose consistency when it is killed under load (etcd-node0, etcd-node2)", mends: "newest patch"},
		{id: "H42", name: "no longer", change: run("3.5.3", "3.7.3", "3.7.3"), level: Warning, says: "while it is defragmented"},
		{id: "H42", name: "below the minimum", change: run("3.5.10", "3.7.3", "3.7.3"), level: Warning, says: "3.5.11, the least"},
		{id: "H42", name: "lists", change: run("3.5.12", "3.7.3", "3.7.3"), level: Info, says: "consistent lists"},
		{id: "H42", name: "zombies", change: run("3.5.25", "3.7.3", "3.7.3"), level: Info, says: "3.5.26 or later first"},
		{id: "H42", name: "3.4", change: run("3.4.40", "3.4.40", "3.4.40"), level: Warning, says: "May 2026"},
		{id: "H42", name: "old 3.4", change: run("3.4.28", "3.4.28", "3.4.28"), level: Warning, says: "3.4.29, the least"},
		{id: "H42", name: "older still", change: run("3.3.27", "3.3.27", "3.3.27"), level: Warning, says: "for years"},
		{id: "H42", name: "silence hides nothing", level: Critical, says: "etcd-node0: its version is not known", change: both(run("3.7.3", "3.5.1", "3.7.3"), func(f *Facts) { kill(f, 0) })},
		{id: "H42", name: "silence", change: killAll, level: Unmeasured, says: "no answer"},
	}
}

func flagCases() []checkCase {
	experimental := with(1, "experimental-initial-corrupt-check=true")
	return []checkCase{
		{id: "H43", name: "kubeadm's", change: resize(3), level: OK, says: "etcd-node0: --snapshot-count stays in 3.8"},
		{id: "H43", name: "gone in 3.7, and the member runs", change: experimental, level: Warning, says: "--experimental-initial-corrupt-check: 3.7 passes over it, and what it did is off (etcd-node1)", mends: "extraArgs"},
		{id: "H43", name: "next minor", change: both(experimental, run("3.6.5", "3.6.5", "3.6.5")), level: Warning, says: "the next minor"},
		{id: "H43", name: "far off", change: both(experimental, run("3.5.26", "3.5.26", "3.5.26")), level: Info, says: "3.7 does not start with it"},
		{id: "H43", name: "kubeadm's with 3.8", change: run("3.8.0", "3.8.0", "3.8.0"), level: OK},
		{id: "H43", name: "gone in 3.8", change: both(with(1, "max-snapshots=5"), run("3.8.0", "3.7.3", "3.8.0")), level: OK, says: "etcd-node1: --max-snapshots has to go before the upgrade to 3.8"},
		{id: "H43", name: "it may be why a member is silent", change: both(experimental, func(f *Facts) { kill(f, 1) }), level: Critical, says: "--experimental-initial-corrupt-check: 3.7 does not start with it (etcd-node1)", mends: "extraArgs"},
		{id: "H43", name: "no fsync", change: allWith("unsafe-no-fsync=true"), level: Critical, says: "--unsafe-no-fsync=true: a crash loses data that was acknowledged (etcd-node0, etcd-node1, etcd-node2)"},
		{id: "H43", name: "fsync", change: allWith("unsafe-no-fsync=false", "pre-vote=true", "max-wals=5"), level: OK},
		{id: "H43", name: "new cluster", change: with(1, "force-new-cluster=true"), level: Critical, says: "throws the other members out"},
		{id: "H43", name: "no pre-vote", change: with(1, "pre-vote=false"), level: Warning, says: "depose"},
		{id: "H43", name: "no check", change: with(1, "strict-reconfig-check=false"), level: Warning, says: "quorum"},
		{id: "H43", name: "unlimited", change: with(1, "max-wals=0"), level: Warning, says: "never removed"},
		{id: "H43", name: "profiles", change: with(1, "enable-pprof=true"), level: Warning, says: "profile"},
		{id: "H43", name: "no version is known", change: killAll, level: Unmeasured, says: "no member answers"},
		{id: "H43", name: "but some flags are bad in all", change: both(with(1, "force-new-cluster=true"), killAll), level: Critical, says: "throws"},
		{id: "H43", name: "unknown", change: noSettings, level: Unmeasured, says: "rotated"},
	}
}

func driftCases() []checkCase {
	return []checkCase{
		{id: "H44", name: "same", change: resize(3), level: OK, says: "3 members run with the same settings"},
		{id: "H44", name: "heartbeats", change: with(1, "heartbeat-interval=200"), level: Critical, says: `--heartbeat-interval differs: "100ms" of etcd-node0, etcd-node2; "200ms" of etcd-node1`, mends: "same value"},
		{id: "H44", name: "elections", change: with(1, "election-timeout=2000"), level: Critical, says: `"2s" of etcd-node1`},
		{id: "H44", name: "etcd's default is the same", level: OK, change: with(1, "heartbeat-interval=100", "election-timeout=1s", "pre-vote=true", "quota-backend-bytes=0", "auto-compaction-retention=0")},
		{id: "H44", name: "quota", change: with(1, "quota-backend-bytes=8589934592"), level: Warning, says: `"8589934592" of etcd-node1`},
		{id: "H44", name: "gates", change: with(1, "feature-gates=InitialCorruptCheck=false"), level: Warning, says: "--feature-gates differs"},
		{id: "H44", name: "gates in another order", level: OK, change: both(allWith("feature-gates=A=true,B=true"), with(1, "feature-gates=B=true,A=true"))},
		{id: "H44", name: "a default of its version", level: OK, change: with(1, "snapshot-count=")},
		{id: "H44", name: "of an older one", level: Warning, says: `"100000" of etcd-node1`, change: both(with(1, "snapshot-count="), run("3.5.26", "3.5.26", "3.5.26"))},
		{id: "H44", name: "kubeadm's upgrade from 3.5", level: OK, says: "3 members run", change: both(run("3.5.26", "3.6.16", "3.6.16"), with(0, "feature-gates=",
			"experimental-initial-corrupt-check=true", "watch-progress-notify-interval=", "experimental-watch-progress-notify-interval=5s"))},
		{id: "H44", name: "an older name, another value", level: Warning, says: `"10m0s" of etcd-node0`, change: both(run("3.5.26", "3.6.16", "3.6.16"), with(0,
			"watch-progress-notify-interval=", "experimental-watch-progress-notify-interval=10m"))},
		{id: "H44", name: "retention", change: with(1, "auto-compaction-retention=1h"), level: Warning, says: `"1h0m0s" of etcd-node1`},
		{id: "H44", name: "its own places", level: OK, change: with(1, "data-dir=/data", "cert-file=/pki/1.crt", "initial-cluster=a=b")},
		{id: "H44", name: "restart pending", level: Info, says: "restart pending: etcd-node1, --heartbeat-interval: 200 ≠ 100", mends: "restart", change: func(f *Facts) {
			f.Members[1].Pending = map[string]string{"heartbeat-interval": "200 ≠ 100"}
		}},
		{id: "H44", name: "restart pending, and apart", level: Warning, says: "restart pending", mends: "same value", change: both(with(1, "max-request-bytes=1"), func(f *Facts) {
			f.Members[1].Pending = map[string]string{"heartbeat-interval": "200 ≠ 100"}
		})},
		{id: "H44", name: "one of a single", change: resize(1), level: OK, says: "1 member"},
		{id: "H44", name: "one of three", level: Unmeasured, says: "one member alone", change: func(f *Facts) {
			own := f.Members[0].Settings
			noSettings(f)
			f.Members[0].Settings = own
		}},
		{id: "H44", name: "two of three", level: Critical, says: "etcd-node2: the pod's log", change: both(with(1, "heartbeat-interval=200"), func(f *Facts) {
			f.Members[2].Settings = Unknown[map[string]string]("the pod's log is rotated")
		})},
		{id: "H44", name: "unknown", change: noSettings, level: Unmeasured, says: "rotated"},
	}
}

func certificateCases() []checkCase {
	ends := func(member int, left time.Duration) func(*Facts) {
		return func(f *Facts) { f.Members[member].View.Certificates[0].NotAfter = noon.Add(left) }
	}
	day := 24 * time.Hour
	ours := func(f *Facts) {
		for i := range f.Members {
			f.Members[i].View.Certificates = append(f.Members[i].View.Certificates, etcd.Certificate{Side: etcd.ClientSide, Subject: "CN=us", NotAfter: noon.Add(3 * day)})
		}
	}
	peer := func(f *Facts) { f.Members[1].PeerCertificates.Value[0].NotAfter = noon.Add(20 * day) }
	noPeers := func(f *Facts) {
		f.Members[1].PeerCertificates = Unknown[[]etcd.Certificate]("its peer port can't be reached")
	}
	none := func(f *Facts) {
		for i := range f.Members {
			f.Members[i].View.Certificates, f.Members[i].PeerCertificates = nil, Known[[]etcd.Certificate](nil)
		}
	}
	return []checkCase{
		{id: "H45", name: "a year", change: resize(3), level: OK, says: "ends in 365 days"},
		{id: "H45", name: "a month", change: ends(1, 31*day), level: OK, says: "etcd-node1 (CN=node1) ends in 31 days"},
		{id: "H45", name: "soon", change: ends(1, 29*day), level: Warning, says: "the certificate of etcd-node1 (CN=node1) ends in 29 days, at 2026-07-30T12:00:00Z", mends: "renew etcd-server"},
		{id: "H45", name: "very soon", change: both(ends(1, 29*day), ends(2, 6*day)), level: Critical, says: "etcd-node2"},
		{id: "H45", name: "over", change: ends(1, -day), level: Critical, says: "(CN=node1) ended at 2026-06-30T12:00:00Z"},
		{id: "H45", name: "by our own limit", change: ends(1, 29*day), limits: []string{"cert-expiry=240h"}, level: OK},
		{id: "H45", name: "a peer's", change: peer, level: Warning, says: "the peer certificate of etcd-node1", mends: "renew etcd-peer"},
		{id: "H45", name: "ours", change: ours, level: Critical, says: "the client certificate (CN=us) ends in 3 days", mends: "renew etcd-healthcheck-client"},
		{id: "H45", name: "the soonest gives the remedy", change: both(ours, peer), level: Critical, says: "the peer certificate of etcd-node1", mends: "etcd-healthcheck-client"},
		{id: "H45", name: "peers unknown", change: noPeers, level: OK, says: "etcd-node1, peer port: its peer port can't be reached"},
		{id: "H45", name: "silence hides nothing", level: Warning, says: "etcd-node0: no answer in 5s", change: both(ends(1, 29*day), func(f *Facts) {
			kill(f, 0)
			f.Members[0].View.Certificates = nil
		})},
		{id: "H45", name: "none", change: none, level: Unmeasured, says: "no certificate is seen"},
	}
}

func accessCases() []checkCase {
	const clients, peers, pages = "listen-client-urls=", "listen-peer-urls=", "listen-metrics-urls="
	return []checkCase{
		{id: "H46", name: "kubeadm's", change: resize(3), level: OK, says: "have to show a certificate"},
		{id: "H46", name: "no client certificates", change: allWith("client-cert-auth=false"), level: Critical, says: "the client port asks for no certificate: who reaches it has all of etcd (etcd-node0, etcd-node1, etcd-node2)", mends: "--client-cert-auth"},
		{id: "H46", name: "a CA asks too", change: allWith("client-cert-auth=", "trusted-ca-file=/ca.crt"), level: OK},
		{id: "H46", name: "no peer certificates", change: with(1, "peer-client-cert-auth="), level: Critical, says: "the peer port asks for no certificate"},
		{id: "H46", name: "no TLS", change: with(1, clients+"http://10.0.0.2:2379"), level: Critical, says: "the client port has no TLS: who"},
		{id: "H46", name: "no TLS beside TLS", change: with(1, clients+"https://10.0.0.2:2379,http://0.0.0.0:2378"), level: Critical, says: "the client port has no TLS: who"},
		{id: "H46", name: "no TLS for HTTP", change: with(1, "listen-client-http-urls=http://10.0.0.2:2378"), level: Critical, says: "the client port has no TLS"},
		{id: "H46", name: "no TLS at home", change: with(1, clients+"http://127.0.0.1:2379"), level: Warning, says: "on the loopback"},
		{id: "H46", name: "etcd's default", change: with(1, clients), level: Warning, says: "the client port has no TLS on the loopback"},
		{id: "H46", name: "a socket", change: with(1, clients+"unix:///run/etcd.sock"), level: OK},
		{id: "H46", name: "no TLS of peers", change: with(1, peers+"http://10.0.0.2:2380"), level: Critical, says: "the peer port has no TLS"},
		{id: "H46", name: "metrics for all", change: with(1, pages+"http://0.0.0.0:2381"), level: Warning, says: "http://0.0.0.0:2381 (etcd-node1)"},
		{id: "H46", name: "metrics for all, v6", change: with(1, pages+"http://[::]:2381"), level: Warning, says: "served to everybody"},
		{id: "H46", name: "metrics for the node", change: with(1, pages+"http://10.0.0.2:2381"), level: OK},
		{id: "H46", name: "one unknown hides nothing", level: Critical, says: "etcd-node0: rotated", change: both(with(1, clients+"http://10.0.0.2:2379"), func(f *Facts) {
			f.Members[0].Settings = Unknown[map[string]string]("rotated")
		})},
		{id: "H46", name: "unknown", change: noSettings, level: Unmeasured, says: "rotated"},
	}
}

func clockCases() []checkCase {
	// ahead has a member's clock show so much more than those of the others.
	ahead := func(member int, by time.Duration) func(*Facts) {
		return func(f *Facts) { f.Members[member].Clock.Value.At = noon.Add(by) }
	}
	slow := func(member int) func(*Facts) {
		return func(f *Facts) { f.Members[member].Clock.Value.Answered = noon.Add(4 * time.Second) }
	}
	none := func(f *Facts) {
		for i := range f.Members {
			f.Members[i].Clock = Unknown[Clock]("no page was read")
		}
	}
	return []checkCase{
		{id: "H47", name: "same", change: resize(3), level: OK, says: "no two are more than 1.01s apart"},
		{id: "H47", name: "a second of resolution is no skew", change: ahead(1, time.Second), level: OK, says: "may be the same"},
		{id: "H47", name: "nor is a small one a finding", change: ahead(1, 2*time.Second-50*time.Millisecond), level: OK, says: "at least 940ms ahead"},
		{id: "H47", name: "skew", change: ahead(1, 3*time.Second), level: Warning, says: "the clock of etcd-node1 is at least 1.99s ahead of that of etcd-node0", mends: "chronyc"},
		{id: "H47", name: "much", change: ahead(2, -7*time.Second), level: Critical, says: "ahead of that of etcd-node2"},
		{id: "H47", name: "a slow answer proves less", change: both(ahead(1, 3*time.Second), slow(1)), level: OK},
		{id: "H47", name: "our own clock does not count", level: OK, change: func(f *Facts) {
			for i := range f.Members {
				ahead(i, time.Hour)(f)
			}
		}},
		{id: "H47", name: "by our own limit", change: ahead(1, 3*time.Second), limits: []string{"clock-skew=2s"}, level: OK},
		{id: "H47", name: "silence hides nothing", change: both(ahead(1, 3*time.Second), func(f *Facts) { kill(f, 0) }), level: Warning, says: "etcd-node0: it does not answer"},
		{id: "H47", name: "no date in the answer", change: func(f *Facts) { f.Members[1].Clock.Value.At = time.Time{} }, level: OK, says: "etcd-node1: nothing was seen"},
		{id: "H47", name: "one clock", change: resize(1), level: Unmeasured, says: "two members"},
		{id: "H47", name: "none", change: none, level: Unmeasured, says: "no page was read"},
	}
}

func readyCases() []checkCase {
	fails := func(member int, name string) func(*Facts) {
		return func(f *Facts) { f.Members[member].Ready.Value[name] = false }
	}
	none := func(f *Facts) {
		for i := range f.Members {
			f.Members[i].Ready = Unknown[map[string]bool]("no such page")
		}
	}
	return []checkCase{
		{id: "H48", name: "ready", change: resize(3), level: OK, says: "all checks of 3 members pass"},
		{id: "H48", name: "not", change: fails(1, "linearizable_read"), level: Critical, says: "linearizable_read fails (etcd-node1)", mends: "quorum"},
		{id: "H48", name: "a learner is none by right", change: both(asLearner(2), fails(2, "non_learner")), level: OK},
		{id: "H48", name: "but may be corrupt", change: both(asLearner(2), fails(2, "data_corruption")), level: Critical, says: "data_corruption fails"},
		{id: "H48", name: "a voter is no learner", change: fails(2, "non_learner"), level: Critical, says: "non_learner fails (etcd-node2)"},
		{id: "H48", name: "silence hides nothing", change: both(fails(1, "serializable_read"), func(f *Facts) { kill(f, 0) }), level: Critical, says: "etcd-node0: it does not answer"},
		{id: "H48", name: "an older version", change: none, level: Unmeasured, says: "no such page"},
	}
}

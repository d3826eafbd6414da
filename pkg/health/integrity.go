package health

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// integrityChecks are those of what is stored and what runs: the same data, versions and
// settings everywhere, and who may get at it.
func integrityChecks() []Check {
	return []Check{
		{
			ID: "H40", Title: "same data", Category: Integrity, judge: judgeHashes,
			Measures: "HashKV of the voters at one revision, of those with the same compact revision; only with --deep, since it reads every key",
			Source:   "server/v3 etcdserver corrupt.go; hashes of different minors differ (etcd #18274)",
			Remedy:   "write as little as you can, keep a backup of each member's data, then rebuild the one that is wrong: kubectl etcd member replace NAME --force",
		},
		{
			ID: "H41", Title: "one version", Category: Integrity, judge: judgeVersions, Limits: []string{"mixed-versions"},
			Measures: "version and storage version of each member, and how long the youngest of their pods, or processes, runs",
			Source:   "etcd upgrade guides (one minor at a time); how long is ours",
			Remedy:   "finish the upgrade: one member after the other to the same version",
		},
		{
			ID: "H42", Title: "sound versions", Category: Integrity, judge: judgeFaults,
			Measures: "the version of each member against known faults",
			Source:   "etcd blog (3.5 data inconsistency, zombie members 3.5.26); " + kubeClusters,
			Remedy:   "upgrade to the newest patch of its minor, one member after the other (kubeadm upgrade)",
		},
		{
			ID: "H43", Title: "flags", Category: Integrity, judge: judgeFlags,
			Measures: "settings that this or the next minor refuses, and those that endanger the data",
			Source:   "etcd 3.7 release notes (--experimental-* is gone); server/v3 embed, deprecated for 3.8",
			Remedy:   "take the flag out of the etcd manifest and of kubeadm's ClusterConfiguration (etcd.local.extraArgs)",
		},
		{
			ID: "H44", Title: "same settings", Category: Integrity, judge: judgeDrift,
			Measures: "settings of the members that have to be the same, and those of the pod's spec against its process",
			Source:   "etcd tuning guide (heartbeat and election timeout the same for all members)",
			Remedy:   "give all members the same value, one member after the other",
		},
		{
			ID: "H45", Title: "certificates", Category: Integrity, judge: judgeExpiry, Limits: []string{"cert-expiry", "cert-expiry-critical"},
			Measures: "the end of the certificates of client and peer ports, and of ours",
			Source:   "ours",
			Remedy:   "kubeadm certs renew etcd-server (etcd-peer, etcd-healthcheck-client) on its node, then restart its static pod",
		},
		{
			ID: "H46", Title: "who may connect", Category: Integrity, judge: judgeAccess,
			Measures: "TLS and client certificates of the client and the peer port, and where metrics are served",
			Source:   "CIS Kubernetes benchmark, etcd; " + kubeClusters,
			Remedy:   "set --client-cert-auth and --peer-client-cert-auth with their --trusted-ca-file and --peer-trusted-ca-file, https URLs, and --listen-metrics-urls=http://127.0.0.1:2381",
		},
		{
			ID: "H47", Title: "clocks", Category: Integrity, judge: judgeClocks, Limits: []string{"clock-skew", "clock-skew-critical"},
			Measures: "the time that each member's HTTP answer names, against each other: whole seconds",
			Source:   "server/v3 rafthttp (high clock drift, 1s); critical is ours",
			Remedy:   "see that time is synchronized on the node: chronyc tracking, timedatectl",
		},
		{
			ID: "H48", Title: "readiness", Category: Integrity, judge: judgeReady,
			Measures: "the checks of /livez and /readyz (3.4.29, 3.5.11 and later)",
			Source:   "server/v3 etcdhttp health.go",
			Remedy:   "see the log of etcd, and what else is found of quorum (H02), leader (H10) and alarms (H20)",
		},
	}
}

func integrityLimits() []Limit {
	return []Limit{
		{"mixed-versions", 24 * 3600, Duration, "H41", Warning, "ours"},
		{"cert-expiry", 720 * 3600, Duration, "H45", Warning, "ours"},
		{"cert-expiry-critical", 168 * 3600, Duration, "H45", Critical, "ours"},
		{"clock-skew", 1, Duration, "H47", Warning, "server/v3 rafthttp (high clock drift)"},
		{"clock-skew-critical", 5, Duration, "H47", Critical, "ours"},
	}
}

// findings are sentences that are true of several members, each once, with their names.
type findings []finding

type finding struct {
	level Level
	text  string
	of    []string
}

func (fs *findings) add(level Level, member, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	i := slices.IndexFunc(*fs, func(f finding) bool { return f.level == level && f.text == text })
	if i < 0 {
		i = len(*fs)
		*fs = append(*fs, finding{level: level, text: text})
	}
	(*fs)[i].of = append((*fs)[i].of, member)
}

func (fs findings) tell(o *outcome) {
	for _, f := range fs {
		o.say(f.level, "%s (%s)", f.text, strings.Join(f.of, ", "))
	}
}

// hashPoint is what two hashes have to have in common to be comparable.
type hashPoint struct{ revision, compacted int64 }

func judgeHashes(f *Facts, _ Limits, o *outcome) {
	if !f.Deep {
		o.unknown("", "needs --deep: a hash reads every key")
		return
	}
	at := map[hashPoint][]Member{}
	for _, m := range f.voters() {
		hash := m.Hash.Value
		if why := missing(m, m.Hash, hash.HashRevision == 0); why != "" {
			o.unknown(m.Name(), why)
			continue
		}
		point := hashPoint{hash.HashRevision, hash.CompactRevision}
		at[point] = append(at[point], m)
	}
	point, compared := largest(at)
	for _, p := range sortedPoints(at) {
		for _, m := range at[p] {
			if p != point || len(compared) < 2 {
				o.unknown(m.Name(), fmt.Sprintf("no other has a hash of revision %d, compacted at %d (--deep again)", p.revision, p.compacted))
			}
		}
	}
	switch {
	case len(compared) >= 2:
		judgeSameHash(compared, point.revision, o)
	case len(o.unmeasured) == 0:
		o.unknown("", noList)
	}
}

// largest is where most hashes were taken; of equals the newest.
func largest(at map[hashPoint][]Member) (where hashPoint, members []Member) {
	for _, point := range sortedPoints(at) {
		if len(at[point]) >= len(members) {
			where, members = point, at[point]
		}
	}
	return where, members
}

func sortedPoints(at map[hashPoint][]Member) []hashPoint {
	var points []hashPoint
	for point := range at {
		points = append(points, point)
	}
	slices.SortFunc(points, func(a, b hashPoint) int {
		return cmp.Or(cmp.Compare(a.revision, b.revision), cmp.Compare(a.compacted, b.compacted))
	})
	return points
}

func judgeSameHash(members []Member, revision int64, o *outcome) {
	hashes, minors := map[string][]string{}, map[string]bool{}
	for _, m := range members {
		hash := fmt.Sprintf("%x", m.Hash.Value.Hash)
		hashes[hash] = append(hashes[hash], m.Name())
		if version, err := m.version(); err == nil {
			minors[minorOf(version)] = true
		}
	}
	if len(hashes) == 1 {
		o.ok("%d members hold the same data at revision %d", len(members), revision)
		return
	}
	showEach(o, "hash", hashes)
	if len(minors) > 1 {
		o.info("the hashes differ at revision %d, and so do the minors, which hash in different ways (H41)", revision)
		return
	}
	o.critical("the members hold different data at revision %d", revision)
}

// ending is a certificate with whose it is.
type ending struct {
	etcd.Certificate
	whose string // "the peer certificate of etcd-node0"
	renew string // kubeadm's name of it
}

func judgeExpiry(f *Facts, limits Limits, o *outcome) {
	var all []ending
	for _, m := range f.Members {
		all = append(all, endings(m, o)...)
	}
	slices.SortStableFunc(all, func(a, b ending) int { return a.NotAfter.Compare(b.NotAfter) })
	said := map[string]bool{}
	for _, c := range all {
		left := c.NotAfter.Sub(f.At)
		text := fmt.Sprintf("%s (%s) ends in %d days, at %s", c.whose, c.Subject, int(left.Hours()/24), c.NotAfter.Format(time.RFC3339))
		if left <= 0 {
			text = fmt.Sprintf("%s (%s) ended at %s", c.whose, c.Subject, c.NotAfter.Format(time.RFC3339))
		}
		if said[text] {
			continue
		}
		said[text] = true
		switch {
		case left < limits.seconds("cert-expiry-critical"):
			o.critical("%s", text)
		case left < limits.seconds("cert-expiry"):
			o.warn("%s", text)
		default:
			o.ok("%s", text)
			continue
		}
		if o.remedy == "" { // that of the soonest
			o.mend("kubeadm certs renew %s on its node, then restart what uses it (a static pod: move its manifest out of /etc/kubernetes/manifests for 20s)", c.renew)
		}
	}
}

// endings are the certificates of m's connections; what has none is noted.
func endings(m Member, o *outcome) []ending {
	var all []ending
	for _, c := range m.View.Certificates {
		if c.Side == etcd.ClientSide {
			all = append(all, ending{c, "the client certificate", "etcd-healthcheck-client"})
			continue
		}
		all = append(all, ending{c, "the certificate of " + m.Name(), "etcd-server"})
	}
	if len(m.View.Certificates) == 0 {
		o.unknown(m.Name(), cmp.Or(m.silent(), "no certificate is seen: it has no TLS, or is asked from within its pod"))
	}
	for _, c := range m.PeerCertificates.Value {
		all = append(all, ending{c, "the peer certificate of " + m.Name(), "etcd-peer"})
	}
	if why := missing(m, m.PeerCertificates, len(m.PeerCertificates.Value) == 0); why != "" {
		o.unknown(m.Name()+", peer port", why)
	}
	return all
}

// offset is between which bounds a member's clock is ahead of ours.
type offset struct {
	of          string
	least, most time.Duration
}

// judgeClocks claims no skew but where two offsets cannot be the same: an answer was written
// somewhere between question and answer, at a time of which we know the second.
func judgeClocks(f *Facts, limits Limits, o *outcome) {
	var offsets []offset
	for _, m := range f.Members {
		clock := m.Clock.Value
		if why := missing(m, m.Clock, clock.At.IsZero()); why != "" {
			o.unknown(m.Name(), why)
			continue
		}
		offsets = append(offsets, offset{m.Name(), clock.At.Sub(clock.Answered), clock.At.Add(time.Second).Sub(clock.Asked)})
	}
	if len(offsets) < 2 {
		o.unknown("", "it takes the clocks of two members")
		return
	}
	ahead := slices.MaxFunc(offsets, func(a, b offset) int { return cmp.Compare(a.least, b.least) })
	behind := slices.MinFunc(offsets, func(a, b offset) int { return cmp.Compare(a.most, b.most) })
	latest := slices.MaxFunc(offsets, func(a, b offset) int { return cmp.Compare(a.most, b.most) })
	earliest := slices.MinFunc(offsets, func(a, b offset) int { return cmp.Compare(a.least, b.least) })
	o.shows("no two are more than %s apart", brief((latest.most - earliest.least).Seconds()))
	skew := ahead.least - behind.most
	if skew <= 0 {
		o.ok("the clocks of %d members may be the same, as far as whole seconds tell", len(offsets))
		return
	}
	o.graded(skew.Seconds(), limits.at("clock-skew"), limits.at("clock-skew-critical"),
		"the clock of %s is at least %s ahead of that of %s", ahead.of, brief(skew.Seconds()), behind.of)
}

func judgeReady(f *Facts, _ Limits, o *outcome) {
	var found findings
	asked := 0
	for _, m := range f.Members {
		if why := missing(m, m.Ready, len(m.Ready.Value) == 0); why != "" {
			o.unknown(m.Name(), why)
			continue
		}
		asked++
		learner := m.View.Member != nil && m.View.Member.Learner || m.View.Status != nil && m.View.Status.Learner
		for _, name := range sortedKeys(m.Ready.Value) {
			byRight := learner && name == "non_learner"
			if !m.Ready.Value[name] && !byRight {
				found.add(Critical, m.Name(), "%s fails", name)
			}
		}
	}
	found.tell(o)
	if asked > 0 {
		o.ok("all checks of %s pass", plural(asked, "member"))
	}
}

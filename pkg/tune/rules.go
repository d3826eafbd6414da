package tune

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const gib = int64(1) << 30

// What etcd itself takes for much (server/v3 etcdserver recommendedMaxRequestBytes, storage MaxQuotaBytes)
// and for nothing given (embed DefaultMaxRequestBytes, storage DefaultQuotaBytes).
const (
	defaultRequest = 3 << 19
	maxRequest     = 10 << 20
	defaultQuota   = 2 * gib
	maxQuota       = 8 * gib
)

// rules are all flags but the two of an election, for members of a version. Defaults are
// from NewConfig of server/v3 embed in 3.5.35, 3.6.16, 3.7.3 and 3.8.0-alpha.0; those of
// 3.4 from its documentation.
func rules(minor Minor) []flag {
	catchUp := flag{name: "snapshot-catchup-entries", older: "experimental-snapshot-catchup-entries", defaults: []since{{oldest, "5000"}}, normal: wholeNumber,
		source: "server/v3 etcdserver, DefaultSnapshotCatchUpEntries", judge: always("a follower that is further behind gets a whole snapshot")}
	if minor < featureGates {
		catchUp.name = catchUp.older
	}
	all := []flag{
		{name: "snapshot-count", defaults: []since{{4, "100000"}, {6, "10000"}}, normal: wholeNumber,
			source: "etcd.io/docs tuning, Snapshot tuning", judge: judgeSnapshotCount},
		catchUp,
		{name: "quota-backend-bytes", defaults: []since{{oldest, "0"}}, normal: quotaBytes,
			source: "etcd.io/docs FAQ, Space quota", judge: judgeQuota},
		{name: "auto-compaction-mode", defaults: []since{{oldest, "periodic"}},
			source: "etcd.io/docs maintenance, Auto Compaction", judge: always("it says how auto-compaction-retention counts")},
		{name: "auto-compaction-retention", defaults: []since{{oldest, "0"}},
			source: "etcd.io/docs maintenance, Auto Compaction", judge: judgeRetention},
		{name: "max-request-bytes", defaults: []since{{oldest, strconv.Itoa(defaultRequest)}}, normal: wholeNumber,
			source: "etcd.io/docs system limits, Request size limit", judge: judgeRequest},
		{name: "pre-vote", defaults: []since{{4, "false"}, {5, "true"}}, normal: truth,
			source: "etcd CHANGELOG-3.5", judge: must("true", LevelWarning, "a member that comes back does not disturb the leader")},
		{name: "initial-election-tick-advance", defaults: []since{{oldest, "true"}}, normal: truth,
			source: "etcd-io/etcd#9333", judge: judgeTickAdvance},
		{name: "max-wals", defaults: []since{{oldest, "5"}}, normal: wholeNumber,
			source: "etcd.io/docs configuration", judge: judgeFiles},
		{name: "metrics", defaults: []since{{oldest, "basic"}},
			source: "etcd.io/docs configuration", judge: always("extensive adds the latency of each gRPC method (grpc_server_handling_seconds)")},
		{name: "listen-metrics-urls", own: true,
			source: "kubeadm's static pod", judge: judgeMetricsURLs},
		{name: "unsafe-no-fsync", defaults: []since{{oldest, "false"}}, normal: truth,
			source: "etcd.io/docs configuration, Unsafe", judge: must("false", LevelCritical, "with it, what was acknowledged is lost when the power goes")},
		{name: "force-new-cluster", defaults: []since{{oldest, "false"}}, normal: truth,
			source: "etcd.io/docs configuration, Unsafe", judge: must("false", LevelCritical, "with it, the next restart makes a cluster of this member alone")},
		{name: "strict-reconfig-check", defaults: []since{{oldest, "true"}}, normal: truth,
			source: "etcd.io/docs configuration", judge: must("true", LevelWarning, "it refuses a change of members that loses the quorum")},
		{name: "enable-pprof", defaults: []since{{oldest, "false"}}, normal: truth,
			source: "etcd.io/docs configuration", judge: must("false", LevelWarning, "with it, every client may take profiles, which costs time and shows memory")},
	}
	if minor < 8 { // removed there: etcd-io/etcd#22306
		all = append(all, flag{name: "max-snapshots", defaults: []since{{oldest, "5"}}, normal: wholeNumber,
			source: "etcd.io/docs configuration", judge: judgeFiles})
	}
	return append(all, corruptionChecks(minor)...)
}

// corruptionChecks are feature gates from 3.6 on, before that flags of their own (3.6's
// features.ExperimentalFlagToFeatureMap).
func corruptionChecks(minor Minor) []flag {
	const source = "etcd.io/docs data corruption"
	if minor >= featureGates {
		return []flag{{name: "feature-gates", defaults: []since{{oldest, ""}}, normal: sortedList, source: source, judge: judgeGates}}
	}
	initial := flag{name: "experimental-initial-corrupt-check", defaults: []since{{oldest, "false"}}, normal: truth, has: ungated, source: source,
		judge: must("true", LevelSuggest, "a member compares its data with the others' before it serves any")}
	if minor < 5 {
		return []flag{initial}
	}
	return []flag{initial, {name: "experimental-compact-hash-check-enabled", defaults: []since{{oldest, "false"}}, normal: truth, has: hashChecked, source: source,
		judge: must("true", LevelSuggest, "the leader compares the members' hashes every minute, and raises CORRUPT")}}
}

// always has nothing against any value.
func always(reason string) func(*adviser, string) ruling {
	return func(*adviser, string) ruling { return ruling{LevelKeep, "", reason} }
}

// must wants one value; reason says why.
func must(want string, level Level, reason string) func(*adviser, string) ruling {
	return func(_ *adviser, value string) ruling {
		if value != want {
			return ruling{level, want, reason}
		}
		return ruling{LevelKeep, "", reason}
	}
}

func judgeSnapshotCount(a *adviser, value string) ruling {
	n, _ := strconv.ParseInt(value, 10, 64)
	switch {
	case n > 100000:
		return ruling{LevelWarning, "10000", "so many entries between snapshots may slow writes down"}
	case n > 0 && n < a.options.FewEntries: // 0: etcd takes its default
		return ruling{LevelSuggest, "10000", fmt.Sprintf("less than %d makes snapshots all the time (our own number; OpenShift's is 5000)", a.options.FewEntries)}
	case a.minor() < 6:
		return ruling{LevelKeep, "", "before 3.6 the memory for raft's entries grows with it"}
	}
	return ruling{LevelKeep, "", "from 3.6 on it costs no memory: entries are trimmed every 100"}
}

func judgeQuota(a *adviser, value string) ruling {
	quota, _ := strconv.ParseInt(value, 10, 64)
	switch {
	case quota < 0:
		return ruling{LevelWarning, strconv.FormatInt(maxQuota, 10), "there is no quota: the database may grow until the disk is full"}
	case quota > maxQuota:
		return ruling{LevelWarning, strconv.FormatInt(maxQuota, 10), "etcd itself warns of more than 8 GiB: a restart reads all of it, and memory must hold it"}
	}
	size, missing := a.largestDB()
	switch {
	case float64(size) >= a.options.FullDB*float64(quota) && quota < maxQuota:
		return ruling{LevelWarning, strconv.FormatInt(min(2*quota, maxQuota), 10), fmt.Sprintf("the database has %.0f%% of it (from %.0f%% on is our own number): compact and defragment, or raise it", 100*float64(size)/float64(quota), 100*a.options.FullDB)}
	case float64(size) >= a.options.FullDB*float64(quota):
		return ruling{LevelWarning, "", fmt.Sprintf("the database has %.0f%% of it: compact and defragment", 100*float64(size)/float64(quota))}
	case missing != "":
		return ruling{LevelUnknown, "", "how full it is was not measured: " + missing}
	}
	return ruling{LevelKeep, "", fmt.Sprintf("the database has %.0f%% of it; memory must hold all of it", 100*float64(size)/float64(quota))}
}

// largestDB is the largest that is known, and why there may be a larger one.
func (a *adviser) largestDB() (size int64, missing string) {
	if len(a.facts.Members) == 0 {
		return 0, "no member is known"
	}
	for _, m := range a.facts.Members {
		if m.DBSize.Value == nil {
			missing = m.Name + ": " + m.DBSize.why()
			continue
		}
		size = max(size, *m.DBSize.Value)
	}
	return size, missing
}

func judgeRetention(a *adviser, value string) ruling {
	off := slices.Contains([]string{"", "0", "0s", "0m", "0h"}, value)
	kubernetes, interval := a.facts.Kubernetes.Value, a.facts.Compaction.Value
	switch {
	case kubernetes == nil:
		return ruling{LevelUnknown, "", "whether Kubernetes' API server compacts it is not known: " + a.facts.Kubernetes.why()}
	case !*kubernetes && off:
		return ruling{LevelSuggest, a.retention(), "nothing compacts it, and the database grows with every write: 1h to 10h is usual"}
	case !*kubernetes:
		return ruling{LevelKeep, "", "etcd compacts by itself"}
	case !off && interval != nil && *interval == 0:
		return ruling{LevelKeep, "", "the API server doesn't compact (--etcd-compaction-interval=0), etcd does"}
	case !off:
		return ruling{LevelSuggest, "0", "Kubernetes' API server compacts already, every 5 minutes by default"}
	case interval == nil:
		return ruling{LevelUnknown, "", "the API server compacts, unless --etcd-compaction-interval is 0, which is not known: " + a.facts.Compaction.why()}
	case *interval == 0:
		return ruling{LevelWarning, a.retention(), "nothing compacts it: the API server has --etcd-compaction-interval=0"}
	}
	return ruling{LevelKeep, "", fmt.Sprintf("Kubernetes' API server compacts every %s", say(*interval))}
}

// retention is as the members count it: by time, or by revisions.
func (a *adviser) retention() string {
	for _, c := range a.read(flag{name: "auto-compaction-mode"}) {
		if c.Value == "revision" {
			return "10000"
		}
	}
	return "1h"
}

func judgeRequest(_ *adviser, value string) ruling {
	n, _ := strconv.ParseInt(value, 10, 64)
	switch {
	case n > maxRequest:
		return ruling{LevelWarning, strconv.Itoa(defaultRequest), "etcd itself warns of more than 10 MiB: a large request holds up all others"}
	case n != defaultRequest:
		return ruling{LevelWarning, strconv.Itoa(defaultRequest), "it is not the default, 1.5 MiB, which etcd and Kubernetes are tested with"}
	}
	return ruling{LevelKeep, "", "larger requests hold up all others"}
}

func judgeTickAdvance(a *adviser, value string) ruling {
	const reason = "a member that comes back then waits for its leader for the last two heartbeats only, not for the whole timeout"
	switch {
	case value == "false":
		return ruling{LevelKeep, "", "a member that comes back waits for its leader as long as any"}
	case a.Timing == nil:
		return ruling{LevelUnknown, "", "it depends on the election-timeout, which is not settled"}
	case a.Timing.Election > defaultElection:
		return ruling{LevelSuggest, "false", reason + ": too short far from it"}
	}
	return ruling{LevelKeep, "", "the default suits short round trips"}
}

func judgeFiles(_ *adviser, value string) ruling {
	if value == "0" {
		return ruling{LevelWarning, "5", "0 keeps every file there ever was, until the disk is full"}
	}
	return ruling{LevelKeep, "", "older files are removed"}
}

func judgeMetricsURLs(_ *adviser, value string) ruling {
	if value == "" {
		return ruling{LevelSuggest, "http://127.0.0.1:2381", "without it metrics and health need a client certificate; kubeadm sets this one"}
	}
	for text := range strings.SplitSeq(value, ",") {
		if u, err := url.Parse(text); err == nil && u.Scheme == "http" && !loopback(u.Hostname()) {
			return ruling{LevelKeep, "", "metrics are there without TLS for whoever reaches " + u.Host}
		}
	}
	return ruling{LevelKeep, "", "metrics and health are there without a client certificate"}
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// judgeGates wants the two checks of corruption, beside whatever else is set.
func judgeGates(_ *adviser, value string) ruling {
	gates := map[string]string{}
	for text := range strings.SplitSeq(value, ",") {
		if name, on, ok := strings.Cut(text, "="); ok {
			gates[name] = on
		}
	}
	missing := false
	for _, name := range []string{"CompactHashCheck", "InitialCorruptCheck"} {
		if on, err := strconv.ParseBool(gates[name]); err != nil || !on {
			gates[name], missing = "true", true
		}
	}
	const reason = "a member compares its data with the others' before it serves, and the leader the members' hashes every minute"
	if !missing {
		return ruling{LevelKeep, "", reason}
	}
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(gates)) {
		texts = append(texts, name+"="+gates[name])
	}
	return ruling{LevelSuggest, strings.Join(texts, ","), reason + ", and raises CORRUPT"}
}

func wholeNumber(text string) (string, error) {
	n, err := strconv.ParseInt(text, 0, 64)
	if err != nil {
		return "", fmt.Errorf("%q is no number", text)
	}
	return strconv.FormatInt(n, 10), nil
}

// quotaBytes takes 0 for what etcd takes it for.
func quotaBytes(text string) (string, error) {
	if n, err := wholeNumber(text); err != nil || n != "0" {
		return n, err
	}
	return strconv.FormatInt(defaultQuota, 10), nil
}

func truth(text string) (string, error) {
	on, err := strconv.ParseBool(text)
	if err != nil {
		return "", fmt.Errorf("%q is neither true nor false", text)
	}
	return strconv.FormatBool(on), nil
}

// sortedList makes lists comparable: their order says nothing.
func sortedList(text string) (string, error) {
	list := strings.Split(strings.ReplaceAll(text, " ", ""), ",")
	slices.Sort(list)
	return strings.Join(list, ","), nil
}

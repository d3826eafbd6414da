package health

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	openShift    = "OpenShift, cluster-etcd-operator"
	spaceQuota   = "etcd maintenance guide, space quota"
	maxQuotaText = "server/v3 storage.MaxQuotaBytes"
)

// spaceChecks are those of the database file: how large it may be, and what fills it.
func spaceChecks() []Check {
	return []Check{
		{
			ID: "H20", Title: "alarms", Category: Space, judge: judgeAlarms,
			Measures: "alarms that any member tells of, of every member and of the whole cluster",
			Source:   spaceQuota + "; data corruption",
			Remedy:   "see what it is about before it is disarmed: kubectl etcd alarm list",
		},
		{
			ID: "H21", Title: "database and quota", Category: Space, judge: judgeQuotaUse,
			Limits:   []string{"db-quota-info", "db-quota", "db-quota-critical"},
			Measures: "database size against the quota; at the quota etcd refuses writes",
			Source:   openShift,
			Remedy:   "defragment where H23 finds room; else delete what is not needed (H54, H55), or raise --quota-backend-bytes, to 8 GiB at most",
		},
		{
			ID: "H22", Title: "database growth", Category: Space, judge: judgeGrowth,
			Limits:   []string{"db-growth-horizon", "db-growth-sample", "db-growth-least"},
			Measures: "etcd_mvcc_db_total_size_in_bytes between two looks, carried on",
			Source:   etcdMixin + "etcdExcessiveDatabaseGrowth",
			Remedy:   "find what writes so much (H54, H56), and see that compaction goes on (H26)",
		},
		{
			ID: "H23", Title: "fragmentation", Category: Space, judge: judgeFragmentation, Limits: []string{"db-in-use", "db-in-use-least"},
			Measures: "the share of the database that is in use",
			Source:   etcdMixin + "etcdDatabaseHighFragmentationRatio",
			Remedy:   "kubectl etcd defrag: one member at a time, the leader last",
		},
		{
			ID: "H24", Title: "database sizes", Category: Space, judge: judgeSizes, Limits: []string{"db-size-ratio", "db-size-least"},
			Measures: "the largest database against the smallest",
			Source:   "ours",
			Remedy:   "kubectl etcd defrag, which begins with the most fragmented",
		},
		{
			ID: "H25", Title: "quota", Category: Space, judge: judgeQuota, Limits: []string{"quota-size"},
			Measures: "the quota, against 8 GiB and what its node has of memory",
			Source:   "etcd FAQ, system requirements; " + maxQuotaText,
			Remedy:   "lower --quota-backend-bytes, or give the node more memory: the database is kept in it",
		},
		{
			ID: "H26", Title: "compaction", Category: Space, judge: judgeCompaction,
			Limits:   []string{"compaction-age", "compaction-age-critical"},
			Measures: "etcd_debugging_mvcc_db_compaction_last of each member",
			Source:   "kube-apiserver etcd3/compact.go (every 5 minutes); the limits are ours",
			Remedy:   "see the API servers' logs for compact.go, and their --etcd-compaction-interval",
		},
	}
}

func spaceLimits() []Limit {
	const MiB, GiB = 1 << 20, 1 << 30
	return []Limit{
		{"db-quota-info", 0.65, Share, "H21", Info, openShift},
		{"db-quota", 0.75, Share, "H21", Warning, openShift},
		{"db-quota-critical", 0.85, Share, "H21", Critical, openShift},
		{"db-growth-horizon", 4 * 3600, Duration, "H22", Warning, etcdMixin + "etcdExcessiveDatabaseGrowth"},
		{"db-growth-sample", 60, Duration, "H22", Warning, "ours"},
		{"db-growth-least", MiB, Bytes, "H22", Warning, "ours"},
		{"db-in-use", 0.5, Share, "H23", Warning, etcdMixin + "etcdDatabaseHighFragmentationRatio"},
		{"db-in-use-least", 100 * MiB, Bytes, "H23", Warning, etcdMixin + "etcdDatabaseHighFragmentationRatio"},
		{"db-size-ratio", 2, Count, "H24", Info, "ours"},
		{"db-size-least", 100 * MiB, Bytes, "H24", Info, "ours"},
		{"quota-size", 8 * GiB, Bytes, "H25", Warning, maxQuotaText},
		{"compaction-age", 15 * 60, Duration, "H26", Warning, "ours"},
		{"compaction-age-critical", 3600, Duration, "H26", Critical, "ours"},
	}
}

func judgeAlarms(f *Facts, _ Limits, o *outcome) {
	raised := f.alarms()
	for _, alarm := range sortedKeys(raised) { // CORRUPT before NOSPACE
		o.critical("%s, raised by %s: %s", alarm, strings.Join(raised[alarm], ", "), alarmMeans(alarm))
	}
	switch {
	case raised["CORRUPT"] != nil:
		o.mend("never disarm it: stop what writes, find the member that differs (H40), and rebuild that one from the others " +
			"(kubectl etcd member replace NAME --force); if none can be trusted, kubectl etcd restore")
	case raised["NOSPACE"] != nil:
		o.mend("kubectl etcd compact --keep 5m; then kubectl etcd defrag, which disarms it once all are below 90%% of their quota " +
			"(kubectl etcd alarm disarm does where there is nothing to defragment); then find what grew (H21, H22)")
	}
	answered := slices.ContainsFunc(f.Members, func(m Member) bool { return m.silent() == "" })
	if !answered { // any member tells of all alarms
		f.answering(o)
		return
	}
	o.ok("no alarm is raised")
}

// alarms are who raised each kind.
func (f *Facts) alarms() map[string][]string {
	raised := map[string][]string{}
	for _, m := range f.Members {
		for _, alarm := range m.View.Alarms {
			raised[alarm] = append(raised[alarm], m.Name())
		}
	}
	for _, alarm := range f.Overview.Alarms {
		by := "member " + alarm.MemberID.String() + ", which is none of these"
		if alarm.MemberID == 0 {
			by = "no known member (0)"
		}
		raised[alarm.Type] = append(raised[alarm.Type], by)
	}
	return raised
}

func alarmMeans(alarm string) string {
	switch alarm {
	case "CORRUPT":
		return "members hold different data, reads and writes are refused"
	case "NOSPACE":
		return "etcd takes only reads and deletes"
	}
	return "etcd may refuse requests"
}

const noQuota = "its quota is not known"

func judgeQuotaUse(f *Facts, limits Limits, o *outcome) {
	used, most := read(f.Members, o, quotaUse), 0.0
	for _, m := range used {
		most = max(most, m.Value)
		var level Level
		switch {
		case m.Value >= limits.at("db-quota-critical"):
			level = Critical
		case m.Value >= limits.at("db-quota"):
			level = Warning
		case m.Value >= limits.at("db-quota-info"):
			level = Info
		default:
			continue
		}
		o.say(level, "%s uses %.0f%% of its quota: %s of %s", m.Name(), m.Value*100, humanBytes(last(m.Member).DBSize), humanBytes(m.View.Quota))
	}
	if len(used) > 0 {
		o.ok("at most %.0f%% of a quota is used", most*100)
	}
}

// quotaUse is the share of its quota that m's database has; 0 where there is no quota.
func quotaUse(m Member) Fact[float64] {
	switch {
	case m.silent() != "":
		return Unknown[float64](m.silent())
	case m.View.Quota == 0:
		return Unknown[float64](noQuota)
	case m.View.Quota < 0:
		return Known(0.0)
	}
	return Known(float64(last(m).DBSize) / float64(m.View.Quota))
}

func judgeGrowth(f *Facts, limits Limits, o *outcome) {
	grown := read(f.Members, o, f.growth)
	for _, m := range grown {
		if m.Value.bytes > 0 && m.Value.bytes >= limits.at("db-growth-least") {
			judgeGrowing(m, limits, o)
		}
	}
	if len(grown) > 0 {
		o.ok("no database grows towards its quota")
	}
}

// growth is by how much a database grew, in what time, and how much it may still.
type growth struct {
	bytes float64
	apart time.Duration
	left  float64
	limit bool // there is a quota
}

func (f *Facts) growth(m Member) Fact[growth] {
	const size = "etcd_mvcc_db_total_size_in_bytes"
	change := f.change(m, size)
	if !change.Known() {
		return Unknown[growth](change.Because)
	}
	if m.View.Quota == 0 {
		return Unknown[growth](noQuota)
	}
	left := float64(m.View.Quota) - m.value(size).Value
	return Known(growth{change.Value, f.looks(m).Value.apart, max(left, 0), m.View.Quota > 0})
}

// judgeGrowing is for a database that grew. Over a short look it may be what a compaction
// frees again: no more than news.
func judgeGrowing(m reading[growth], limits Limits, o *outcome) {
	g := m.Value
	text := fmt.Sprintf("%s grew by %s in %s", m.Name(), humanBytes(g.bytes), g.apart.Round(time.Second))
	full := g.left / g.bytes * g.apart.Seconds()
	if !g.limit || full > limits.at("db-growth-horizon") {
		o.shows("%s", text)
		return
	}
	text += fmt.Sprintf(": if that goes on, its quota is full in %s", time.Duration(full*float64(time.Second)).Round(time.Minute))
	if g.apart < limits.seconds("db-growth-sample") {
		o.info("%s", text)
		o.mend("look for longer: --sample %s", limits.seconds("db-growth-sample"))
		return
	}
	o.warn("%s", text)
}

func judgeFragmentation(f *Facts, limits Limits, o *outcome) {
	loose := false
	members := read(f.Members, o, inUse)
	for _, m := range members {
		size, used := last(m.Member).DBSize, last(m.Member).DBSizeInUse
		if m.Value >= limits.at("db-in-use") || float64(used) <= limits.at("db-in-use-least") {
			continue
		}
		loose = true
		o.warn("%s has %.0f%% of its database in use: %s of %s can be reclaimed", m.Name(), m.Value*100, humanBytes(size-used), humanBytes(size))
	}
	if loose {
		o.mend("kubectl etcd defrag --auto: one at a time, the leader last; not before etcd 3.5.6, where a crash meanwhile damages the database")
	}
	if len(members) > 0 {
		o.ok("no database has much to reclaim")
	}
}

// inUse is the share of its database that m uses.
func inUse(m Member) Fact[float64] {
	if m.silent() != "" {
		return Unknown[float64](m.silent())
	}
	status := last(m)
	switch {
	case status.Learner:
		return Unknown[float64]("it is a learner, which can't be defragmented")
	case status.DBSizeInUse == 0 || status.DBSize == 0:
		return Unknown[float64]("it does not tell what is in use")
	}
	return Known(float64(status.DBSizeInUse) / float64(status.DBSize))
}

func judgeSizes(f *Facts, limits Limits, o *outcome) {
	answered := f.answering(o)
	bySize := func(a, b Member) int { return cmp.Compare(last(a).DBSize, last(b).DBSize) }
	switch {
	case len(answered) == 0:
		return
	case len(answered) == 1 && len(f.Members) > 1:
		o.unknown("", onlyOne)
		return
	}
	least, most := slices.MinFunc(answered, bySize), slices.MaxFunc(answered, bySize)
	small, large := last(least).DBSize, last(most).DBSize
	o.shows("from %s (%s) to %s (%s)", humanBytes(small), least.Name(), humanBytes(large), most.Name())
	if float64(large) >= limits.at("db-size-least") && float64(large) > limits.at("db-size-ratio")*float64(small) {
		o.info("the databases differ: %s holds more than %g times what %s does", most.Name(), limits.at("db-size-ratio"), least.Name())
		o.mend("kubectl etcd defrag, which begins with the most fragmented")
	}
	o.ok("the databases are of about one size")
}

// judgeQuota needs no answer: what a silent member is set to is known from its settings.
func judgeQuota(f *Facts, limits Limits, o *outcome) {
	quotas := read(f.Members, o, func(m Member) Fact[int64] {
		if m.View.Quota == 0 {
			return Unknown[int64](cmp.Or(m.silent(), noQuota))
		}
		return Known(m.View.Quota)
	})
	for _, m := range quotas {
		memory := int64(0)
		if m.Pod != nil {
			memory = m.Pod.NodeMemory
		}
		switch {
		case m.Value < 0:
			o.warn("%s has no quota: its database may grow past what etcd is made for, until the disk is full", m.Name())
		case float64(m.Value) > limits.at("quota-size"):
			o.warn("%s has a quota of %s, more than the %s that etcd is made for", m.Name(), humanBytes(m.Value), humanBytes(limits.at("quota-size")))
		case memory == 0:
			o.unknown(m.Name(), "its node's memory is not known")
		case m.Value > memory:
			o.warn("%s has a quota of %s, more than the %s of memory of its node", m.Name(), humanBytes(m.Value), humanBytes(memory))
		}
	}
	if len(quotas) > 0 {
		o.ok("quotas fit")
	}
}

package tune

import (
	goflag "flag"
	"slices"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

// etcdFlags are those of the etcd that we build with, 3.7.
func etcdFlags() *goflag.FlagSet {
	fs := goflag.NewFlagSet("etcd", goflag.ContinueOnError)
	embed.NewConfig().AddFlags(fs)
	return fs
}

// The defaults of 3.7 are that etcd's own, and it knows every flag that we speak of.
func TestDefaultsAreEtcds(t *testing.T) {
	fs := etcdFlags()
	heartbeat, election := timingFlags()
	for _, f := range append(rules(7), heartbeat, election) {
		known := fs.Lookup(f.name)
		if known == nil {
			t.Errorf("etcd 3.7 has no --%s", f.name)
			continue
		}
		value, ok := at(f.defaults, 7)
		if want := f.tidy(known.DefValue); f.name != "feature-gates" && f.tidy(value) != want || ok == (len(f.defaults) == 0) {
			t.Errorf("--%s: default %q, etcd's is %q", f.name, value, want)
		}
	}
}

func TestDefaultsByVersion(t *testing.T) {
	for _, test := range []struct{ flag, version, want string }{
		{"snapshot-count", "3.4.30", "100000"},
		{"snapshot-count", "3.5.35", "100000"},
		{"snapshot-count", "3.6.0", "10000"},
		{"snapshot-count", "3.8.0-alpha.0", "10000"},
		{"snapshot-count", "3.9.0", ""},
		{"snapshot-count", "3.3.27", ""},
		{"snapshot-count", "", ""},
		{"pre-vote", "3.4.30", "false"},
		{"pre-vote", "3.5.0", "true"},
		{"max-wals", "", "5"}, // the same in all
	} {
		f := kubeadmFacts(1, 0, 6*ms)
		f.Members[0].Version = test.version
		delete(f.Members[0].Settings, test.flag)
		c := itemOf(t, Advise(f, Options{}), test.flag).Current[0]
		if c.Value != test.want || (c.Missing == "") != (test.want != "") {
			t.Errorf("%s in %q: %+v, want %q", test.flag, test.version, c, test.want)
		}
	}
}

// Each rule: well, not well, and not known.
func TestRules(t *testing.T) {
	for _, test := range []struct {
		flag, value string
		change      func(*Facts)
		level       Level
		suggested   string
	}{
		{"snapshot-count", "10000", nil, LevelKeep, ""},
		{"snapshot-count", "100000", nil, LevelKeep, ""},
		{"snapshot-count", "100001", nil, LevelWarning, "10000"},
		{"snapshot-count", "1000", nil, LevelKeep, ""},
		{"snapshot-count", "999", nil, LevelSuggest, "10000"},
		{"snapshot-count", "0", nil, LevelKeep, ""},
		{"snapshot-count", "many", nil, LevelCritical, ""},
		{"snapshot-catchup-entries", "5000", nil, LevelKeep, ""},
		{"quota-backend-bytes", "0", nil, LevelKeep, ""},
		{"quota-backend-bytes", "8589934592", nil, LevelKeep, ""},
		{"quota-backend-bytes", "8589934593", nil, LevelWarning, "8589934592"},
		{"quota-backend-bytes", "-1", nil, LevelWarning, "8589934592"},
		{"quota-backend-bytes", "0", dbSize(1740 << 20), LevelKeep, ""}, // of 2 GiB, 84.96 %
		{"quota-backend-bytes", "0", dbSize(1741 << 20), LevelWarning, "4294967296"},
		{"quota-backend-bytes", "8589934592", dbSize(8 << 30), LevelWarning, ""},
		{"quota-backend-bytes", "0", func(f *Facts) { f.Members[1].DBSize = Unknown[int64]("no answer") }, LevelUnknown, ""},
		{"auto-compaction-mode", "periodic", nil, LevelKeep, ""},
		{"auto-compaction-retention", "0", nil, LevelKeep, ""},
		{"auto-compaction-retention", "1h", nil, LevelSuggest, "0"},
		{"auto-compaction-retention", "0", compaction(Known(time.Duration(0))), LevelWarning, "1h"},
		{"auto-compaction-retention", "1h", compaction(Known(time.Duration(0))), LevelKeep, ""},
		{"auto-compaction-retention", "0", compaction(Unknown[time.Duration]("no API server seen")), LevelUnknown, ""},
		{"auto-compaction-retention", "0", kubernetes(Known(false)), LevelSuggest, "1h"},
		{"auto-compaction-retention", "5m", kubernetes(Known(false)), LevelKeep, ""},
		{"auto-compaction-retention", "0", kubernetes(Unknown[bool]("not looked into")), LevelUnknown, ""},
		{"auto-compaction-retention", "0", func(f *Facts) {
			f.Kubernetes = Known(false)
			f.set("auto-compaction-mode", "revision")
		}, LevelSuggest, "10000"},
		{"max-request-bytes", "1572864", nil, LevelKeep, ""},
		{"max-request-bytes", "0x180000", nil, LevelKeep, ""}, // Go's flags take it
		{"max-request-bytes", "3145728", nil, LevelWarning, "1572864"},
		{"max-request-bytes", "10485761", nil, LevelWarning, "1572864"},
		{"pre-vote", "true", nil, LevelKeep, ""},
		{"pre-vote", "1", nil, LevelKeep, ""},
		{"pre-vote", "false", nil, LevelWarning, "true"},
		{"pre-vote", "maybe", nil, LevelCritical, ""},
		{"initial-election-tick-advance", "true", nil, LevelKeep, ""},
		{"initial-election-tick-advance", "true", rtt(130 * ms), LevelSuggest, "false"},
		{"initial-election-tick-advance", "false", rtt(130 * ms), LevelKeep, ""},
		{"initial-election-tick-advance", "true", func(f *Facts) { f.RTTs = nil }, LevelUnknown, ""},
		{"feature-gates", "CompactHashCheck=true,InitialCorruptCheck=true", nil, LevelKeep, ""},
		{"feature-gates", "InitialCorruptCheck=true", nil, LevelSuggest, "CompactHashCheck=true,InitialCorruptCheck=true"},
		{"feature-gates", "PriorityRequest=true,CompactHashCheck=false", nil, LevelSuggest, "CompactHashCheck=true,InitialCorruptCheck=true,PriorityRequest=true"},
		{"max-wals", "5", nil, LevelKeep, ""},
		{"max-wals", "0", nil, LevelWarning, "5"},
		{"max-snapshots", "0", nil, LevelWarning, "5"},
		{"metrics", "extensive", nil, LevelKeep, ""},
		{"listen-metrics-urls", "http://127.0.0.1:2381", nil, LevelKeep, ""},
		{"listen-metrics-urls", "", nil, LevelSuggest, "http://127.0.0.1:2381"},
		{"unsafe-no-fsync", "false", nil, LevelKeep, ""},
		{"unsafe-no-fsync", "true", nil, LevelCritical, "false"},
		{"force-new-cluster", "true", nil, LevelCritical, "false"},
		{"strict-reconfig-check", "true", nil, LevelKeep, ""},
		{"strict-reconfig-check", "false", nil, LevelWarning, "true"},
		{"enable-pprof", "true", nil, LevelWarning, "false"},
		{"snapshot-count", "10000", func(f *Facts) { f.Members[2].Settings, f.Members[2].Unread = nil, "forbidden" }, LevelUnknown, ""},
		{"snapshot-count", "10000", func(f *Facts) {
			f.Members[2].Settings = Settings{"config-file": {"/etc/etcd.yaml", FromFile}}
		}, LevelUnknown, ""},
		{"experimental-initial-corrupt-check", "false", version("3.5.35"), LevelSuggest, "true"},
		{"experimental-compact-hash-check-enabled", "true", version("3.5.35"), LevelKeep, ""},
		{"experimental-initial-corrupt-check", "true", version("3.4.30"), LevelKeep, ""},
		{"experimental-snapshot-catchup-entries", "4000", version("3.5.35"), LevelKeep, ""},
	} {
		t.Run(test.flag+"="+test.value, func(t *testing.T) {
			f := kubeadmFacts(3, ms, 6*ms).set(test.flag, test.value)
			if test.change != nil {
				test.change(&f)
			}
			item := itemOf(t, Advise(f, Options{}), test.flag)
			if item.Level != test.level || item.Suggested != test.suggested {
				t.Errorf("got %s %q, want %s %q: %s", item.Level, item.Suggested, test.level, test.suggested, item.Reason)
			}
			if item.Source == "" || item.Reason == "" {
				t.Errorf("no source or reason: %+v", item)
			}
		})
	}
}

func dbSize(bytes int64) func(*Facts) {
	return func(f *Facts) { f.Members[0].DBSize = Known(bytes) }
}

func compaction(every Fact[time.Duration]) func(*Facts) {
	return func(f *Facts) { f.Compaction = every }
}

func kubernetes(is Fact[bool]) func(*Facts) {
	return func(f *Facts) { f.Kubernetes = is }
}

func rtt(d time.Duration) func(*Facts) {
	return func(f *Facts) {
		for i := range f.RTTs {
			f.RTTs[i].P50 = Known(d)
		}
	}
}

func version(text string) func(*Facts) {
	return func(f *Facts) {
		for i := range f.Members {
			f.Members[i].Version = text
		}
	}
}

func TestMembersThatDiffer(t *testing.T) {
	quota := kubeadmFacts(3, ms, 6*ms).set("quota-backend-bytes", "4294967296", 0, 1)
	spelled := kubeadmFacts(3, ms, 6*ms).set("pre-vote", "1", 1).set("feature-gates", "CompactHashCheck=true,InitialCorruptCheck=true", 2)
	addresses := kubeadmFacts(3, ms, 6*ms).set("listen-metrics-urls", "http://10.0.0.1:2381", 1)
	upgrade := kubeadmFacts(3, ms, 6*ms)
	upgrade.Members[0].Version = "3.5.35"
	for i := range upgrade.Members {
		delete(upgrade.Members[i].Settings, "snapshot-count")
	}
	for _, test := range []struct {
		name, flag string
		facts      Facts
		level      Level
		current    int
	}{
		{"quota", "quota-backend-bytes", quota, LevelWarning, 2},
		{"spelling", "pre-vote", spelled, LevelKeep, 2},
		{"order", "feature-gates", spelled, LevelKeep, 2},
		{"addresses of their own", "listen-metrics-urls", addresses, LevelKeep, 2},
		{"defaults of two versions", "snapshot-count", upgrade, LevelKeep, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			item := itemOf(t, Advise(test.facts, Options{}), test.flag)
			if item.Level != test.level || len(item.Current) != test.current {
				t.Errorf("got %s: %s: %+v", item.Level, item.Reason, item.Current)
			}
		})
	}
	if got := itemOf(t, Advise(upgrade, Options{}), "snapshot-count").Default; got != "100000 (3.5), 10000 (3.7)" {
		t.Errorf("default %q", got)
	}
}

func TestChangesAreTheSuggestions(t *testing.T) {
	a := Advise(kubeadmFacts(3, 130*ms, 8*ms).set("enable-pprof", "true"), Options{})
	want := []Change{{"heartbeat-interval", "130"}, {"election-timeout", "1430"}, {"initial-election-tick-advance", "false"}, {"enable-pprof", "false"}}
	got := a.Changes()
	if len(got) != len(want) {
		t.Fatalf("got %v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %v, want %v", got[i], want[i])
		}
	}
	if a.Level != LevelWarning || !slices.Contains(a.Reasons, "look at initial-election-tick-advance, enable-pprof") {
		t.Errorf("%s: %s", a.Level, a.Reasons)
	}
}

// While 3.5 and 3.6 are mixed no change of the corruption checks suits both: 3.6 does not start
// with both a gate and the flag that it was before, and a kubeadm patch is for all members.
func TestMixedWithFeatureGates(t *testing.T) {
	f := kubeadmFacts(3, 2*ms, 6*ms)
	old := Settings{"snapshot-count": {"10000", FromFlag}, "experimental-initial-corrupt-check": {"true", FromFlag}, "listen-metrics-urls": {"http://127.0.0.1:2381", FromFlag}}
	f.Members[0].Version, f.Members[0].Settings = "3.5.26", old
	f.Members[1].Version, f.Members[2].Version = "3.6.16", "3.6.16"
	a := Advise(f, Options{})
	if changes := a.Changes(); len(changes) > 0 || a.Level != LevelKeep {
		t.Errorf("%s: %v, %+v", a.Level, changes, a.Items)
	}
	f.Members[1].Version, f.Members[2].Version = "3.5.4", "3.5.26" // which has no such flag
	f.Members[1].Settings, f.Members[2].Settings = old, old
	if changes := Advise(f, Options{}).Changes(); len(changes) > 0 {
		t.Errorf("with 3.5.4: %v", changes)
	}
}

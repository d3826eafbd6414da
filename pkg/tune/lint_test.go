package tune

import (
	"strings"
	"testing"
)

func TestLint(t *testing.T) {
	flags := func(name, value string, from Origin) Settings { return Settings{name: {value, from}} }
	for _, test := range []struct {
		settings Settings
		target   Minor
		level    Level // empty: nothing is found
		instead  string
	}{
		{flags("experimental-initial-corrupt-check", "true", FromFlag), 5, "", ""},
		{flags("experimental-initial-corrupt-check", "true", FromFlag), 6, LevelSuggest, "--feature-gates=InitialCorruptCheck=true"},
		{flags("experimental-initial-corrupt-check", "false", FromFlag), 7, LevelCritical, "--feature-gates=InitialCorruptCheck=false"},
		{flags("experimental-initial-corrupt-check", "true", FromProcess), 8, LevelCritical, "--feature-gates=InitialCorruptCheck=true"},
		{flags("experimental-watch-progress-notify-interval", "5s", FromScript), 7, LevelCritical, "--watch-progress-notify-interval"},
		{flags("experimental-watch-progress-notify-interval", "5s", FromEnvironment), 7, LevelWarning, "--watch-progress-notify-interval"},
		{flags("experimental-watch-progress-notify-interval", "5s", FromFile), 7, LevelWarning, "--watch-progress-notify-interval"},
		{flags("experimental-watch-progress-notify-interval", "5s", FromConfigMap), 7, LevelWarning, "--watch-progress-notify-interval"},
		{flags("experimental-of-long-ago", "1", FromFlag), 7, LevelCritical, ""},
		{flags("max-snapshots", "5", FromFlag), 6, "", ""},
		{flags("max-snapshots", "5", FromFlag), 7, LevelSuggest, ""},
		{flags("max-snapshots", "5", FromFlag), 8, LevelCritical, ""},
		{flags("snapshot-count", "10000", FromFlag), 8, "", ""}, // kept: etcd-io/etcd#21162
		{flags("enable-v2", "false", FromFlag), 5, LevelSuggest, ""},
		{flags("enable-v2", "false", FromFlag), 6, LevelCritical, ""},
		{flags("discovery", "https://x", FromFlag), 7, LevelCritical, "--discovery-endpoints and --discovery-token"},
		{flags("heartbeat-interval", "100", FromFlag), 8, "", ""},
	} {
		got := Lint(test.settings, test.target)
		if test.level == "" {
			if len(got) > 0 {
				t.Errorf("%v for %s: %+v", test.settings, test.target, got)
			}
			continue
		}
		if len(got) != 1 || got[0].Level != test.level || got[0].Instead != test.instead || got[0].Reason == "" {
			t.Errorf("%v for %s: %+v, want %s %q", test.settings, test.target, got, test.level, test.instead)
		}
	}
}

// The etcd that we build with is 3.7: it has nothing that 3.7 removed, what takes its place,
// and what only 3.8 removes.
func TestRemovalsAreEtcds(t *testing.T) {
	fs := etcdFlags()
	for name, gone := range removals() {
		there := fs.Lookup(name) != nil
		if name != "v2-deprecation" && there != (gone.in > 7) { // that one is etcdmain's own
			t.Errorf("--%s removed in %s, but in 3.7: %v", name, gone.in, there)
		}
		for instead := range strings.SplitSeq(gone.instead, " and ") {
			instead, gates, _ := strings.Cut(strings.TrimPrefix(instead, "--"), "=")
			if instead != "" && fs.Lookup(instead) == nil {
				t.Errorf("--%s: 3.7 has no --%s", name, instead)
			}
			if gates != "" {
				if err := fs.Set(instead, gates); err != nil {
					t.Errorf("--%s: %v", name, err)
				}
			}
		}
	}
}

func TestParseMinor(t *testing.T) {
	for text, want := range map[string]Minor{"3.7": 7, "3.7.3": 7, "v3.8.0-alpha.0": 8, "3.10.1": 10, "3.6.16+k3s": 6} {
		if got, err := ParseMinor(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "3", "2.3", "37", "3.x", "3.7x", "latest"} {
		if got, err := ParseMinor(text); err == nil {
			t.Errorf("%s: %v", text, got)
		}
	}
	if text, _ := Minor(7).MarshalText(); string(text) != "3.7" {
		t.Errorf("got %s", text)
	}
}

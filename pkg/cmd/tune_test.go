package cmd

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/discover"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/tune"
)

func TestParseSimulation(t *testing.T) {
	got, err := parseSimulation("rtt=130ms, fsync=8ms,members=5")
	if err != nil || got.RTT != 130*time.Millisecond || *got.Fsync.Value != 8*time.Millisecond || got.Members != 5 {
		t.Errorf("got %+v, %v", got, err)
	}
	got, err = parseSimulation("rtt=0s")
	if err != nil || got.RTT != 0 || got.Fsync.Value != nil || got.Fsync.Missing == "" || got.Members != 3 {
		t.Errorf("got %+v, %v", got, err)
	}
	for text, want := range map[string]string{
		"fsync=8ms":             "rtt is missing",
		"rtt":                   `"rtt" is not like rtt=130ms`,
		"rtt=130":               "rtt=130 is no time like 8ms",
		"rtt=-1ms":              "rtt=-1ms is not between 0 and 1m0s",
		"rtt=61s":               "rtt=61s is not between 0 and 1m0s",
		"rtt=1ms,rtt=2ms":       "rtt is there twice",
		"rtt=1ms,":              `"" is not like`,
		"rtt=1ms,fsync=":        "fsync= is no time",
		"rtt=1ms,members=0":     "members=0 is no number from 1 to 99",
		"rtt=1ms,members=three": "members=three is no number from 1 to 99",
		"rtt=1ms,nodes=3":       `"nodes" is none of rtt, fsync, members`,
	} {
		if _, err := parseSimulation(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func TestTuneUsage(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"tune", "--for-version", "x"}, "it is not like 3.7"},
		{[]string{"tune", "--sample", "-1s"}, "--sample must not be less than 0"},
		{[]string{"tune", "--simulate="}, "error: --simulate is given, but empty\n"},
		{[]string{"tune", "--simulate", "rtt=fast"}, "error: --simulate rtt=fast: rtt=fast is no time like 8ms or 1.5s\n"},
		{[]string{"tune", "main", "--simulate", "rtt=1ms"}, "leave out what names one"},
	} {
		s, out, errOut := testSession(nil)
		if code := s.execute(t.Context(), newRootCommand(s), test.args); code != exitUsage || !strings.Contains(errOut.String(), test.want) || out.Len() > 0 {
			t.Errorf("%q: code %d, %q, want %q", test.args, code, errOut, test.want)
		}
	}
}

func reportOf(t *testing.T, figures string) tuneReport {
	t.Helper()
	sim, err := parseSimulation(figures)
	if err != nil {
		t.Fatal(err)
	}
	return newSimulatedReport(sim)
}

// strayReport is of a running cluster whose members differ, one waits for a restart, and
// one's settings and disk are not known.
func strayReport() tuneReport {
	sim := simulation{RTT: 2 * time.Millisecond, Fsync: tune.Known(6 * time.Millisecond), Members: 3, Version: "3.6.16"}
	f := sim.facts()
	f.Members[0].Settings["heartbeat-interval"] = tune.Setting{Value: "200", From: tune.FromEnvironment}
	f.Members[0].Running = tune.Settings{"heartbeat-interval": {Value: "100", From: tune.FromLog}}
	f.Members[1].Settings["unsafe-no-fsync"] = tune.Setting{Value: "true", From: tune.FromFlag}
	f.Members[2].Settings, f.Members[2].Unread = nil, "the pod is gone"
	f.Members[2].Fsync = tune.Unknown[time.Duration]("metrics do not answer")
	return tuneReport{Advice: tune.Advise(f, tune.Options{})}
}

// measuredReport is of three members, one of which does not answer.
func measuredReport() tuneReport {
	sim := simulation{RTT: 2 * time.Millisecond, Fsync: tune.Known(6 * time.Millisecond), Members: 3, Version: "3.7.3"}
	f := sim.facts()
	f.Members[2].Fsync, f.Members[2].Version = tune.Unknown[time.Duration]("no answer in 5s"), ""
	f.RTTs = tune.FromReads([]tune.Reads{
		{Member: "m1", Leader: true, Linearizable: slices.Repeat([]time.Duration{3 * time.Millisecond}, 40), Serializable: slices.Repeat([]time.Duration{time.Millisecond}, 40)},
		{Member: "m2", Linearizable: slices.Repeat([]time.Duration{9 * time.Millisecond}, 40), Serializable: slices.Repeat([]time.Duration{2 * time.Millisecond}, 40)},
		{Member: "m3", Missing: "no answer in 5s"},
	})
	r := newTuneReport(f)
	r.Cluster, r.Facts = "main", &f
	r.ForVersion = "3.8"
	return r
}

func TestTuneViews(t *testing.T) {
	for _, test := range []struct {
		file     string
		terminal render.Terminal
		wide     bool
		report   tuneReport
	}{
		{"tune-80.txt", render.Terminal{TTY: true, Width: 80, Unicode: true}, false, reportOf(t, "rtt=130ms,fsync=8ms,members=5")},
		{"tune-pipe.txt", render.Terminal{Unicode: true}, false, reportOf(t, "rtt=130ms,fsync=8ms,members=5")},
		{"tune-wide.txt", render.Terminal{TTY: true, Width: 80, Unicode: true}, true, reportOf(t, "rtt=2ms,fsync=6ms,members=3")},
		{"tune-passes.txt", render.Terminal{TTY: true, Width: 160, Unicode: true}, false, reportOf(t, "rtt=600ms,members=4")},
		{"tune-refused-ascii.txt", render.Terminal{TTY: true, Width: 80}, false, reportOf(t, "rtt=6s,fsync=120ms,members=3")},
		{"tune-measured-80.txt", render.Terminal{TTY: true, Width: 80, Unicode: true}, false, measuredReport()},
		{"tune-stray-120.txt", render.Terminal{TTY: true, Width: 120, Unicode: true}, false, strayReport()},
	} {
		t.Run(test.file, func(t *testing.T) {
			var out bytes.Buffer
			screen := render.NewScreen(&out, test.terminal)
			screen.Wide = test.wide
			viewTune(screen, test.report, test.report.Facts == nil)
			if err := screen.Flush(); err != nil {
				t.Fatal(err)
			}
			golden(t, test.file, out.String())
			checkReadable(t, test.terminal, test.wide, out.String())
		})
	}
}

func TestTunePrintsTheStructOfTheView(t *testing.T) {
	s, out, errOut := testSession(nil)
	args := []string{"tune", "--simulate", "rtt=130ms,members=5", "-o",
		"jsonpath={.kind} {.items[0].kind} {.items[0].metadata.name} {.items[0].timing.electionTimeout} {.items[0].simulated.rtt} {.items[0].simulated.fsyncP99.notMeasured}; {.items[0].writes[0].latency.notMeasured}; {.items[0].steps[4].member}"}
	if code := s.execute(t.Context(), newRootCommand(s), args); code != exitOK {
		t.Fatalf("code %d, %s", code, errOut)
	}
	want := "ClusterAdviceList ClusterAdvice simulated 1.3 0.13 --simulate says no fsync; fsync of m1: --simulate says no fsync; m1"
	if out.String() != want {
		t.Errorf("got  %s\nwant %s", out, want)
	}
}

// TestTunePatchTellsTheOrder: the values of a patch are the last pass', and set at once they
// would let a member lead whose heartbeats the others do not wait for.
func TestTunePatchTellsTheOrder(t *testing.T) {
	s, out, errOut := testSession(nil)
	if code := s.execute(t.Context(), newRootCommand(s), []string{"tune", "--simulate", "rtt=340ms,fsync=8ms", "-o", "patch"}); code != exitOK {
		t.Fatalf("code %d, %s", code, errOut)
	}
	for _, want := range []string{
		"# restart one member at a time, each back and well before the next:\n",
		"# pass 1: m2, m3, m1: heartbeat-interval=100, election-timeout=3740\n",
		"# pass 2: m2, m3, m1: heartbeat-interval=340, election-timeout=3740\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	var patch map[string]any
	if err := yaml.Unmarshal(out.Bytes(), &patch); err != nil || patch["kind"] != "ClusterConfiguration" {
		t.Errorf("it is no kubeadm configuration: %v, %v", patch, err)
	}
}

// TestRemovedFlags: what is not known of a member is not called well.
func TestRemovedFlags(t *testing.T) {
	flag := func(name string, from tune.Origin) tune.Settings {
		return tune.Settings{name: {Value: "5", From: from}}
	}
	f := tune.Facts{Members: []tune.Member{
		{Name: "m1", Settings: flag("max-snapshots", tune.FromFlag)},
		{Name: "m2", Unread: "its pod is not known", Running: flag("max-snapshots", tune.FromProcess)},
		{Name: "m3", Unread: "its pod is not known"},
		{Name: "m4", Settings: flag("name", tune.FromFlag)},
	}}
	got := removedFlags(f, 8)
	if len(got) != 3 || got[0].Member != "m1" || len(got[0].Flags) != 1 || got[1].Member != "m2" || len(got[1].Flags) != 1 ||
		got[2].Member != "m3" || got[2].Missing != "its pod is not known" {
		t.Errorf("got %+v", got)
	}
	for _, removed := range [][]memberRemovals{got[2:], {}} {
		var out bytes.Buffer
		screen := render.NewScreen(&out, render.Terminal{Unicode: true})
		viewTune(screen, tuneReport{ForVersion: "3.8", Removed: removed, Facts: &tune.Facts{}}, false)
		if err := screen.Flush(); err != nil || strings.Contains(out.String(), "has every flag") {
			t.Errorf("%+v, %v:\n%s", removed, err, out.String())
		}
	}
}

// TestCompactionOf: each API server's compaction counts for all.
func TestCompactionOf(t *testing.T) {
	server := func(interval string) discover.APIServer {
		return discover.APIServer{Flags: map[string]string{"etcd-compaction-interval": interval}}
	}
	for _, c := range []struct {
		servers []discover.APIServer
		want    time.Duration // less than 0: not known
	}{
		{[]discover.APIServer{{}}, 5 * time.Minute},
		{[]discover.APIServer{server("0"), {}}, 5 * time.Minute},
		{[]discover.APIServer{server("0"), server("0s")}, 0},
		{[]discover.APIServer{server("10m"), server("2m")}, 2 * time.Minute},
		{[]discover.APIServer{server("0"), server("soon")}, -1},
		{nil, -1},
	} {
		got := compactionOf(c.servers)
		if (got.Value == nil) != (c.want < 0) || got.Value != nil && *got.Value != c.want {
			t.Errorf("%+v: %+v, want %s", c.servers, got, c.want)
		}
	}
}

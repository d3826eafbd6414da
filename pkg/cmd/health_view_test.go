package cmd

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/discover"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/health"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
)

// judged is a cluster in which two things are wrong, one is worth a word, and one could not
// be measured.
func judged() clusterHealth {
	results := []health.Result{
		{
			ID: "H20", Title: "alarms", Category: health.Space, Level: health.Critical, Source: "etcd maintenance guide",
			Summary: "etcd-node1 has the alarm NOSPACE: etcd takes no writes", Evidence: []string{"db 2.0 GiB of a quota of 2.0 GiB, 0.3 GiB in use"},
			Remedy: "etcdctl compact, then etcdctl defrag member by member, then etcdctl alarm disarm",
		},
		{
			ID: "H30", Title: "WAL fsync", Category: health.Latency, Level: health.Warning, Source: "etcd FAQ (10 ms); etcd mixin (500 ms)",
			Summary: "etcd-node2 needs 43 ms at p99", Evidence: []string{"etcd-node0: below 1 ms, 1,204 syncs", "etcd-node2: 43 ms, 1,198 syncs"},
			Unmeasured: []string{"etcd-node1: no answer in 5s"}, Remedy: "give etcd a disk of its own",
		},
		{ID: "H01", Title: "number of voters", Category: health.Shape, Level: health.Info, Source: "etcd FAQ", Summary: "7 voters: each write waits for 4 of them"},
		{ID: "H02", Title: "quorum margin", Category: health.Shape, Level: health.OK, Source: "etcdctl endpoint health", Summary: "1 more may fail"},
		{
			ID: "H53", Title: "encryption at rest", Category: health.Wiring, Level: health.Unmeasured, Source: "Kubernetes",
			Summary: "not measured: values are looked at with --deep", Unmeasured: []string{"values are looked at with --deep"},
		},
	}
	c := clusterHealth{Cluster: "main", Namespace: "kube-system", Way: wayForward, Notes: []string{"nodes could not be read"}}
	c.Report = health.Report{At: noon, Sample: 10 * time.Second, Level: health.Critical, Summary: "3 of 3 members healthy", Results: results, Counts: map[health.Level]int{}}
	for _, r := range results {
		c.Counts[r.Level]++
	}
	return c
}

func drawHealth(t *testing.T, terminal render.Terminal, wide, short bool, clusters ...clusterHealth) string {
	t.Helper()
	var out bytes.Buffer
	screen := render.NewScreen(&out, terminal)
	screen.Wide = wide
	viewHealth(screen, clusters, short)
	if err := screen.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestHealthViews(t *testing.T) {
	events := judged()
	events.Cluster = "events"
	for _, test := range []struct {
		file        string
		terminal    render.Terminal
		wide, short bool
		clusters    []clusterHealth
	}{
		{"health-80.txt", render.Terminal{TTY: true, Width: 80, Unicode: true}, false, false, []clusterHealth{judged()}},
		{"health-wide.txt", render.Terminal{TTY: true, Width: 160, Unicode: true}, true, false, []clusterHealth{judged()}},
		{"health-color.txt", render.Terminal{TTY: true, Width: 80, Unicode: true, Color: true}, false, false, []clusterHealth{judged()}},
		{"health-ascii.txt", render.Terminal{TTY: true, Width: 80}, false, false, []clusterHealth{judged()}},
		{"health-pipe.txt", render.Terminal{Unicode: true}, false, false, []clusterHealth{judged()}},
		{"health-short.txt", render.Terminal{Unicode: true}, false, true, []clusterHealth{judged(), events}},
	} {
		t.Run(test.file, func(t *testing.T) {
			got := drawHealth(t, test.terminal, test.wide, test.short, test.clusters...)
			golden(t, test.file, got)
			checkReadable(t, test.terminal, test.wide, got)
		})
	}
}

func TestHealthPrintsTheStructOfTheView(t *testing.T) {
	s, out, _ := testSession(nil)
	s.output = `jsonpath={.kind} {.items[0].metadata.name} {.items[0].level} {.items[0].sample} {.items[0].results[?(@.id=="H30")].level}`
	if err := s.complete(); err != nil {
		t.Fatal(err)
	}
	o := healthOptions{target: newTarget(s)}
	if err := o.print([]clusterHealth{judged()}); err != nil {
		t.Fatal(err)
	}
	if want := "ClusterHealthList main critical 10 warning"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestHealthFailOn(t *testing.T) {
	bad := judged()
	good := judged()
	good.Level = health.Info
	silent := judged()
	silent.Level = health.Unmeasured
	for _, test := range []struct {
		level   health.Level
		cluster clusterHealth
		want    error
	}{
		{health.Critical, bad, exitWith(3)},
		{health.Critical, good, nil},
		{health.Info, good, exitWith(3)},
		{"", bad, nil},
		{health.Critical, silent, exitWith(3)},
		{"", silent, nil},
	} {
		o := healthOptions{level: test.level}
		if got := o.verdict([]clusterHealth{test.cluster}); !errors.Is(got, test.want) {
			t.Errorf("%s: got %v, want %v", test.level, got, test.want)
		}
	}
}

func TestHealthFlags(t *testing.T) {
	for _, test := range []struct {
		o    healthOptions
		want string
	}{
		{healthOptions{checks: []string{"H99"}}, `no check "H99"`},
		{healthOptions{skip: []string{"x"}}, `no check "x"`},
		{healthOptions{checks: []string{"H01"}, skip: []string{"h01"}}, "leave no check"},
		{healthOptions{set: []string{"no-such=1"}}, `no limit is called "no-such"`},
		{healthOptions{set: []string{"learner-age=soon"}}, `"soon" is no duration`},
		{healthOptions{failOn: "bad"}, `"bad" is none of`},
		{healthOptions{sample: -time.Second}, "--sample"},
		{healthOptions{checks: []string{"h01"}, set: []string{"learner-age=5m"}}, ""},
	} {
		s, _, _ := testSession(nil)
		test.o.target = newTarget(s)
		test.o.timeout = time.Second
		if test.o.failOn == "" {
			test.o.failOn = "critical"
		}
		err := test.o.complete(nil)
		var usage *usageError
		switch {
		case test.want == "" && err != nil:
			t.Errorf("refused: %v", err)
		case test.want != "" && (err == nil || !errors.As(err, &usage) || !strings.Contains(err.Error(), test.want)):
			t.Errorf("got %v, want a usage error with %q", err, test.want)
		}
	}
}

// TestShortIsForFindings: other commands have no short form.
func TestShortIsForFindings(t *testing.T) {
	s, _, _ := testSession(nil)
	root := newRootCommand(s)
	root.SetArgs([]string{"status", "-o", "short", "--endpoints", "127.0.0.1:1"})
	if err := root.Execute(); err == nil || !strings.Contains(err.Error(), `output format "short"`) {
		t.Errorf("status -o short: %v", err)
	}
}

// TestSpecOf: what a pod tells of its settings; what stands in a file it does not.
func TestSpecOf(t *testing.T) {
	settings := discover.Settings{"name": {Value: "a", From: discover.FromFlag}, "pre-vote": {Value: "false", From: discover.FromEnv}}
	spec := specOf(settings)
	if !spec.Known() || spec.Value["name"] != "a" || spec.Value["pre-vote"] != "false" {
		t.Errorf("%+v", spec)
	}
	if written := writtenIn(settings); len(written) != 1 || written["name"] != "a" {
		t.Errorf("on the command line are %v", written)
	}
	if file := specOf(discover.Settings{"config-file": {Value: "/etc/etcd.yaml", From: discover.FromFile}}); file.Known() || !strings.Contains(file.Because, "/etc/etcd.yaml") {
		t.Errorf("%+v", file)
	}
}

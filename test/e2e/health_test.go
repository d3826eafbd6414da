//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/test/cluster"
)

// healthList is `health -o json`, as far as the journeys look at it.
type healthList struct {
	Kind  string       `json:"kind"`
	Items []healthItem `json:"items"`
}

type healthItem struct {
	Cluster string         `json:"cluster"`
	Level   string         `json:"level"`
	Results []healthResult `json:"results"`
}

type healthResult struct {
	ID         string   `json:"id"`
	Level      string   `json:"level"`
	Summary    string   `json:"summary"`
	Evidence   []string `json:"evidence"`
	Unmeasured []string `json:"unmeasured"`
	Remedy     string   `json:"remedy"`
}

// result is that of a check of the first cluster; it fails the test where there is none.
func (l healthList) result(t *testing.T, id string) healthResult {
	t.Helper()
	for _, r := range l.Items[0].Results {
		if r.ID == id {
			return r
		}
	}
	t.Fatalf("there is no result %s", id)
	return healthResult{}
}

// finding is a check's level and summary.
func (l healthList) finding(t *testing.T, id string) (level, summary string) {
	t.Helper()
	r := l.result(t, id)
	return r.Level, r.Summary
}

// wants: the check has that level, and says each of the parts.
func (l healthList) wants(t *testing.T, id, level string, parts ...string) {
	t.Helper()
	if missing := l.result(t, id).lacks(level, parts...); missing != "" {
		t.Error(missing)
	}
}

// text is all that the check says.
func (r healthResult) text() string {
	return strings.Join(slices.Concat([]string{r.Summary}, r.Evidence, r.Unmeasured, []string{r.Remedy}), "\n")
}

// lacks tells of another level, or of a part that the check does not say; empty: all is well.
func (r healthResult) lacks(level string, parts ...string) string {
	if r.Level == level && !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(r.text(), part) }) {
		return ""
	}
	return fmt.Sprintf("%s: %s: %s\nwant %s, and %q in it", r.ID, r.Level, r.text(), level, parts)
}

func readHealth(t *testing.T, args ...string) healthList {
	t.Helper()
	got := runWithCerts(t, append([]string{"health", "-o", "json", "--fail-on", "never"}, args...)...)
	got.wantExit(t, 0)
	var list healthList
	got.decode(t, &list)
	if list.Kind != "ClusterHealthList" || len(list.Items) != 1 || len(list.Items[0].Results) == 0 {
		t.Fatalf("health printed %+v", list)
	}
	return list
}

// expected are findings of a cluster of tests that are true: nothing backs it up, its Secrets
// are plain; and its nodes share one disk and two cores with whatever else runs here.
var expected = []string{"H57", "H53", "H30", "H31", "H32", "H33", "H36", "H39", "H16"}

// TestHealthOfAHealthyCluster looks at a healthy cluster under load, and has no false alarm:
// five times, or as often as LOOKS says. That earlier tests killed etcd is no false one.
func TestHealthOfAHealthyCluster(t *testing.T) {
	defer underLoad(t)()
	const disturbed = "restart-window=3m" // which was longer ago
	for look := range looks(t) {
		for _, r := range readHealth(t, "--sample", "1s", "--set", disturbed).Items[0].Results {
			bad := r.Level == "warning" || r.Level == "critical"
			if bad && !slices.Contains(expected, r.ID) || r.Level == "critical" {
				t.Errorf("look %d: %s %s: %s %q", look, r.Level, r.ID, r.Summary, r.Evidence)
			}
		}
	}
	list := readHealth(t, "--sample", "0", "--deep", "--set", disturbed)
	for _, id := range []string{"H01", "H02", "H05", "H06", "H07", "H08", "H10", "H14", "H20", "H40", "H43", "H44", "H45", "H46", "H48", "H50", "H52", "H55", "H58"} {
		if level, summary := list.finding(t, id); level != "ok" {
			t.Errorf("%s: %s: %s", id, level, summary)
		}
	}
	if level, summary := list.finding(t, "H53"); level != "warning" || !strings.Contains(summary, "stored as they are") {
		t.Errorf("plain Secrets: %s: %s", level, summary)
	}
}

func looks(t *testing.T) int {
	text := os.Getenv("LOOKS")
	if text == "" {
		return 5
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestHealthFindsAGhost: a learner was added, and never started.
func TestHealthFindsAGhost(t *testing.T) {
	etcdctl(t, "etcdctl member add ghost --learner --peer-urls=https://192.0.2.1:2380")
	defer etcdctl(t, "etcdctl member remove $(etcdctl member list | grep 192.0.2.1 | cut -d, -f1)")
	list := readHealth(t, "--sample", "0")
	if level, summary := list.finding(t, "H03"); level != "warning" || !strings.Contains(summary, "never started") {
		t.Errorf("H03: %s: %s", level, summary)
	}
	if level, summary := list.finding(t, "H06"); level != "warning" || !strings.Contains(summary, "has no pod") {
		t.Errorf("H06: %s: %s", level, summary)
	}
	if level, summary := list.finding(t, "H01"); level != "ok" {
		t.Errorf("H01: %s: %s", level, summary)
	}
}

func etcdctl(t *testing.T, line string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if out, err := node(t, "node0").Run(ctx, strings.ReplaceAll(line, "etcdctl", cluster.Etcdctl)); err != nil {
		t.Errorf("%s: %v: %s", line, err, out)
	}
}

// TestHealthWithOneMemberDown: it is found, and hides nothing of the others.
func TestHealthWithOneMemberDown(t *testing.T) {
	stop(t, cluster.Etcd, node(t, "node2"))
	settled(t)
	list := readHealth(t, "--sample", "0", "--timeout", "4s")
	if level, summary := list.finding(t, "H02"); level != "warning" || !strings.Contains(summary, "no further voter may fail") {
		t.Errorf("H02: %s: %s", level, summary)
	}
	for _, id := range []string{"H01", "H08", "H10", "H12", "H20", "H46", "H48"} {
		if level, summary := list.finding(t, id); level != "ok" {
			t.Errorf("%s: %s: %s", id, level, summary)
		}
	}
	runWithCerts(t, "health", "--sample", "0", "--timeout", "4s", "--fail-on", "warning", "--check", "H02").wantExit(t, 3)
	shown := runWithCerts(t, "tune", "--sample", "0", "--timeout", "4s", "-o", "wide")
	shown.wantExit(t, 0)
	shown.wantStdout(t, "readindex", "not measured")
	tuned := runWithCerts(t, "tune", "--sample", "0", "--timeout", "4s", "-o", "json")
	tuned.wantExit(t, 0)
	var found advice
	tuned.decode(t, &found)
	if !slices.ContainsFunc(found.Items[0].Facts.RTTs, func(r roundTrip) bool { return r.Method == "readindex" && r.P50.Value != nil }) {
		t.Errorf("the two that are left were not measured by reads: %s", tuned.stdout)
	}
}

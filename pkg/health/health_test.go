package health

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// noon is when the tests' facts were collected.
var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// checkCase is one state of a cluster and what a check makes of it.
type checkCase struct {
	id, name string
	change   func(*Facts) // of a healthy cluster of three, on Kubernetes
	limits   []string     // as --set gives them
	level    Level
	says     string // is in the summary or the evidence, or in what is not measured
	mends    string // is in the remedy
}

func allCases() []checkCase {
	return slices.Concat(shapeCases(), raftCases(), spaceCases(), latencyCases(), integrityCases(), wiringCases())
}

// TestChecks judges every state of the table.
func TestChecks(t *testing.T) {
	for _, c := range allCases() {
		t.Run(c.id+"/"+c.name, func(t *testing.T) {
			facts := healthy(3)
			c.change(facts)
			limits := DefaultLimits()
			for _, setting := range c.limits {
				var err error
				if limits, err = limits.With(setting); err != nil {
					t.Fatal(err)
				}
			}
			result := checkOf(t, c.id).run(facts, limits)
			if result.Level != c.level {
				t.Errorf("level %q, want %q: %s %q %q", result.Level, c.level, result.Summary, result.Evidence, result.Unmeasured)
			}
			text := strings.Join(slices.Concat([]string{result.Summary}, result.Evidence, result.Unmeasured), "\n")
			if !strings.Contains(text, c.says) {
				t.Errorf("it does not say %q, but\n%s", c.says, text)
			}
			if !strings.Contains(result.Remedy, c.mends) {
				t.Errorf("the remedy is %q, want %q in it", result.Remedy, c.mends)
			}
			if c.level.AtLeast(Warning) && result.Remedy == "" {
				t.Error("a finding without a remedy")
			}
		})
	}
}

// TestEveryCheckHasItsCases: each is seen well, not measured, and with a finding.
func TestEveryCheckHasItsCases(t *testing.T) {
	cases := allCases()
	for _, check := range Checks() {
		has := func(match func(Level) bool) bool {
			return slices.ContainsFunc(cases, func(c checkCase) bool { return c.id == check.ID && match(c.level) })
		}
		if !has(func(l Level) bool { return l == OK }) {
			t.Errorf("%s (%s) is never ok", check.ID, check.Title)
		}
		if !has(func(l Level) bool { return l == Unmeasured }) {
			t.Errorf("%s (%s) is always measured", check.ID, check.Title)
		}
		if !has(func(l Level) bool { return l.AtLeast(Info) }) {
			t.Errorf("%s (%s) never finds anything", check.ID, check.Title)
		}
	}
}

// TestCatalogue: ids are stable and each row is whole.
func TestCatalogue(t *testing.T) {
	seen := map[string]bool{}
	limits := map[string]bool{}
	for _, l := range LimitTable() {
		if limits[l.Name] {
			t.Errorf("two limits are called %s", l.Name)
		}
		limits[l.Name] = true
		i := slices.IndexFunc(Checks(), func(c Check) bool { return c.ID == l.Check })
		if i < 0 || !slices.Contains(Checks()[i].Limits, l.Name) {
			t.Errorf("limit %s is of check %s, which does not name it", l.Name, l.Check)
		}
		if value, err := l.Unit.parse(l.Unit.Format(l.Value)); err != nil || value != l.Value {
			t.Errorf("limit %s: %v is written as %s and read as %v, %v", l.Name, l.Value, l.Unit.Format(l.Value), value, err)
		}
	}
	for _, c := range Checks() {
		if seen[c.ID] || c.Title == "" || c.Measures == "" || c.Source == "" || c.Remedy == "" || c.judge == nil {
			t.Errorf("check %+v is twice or not whole", c)
		}
		seen[c.ID] = true
		for _, name := range c.Limits {
			if !limits[name] {
				t.Errorf("%s goes by %s, which is no limit", c.ID, name)
			}
		}
	}
}

// TestHealthyClusterHasNoFinding: no false alarm.
func TestHealthyClusterHasNoFinding(t *testing.T) {
	report := Judge(healthy(3), Checks(), DefaultLimits())
	for _, r := range report.Results {
		if r.Level != OK {
			t.Errorf("%s %s: %s: %s %q", r.ID, r.Title, r.Level, r.Summary, r.Unmeasured)
		}
	}
}

// TestNothingMeasuredIsNothingPassed: a cluster of which nothing is known passes no check.
func TestNothingMeasuredIsNothingPassed(t *testing.T) {
	facts := &Facts{At: noon, WithoutKubernetes: "reached by --endpoints", Archive: Unknown[Archive]("none was given")}
	facts.Members = []Member{{View: etcd.MemberView{Name: "etcd-0", Error: "no answer in 5s"}}}
	for _, r := range Judge(facts, Checks(), DefaultLimits()).Results {
		if r.Level == OK {
			t.Errorf("%s %s passed: %s", r.ID, r.Title, r.Summary)
		}
	}
}

func TestLimits(t *testing.T) {
	limits, err := DefaultLimits().With("learner-ready=80%")
	if err != nil || limits.at("learner-ready") != 0.8 || DefaultLimits().at("learner-ready") != 0.9 {
		t.Errorf("%v, %v", limits, err)
	}
	for _, bad := range []string{"learner-ready", "no-such=1", "learner-age=5", "learner-age=-5s", "learner-ready=x"} {
		if _, err := DefaultLimits().With(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func checkOf(t *testing.T, id string) Check {
	t.Helper()
	for _, c := range Checks() {
		if c.ID == id {
			return c
		}
	}
	t.Fatalf("there is no check %s", id)
	return Check{}
}

// healthy is a well cluster of n members: one on each node, each node in a zone of its
// own, all of kubeadm's, every fact measured.
func healthy(n int) *Facts {
	facts := &Facts{At: noon, Sample: 10 * time.Second, Deep: true}
	facts.Kubernetes = healthyKubernetes()
	watchServer(facts.Kubernetes)
	facts.Archive = Known(Archive{
		Location: "/backup", LastBase: noon.Add(-10 * time.Minute), LastCapture: noon.Add(-5 * time.Second), LastVerify: noon.Add(-time.Hour),
	})
	list := make([]etcd.Member, n)
	for i := range list {
		list[i] = listedMember(i)
	}
	for i := range list {
		facts.Members = append(facts.Members, healthyMember(list, i))
	}
	facts.Overview = overview(facts.Members)
	return facts
}

func listedMember(i int) etcd.Member {
	return etcd.Member{
		ID: etcd.ID(0x10 + i), Name: fmt.Sprintf("node%d", i),
		PeerURLs:   []string{fmt.Sprintf("https://10.0.0.%d:2380", i+1)},
		ClientURLs: []string{fmt.Sprintf("https://10.0.0.%d:2379", i+1)},
	}
}

// overview counts what the checks take of status's verdict.
func overview(members []Member) etcd.Overview {
	o := etcd.Overview{At: noon}
	healthy := 0
	for _, m := range members {
		o.Members = append(o.Members, m.View)
		if m.View.Member == nil || m.View.Member.Learner {
			continue
		}
		o.Verdict.Voters++
		if m.View.Healthy {
			healthy++
		}
	}
	o.Verdict.Healthy, o.Verdict.Quorum = healthy, o.Verdict.Voters/2+1
	has := healthy >= o.Verdict.Quorum
	o.Verdict.HasQuorum = &has
	if has {
		spare := healthy - o.Verdict.Quorum
		o.Verdict.CanLose = &spare
	}
	return o
}

// kill makes member i one that does not answer.
func kill(f *Facts, i int) {
	view := f.Members[i].View
	view.Status, view.Healthy, view.Error = nil, false, "no answer in 5s"
	const because = "it does not answer"
	f.Members[i] = Member{
		View: view, Pod: f.Members[i].Pod,
		List: Unknown[[]etcd.Member](because), Before: Unknown[*etcd.Metrics](because), Now: Unknown[*etcd.Metrics](because),
		Vars: Unknown[etcd.Vars](because), Reads: Unknown[Reads](because), Clock: Unknown[Clock](because),
		Ready: Unknown[map[string]bool](because), Hash: Unknown[etcd.Hash](because),
		Settings: f.Members[i].Settings, PeerCertificates: Unknown[[]etcd.Certificate](because),
	}
	f.Overview = overview(f.Members)
}

// killAll makes all of them so.
func killAll(f *Facts) {
	for i := range f.Members {
		kill(f, i)
	}
	f.Overview.Verdict.HasQuorum, f.Overview.Verdict.CanLose = nil, nil
}

// noListAtAll: no member could tell who the members are.
func noListAtAll(f *Facts) {
	killAll(f)
	for i := range f.Members {
		f.Members[i].View.Member = nil
	}
	f.Overview = overview(f.Members)
	f.Overview.Verdict.HasQuorum = nil
}

// resize makes it a cluster of n.
func resize(n int) func(*Facts) {
	return func(f *Facts) { *f = *healthy(n) }
}

package maintain

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

const mib = 1 << 20

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// calm is a cluster of three: a leads; of 400 MiB, a has 200 in use, b 100 and c 150.
func calm() DefragFacts {
	f := DefragFacts{At: noon, Around: map[etcd.ID]Around{}, Backup: Backup{Newest: noon.Add(-time.Minute)}}
	for i, name := range []string{"a", "b", "c"} {
		id := etcd.ID(i + 1)
		f.Overview.Members = append(f.Overview.Members, etcd.MemberView{
			Name: name, Healthy: true, Quota: 2048 * mib, Lag: new(uint64), Source: name,
			Member: &etcd.Member{ID: id, Name: name},
			Status: &etcd.Status{
				MemberID: id, Leader: 1, Version: "3.7.3", RaftTerm: 2, RaftIndex: 5000, RaftApplied: 5000,
				DBSize: 400 * mib, DBSizeInUse: []int64{200, 100, 150}[i] * mib,
			},
		})
	}
	f.Overview.Verdict = etcd.Verdict{Voters: 3, Healthy: 3, Quorum: 2, HasQuorum: new(true)}
	return f
}

// alone leaves only a.
func (f *DefragFacts) alone() {
	f.Overview.Members = f.Overview.Members[:1]
	f.Overview.Verdict.Voters = 1
}

func (f *DefragFacts) addLearner(change func(*etcd.MemberView)) {
	view := f.Overview.Members[2]
	status := *view.Status
	status.MemberID, status.Learner = 4, true
	view.Name, view.Status, view.Member = "d", &status, &etcd.Member{ID: 4, Name: "d", Learner: true}
	change(&view)
	f.Overview.Members = append(f.Overview.Members, view)
}

// outline is a plan's steps in few words.
func outline(p DefragPlan) string {
	var words []string
	for _, step := range p.Steps {
		switch step.Action {
		case ActionMove:
			words = append(words, step.Member+">"+step.To)
		case ActionDisarm:
			words = append(words, "disarm")
		default:
			words = append(words, step.Member)
		}
	}
	return strings.Join(words, " ")
}

func TestPlanDefrag(t *testing.T) {
	byRule := DefragOptions{Rule: DefaultRule(), ByRule: true}
	for _, test := range []struct {
		name    string
		change  func(f *DefragFacts)
		options DefragOptions
		steps   string
		refuses string // part of a refusal; empty: none
		instead string // part of what it says instead
		warns   string // part of a warning; empty: none
	}{
		{name: "followers by fragmentation, then the leader hands over", steps: "b c a>b a"},
		{name: "by rule", options: byRule, steps: "b c a>b a"},
		{name: "another run has the lock", steps: "b c a>b a", refuses: "another defragmentation is under way (its lock lasts 1m40s)", instead: "at most 2m", change: func(f *DefragFacts) {
			f.Locked = 100 * time.Second
		}},
		{name: "who is not worth it is left out", options: byRule, steps: "b c", change: func(f *DefragFacts) {
			f.Overview.Members[0].Status.DBSizeInUse = 300 * mib
		}},
		{name: "only the leader is worth it", options: byRule, steps: "a>b a", change: func(f *DefragFacts) {
			for _, m := range f.Overview.Members[1:] {
				m.Status.DBSizeInUse = 390 * mib
			}
		}},
		{name: "much free, but a small share", options: byRule, change: func(f *DefragFacts) {
			for _, m := range f.Overview.Members {
				m.Status.DBSize, m.Status.DBSizeInUse = 1500*mib, 1200*mib
			}
		}},
		{name: "near the quota less is enough", options: byRule, steps: "b c a>b a", change: func(f *DefragFacts) {
			for _, m := range f.Overview.Members {
				m.Status.DBSize, m.Status.DBSizeInUse = 1700*mib, 1640*mib
			}
		}},
		{name: "a large share, but small", options: byRule, change: func(f *DefragFacts) {
			for _, m := range f.Overview.Members {
				m.Status.DBSize, m.Status.DBSizeInUse = 90*mib, mib
			}
		}},
		{name: "all, though none needs it", options: DefragOptions{Rule: DefaultRule()}, steps: "b c a>b a", warns: "no member needs it", change: func(f *DefragFacts) {
			for _, m := range f.Overview.Members {
				m.Status.DBSizeInUse = 390 * mib
			}
		}},
		{name: "the successor is who has least to catch up", steps: "b c a>c a", change: func(f *DefragFacts) { f.Overview.Members[1].Lag = new(uint64(9)) }},
		{name: "then who answers first", steps: "b c a>c a", change: func(f *DefragFacts) { f.Overview.Members[1].Status.Latency = time.Second }},
		{name: "NOSPACE", steps: "b c a>b a disarm", change: func(f *DefragFacts) { f.Overview.Members[1].Alarms = []string{NoSpace} }},
		{name: "NOSPACE and nothing to give back", options: byRule, warns: "alarm disarm says what comes first", change: func(f *DefragFacts) {
			f.Overview.Members[1].Alarms = []string{NoSpace}
			for _, m := range f.Overview.Members {
				m.Status.DBSizeInUse = m.Status.DBSize
			}
		}},
		{name: "a learner in step is left out", steps: "b c a>b a", change: func(f *DefragFacts) { f.addLearner(func(*etcd.MemberView) {}) }},
		{name: "a pod in no list is left out", steps: "b c a>b a", change: func(f *DefragFacts) {
			f.Overview.Members = append(f.Overview.Members, etcd.MemberView{Name: "stray"})
		}},

		{name: "CORRUPT", steps: "b c a>b a", refuses: "alarm CORRUPT", instead: "H40", change: func(f *DefragFacts) {
			f.Overview.Alarms = []etcd.Alarm{{Type: Corrupt}}
		}},
		{name: "CORRUPT of a member", steps: "b c a>b a", refuses: "alarm CORRUPT", change: func(f *DefragFacts) { f.Overview.Members[2].Alarms = []string{Corrupt} }},
		{name: "a voter is not healthy", steps: "b c a>b a", refuses: "c is not healthy: it hangs", change: func(f *DefragFacts) {
			f.Overview.Members[2].Healthy, f.Overview.Members[2].Error = false, "it hangs"
		}},
		{name: "a voter is gone", steps: "b a>b a", refuses: "c is not healthy", change: func(f *DefragFacts) {
			f.Overview.Members[2].Healthy, f.Overview.Members[2].Status, f.Overview.Members[2].Lag = false, nil, nil
		}},
		{name: "a voter that is gone may need it", options: byRule, refuses: "c is not healthy", change: func(f *DefragFacts) {
			for _, m := range f.Overview.Members {
				m.Status.DBSizeInUse = m.Status.DBSize
			}
			f.Overview.Members[2].Healthy, f.Overview.Members[2].Status, f.Overview.Members[2].Lag = false, nil, nil
		}},
		{name: "nobody needs it: what is wrong does not matter", options: byRule, change: func(f *DefragFacts) {
			for _, m := range f.Overview.Members {
				m.Status.DBSizeInUse = m.Status.DBSize
			}
			f.Overview.Members[2].Healthy = false
		}},
		{name: "nothing is known", options: byRule, refuses: "there is no quorum", change: func(f *DefragFacts) { f.Overview = etcd.Overview{} }},
		{name: "no list could be read", options: byRule, refuses: "who is a member is not known", change: func(f *DefragFacts) {
			for i := range f.Overview.Members {
				f.Overview.Members[i].Member = nil
			}
		}},
		{name: "a voter lags", steps: "b c a>b a", refuses: "c is 1000 entries behind", change: func(f *DefragFacts) { f.Overview.Members[2].Lag = new(uint64(1000)) }},
		{name: "a voter applies too slowly", steps: "b c a>b a", refuses: "c is 1000 entries behind", change: func(f *DefragFacts) {
			f.Overview.Members[2].Status.RaftApplied -= 1000
		}},
		{name: "a learner syncs", steps: "b c a>b a", refuses: "learner d is not in step", change: func(f *DefragFacts) {
			f.addLearner(func(v *etcd.MemberView) { v.Lag = new(uint64(4000)) })
		}},
		{name: "a learner never started", steps: "b c a>b a", refuses: "learner d is not in step", change: func(f *DefragFacts) {
			f.addLearner(func(v *etcd.MemberView) { v.Status, v.Lag = nil, nil })
		}},
		{name: "no leader", steps: "b c a", refuses: "calls itself the leader", change: func(f *DefragFacts) {
			for _, m := range f.Overview.Members {
				m.Status.Leader = 0
			}
		}},
		{name: "two leaders", steps: "b c a", refuses: "calls itself the leader", change: func(f *DefragFacts) { f.Overview.Members[1].Status.Leader = 2 }},
		{name: "a leader of an earlier term is none", steps: "c a b>a b", change: func(f *DefragFacts) {
			f.Overview.Members[1].Status.Leader, f.Overview.Members[1].Status.RaftTerm = 2, 3
		}},
		{name: "no quorum", steps: "b c a>b a", refuses: "no quorum", change: func(f *DefragFacts) { f.Overview.Verdict.HasQuorum = new(false) }},
		{name: "quorum not known", steps: "b c a>b a", refuses: "no quorum", change: func(f *DefragFacts) { f.Overview.Verdict.HasQuorum = nil }},
		{name: "they disagree", steps: "b c a>b a", refuses: "do not agree", change: func(f *DefragFacts) { f.Overview.Disagree = true }},
		{name: "alone", steps: "a", refuses: "answers nothing for about 10s", instead: "--force", warns: "requests through a fail", change: (*DefragFacts).alone},
		{name: "alone by force", options: DefragOptions{Force: true, Speed: 1 << 40}, steps: "a", change: (*DefragFacts).alone},
		{name: "two voters", options: DefragOptions{Speed: 1 << 40}, steps: "b a>b a", refuses: "with 2 voters", instead: "--force", change: func(f *DefragFacts) {
			f.Overview.Members, f.Overview.Verdict.Voters = f.Overview.Members[:2], 2
		}},
		{name: "3.5.5", steps: "b c a>b a", refuses: "b runs etcd 3.5.5", instead: "etcdutl defrag", change: func(f *DefragFacts) { f.Overview.Members[1].Status.Version = "3.5.5" }},
		{name: "3.4", steps: "b c a>b a", refuses: "b runs etcd 3.4.34", change: func(f *DefragFacts) { f.Overview.Members[1].Status.Version = "3.4.34" }},
		{name: "no version", steps: "b c a>b a", refuses: "b runs etcd", change: func(f *DefragFacts) { f.Overview.Members[1].Status.Version = "" }},
		{name: "3.5.6", steps: "b c a>b a", change: func(f *DefragFacts) { f.Overview.Members[1].Status.Version = "3.5.6" }},
		{name: "the probe is patient enough", steps: "b c a>b a", warns: "requests through b fail", change: func(f *DefragFacts) {
			f.Around[2] = Around{Liveness: 80 * time.Second, Speed: 100 * mib / 39.9, SpeedFrom: "measured"}
		}},
		{name: "the probe is not", steps: "b c a>b a", refuses: "at most 40s are borne", instead: "--disk-speed", warns: "requests through b fail", change: func(f *DefragFacts) {
			f.Around[2] = Around{Liveness: 80 * time.Second, Speed: 100 * mib / 40.1, SpeedFrom: "measured"}
		}},
		{name: "a limit is given, where no probe is known", options: DefragOptions{MaxPause: time.Second, Speed: 80 * mib}, steps: "b c a>b a", refuses: "b would answer nothing for about 1.4s (the speed that was given), and at most 1s are borne"},
		{name: "a limit is given, and the probe bears less", options: DefragOptions{MaxPause: time.Hour}, steps: "b c a>b a", refuses: "at most 40s are borne", warns: "requests through b fail", change: func(f *DefragFacts) {
			f.Around[2] = Around{Liveness: 80 * time.Second, Speed: 100 * mib / 40.1, SpeedFrom: "measured"}
		}},
		{name: "the disk is fast enough, as is said", options: DefragOptions{Speed: 1 << 30}, steps: "b c a>b a", change: func(f *DefragFacts) {
			f.Around[2] = Around{Liveness: 80 * time.Second, Speed: mib}
		}},
		{name: "the disk is full", steps: "b c a>b a", refuses: "the disk of b has 99 MiB free, and the new database needs 100 MiB", change: func(f *DefragFacts) {
			f.Around[2] = Around{DiskFree: new(int64(99 * mib))}
		}},
		{name: "the disk is not", steps: "b c a>b a", change: func(f *DefragFacts) { f.Around[2] = Around{DiskFree: new(int64(100 * mib))} }},
		{name: "a snapshot runs", steps: "b c a>b a", refuses: "c streams a snapshot", change: func(f *DefragFacts) {
			f.Around[3] = Around{Busy: []string{"streams a snapshot"}}
		}},

		{name: "our API server", steps: "b c a>b a", warns: "b is the only member that the API server you are talking to uses (kube-apiserver-b)", change: func(f *DefragFacts) {
			f.Around[2] = Around{APIServers: []string{"kube-apiserver-b"}, Ours: true}
		}},
		{name: "another API server", steps: "b c a>b a", warns: "b is the only member that an API server uses", change: func(f *DefragFacts) {
			f.Around[2] = Around{APIServers: []string{"kube-apiserver-b"}}
		}},
		{name: "metrics are not known", steps: "b c a>b a", warns: "whether b streams a snapshot is not known: forbidden", change: func(f *DefragFacts) {
			f.Around[2] = Around{Unseen: "forbidden"}
		}},
		{name: "an old backup", steps: "b c a>b a", warns: "the newest backup is 1h1m0s old", change: func(f *DefragFacts) { f.Backup.Newest = noon.Add(-61 * time.Minute) }},
		{name: "no backup", steps: "b c a>b a", warns: "there is no backup", change: func(f *DefragFacts) { f.Backup = Backup{} }},
		{name: "no archive", steps: "b c a>b a", warns: "not known: no --archive was given", change: func(f *DefragFacts) { f.Backup = Backup{Because: "no --archive was given"} }},
	} {
		f := calm()
		if test.change != nil {
			test.change(&f)
		}
		if test.options.Speed == 0 && !strings.Contains(test.name, "alone") { // so that pauses are worth no word
			for id := etcd.ID(1); id < 5; id++ {
				if around := f.Around[id]; around.Speed == 0 {
					around.Speed = 1 << 30
					f.Around[id] = around
				}
			}
		}
		p := PlanDefrag(f, test.options)
		if got := outline(p); got != test.steps {
			t.Errorf("%s: steps %q, want %q", test.name, got, test.steps)
		}
		var reasons []string
		for _, r := range p.Refusals {
			reasons = append(reasons, r.Reason+" | "+r.Instead)
		}
		wantOnly(t, test.name+": refusals", reasons, test.refuses)
		wantOnly(t, test.name+": refusals say instead", reasons, test.refuses, test.instead)
		wantOnly(t, test.name+": warnings", p.Warnings, test.warns)
	}
}

// wantOnly wants one of texts to hold all parts, and none where the first is empty.
func wantOnly(t *testing.T, what string, texts []string, parts ...string) {
	t.Helper()
	has := slices.ContainsFunc(texts, func(text string) bool {
		return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(text, part) })
	})
	if parts[0] == "" && len(texts) > 0 || parts[0] != "" && !has {
		t.Errorf("%s: %q, want %q", what, texts, parts)
	}
}

func TestPlanSaysGainAndPause(t *testing.T) {
	f := calm()
	f.Around[2] = Around{Liveness: 80 * time.Second, Speed: 50 * mib, SpeedFrom: "measured"}
	p := PlanDefrag(f, DefragOptions{})
	if p.Gain != 750*mib {
		t.Errorf("gain is %d", p.Gain)
	}
	got := p.Steps[0]
	got.speed = 0
	want := DefragStep{
		Action: ActionDefrag, Member: "b", ID: 2, DBSize: 400 * mib, DBSizeInUse: 100 * mib, Free: 300 * mib,
		Fragmentation: 0.75, QuotaUsage: 400.0 / 2048, Pause: 2100 * time.Millisecond, PauseFrom: "measured", Limit: 40 * time.Second,
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(DefragStep{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := p.Steps[1]; got.Pause != 7600*time.Millisecond || got.PauseFrom != "assumed: 20 MiB a second" || got.Limit != 0 {
		t.Errorf("nothing is known: %+v", got)
	}
}

func TestRefusedPlanDoesNotRun(t *testing.T) {
	f := calm()
	f.Overview.Alarms = []etcd.Alarm{{Type: Corrupt}}
	report, err := Defrag(t.Context(), Members{}, PlanDefrag(f, DefragOptions{}), DefragRun{})
	if !errors.Is(err, ErrUnready) || report.Done {
		t.Errorf("got %+v, %v", report, err)
	}
}

func TestBefore(t *testing.T) {
	for version, want := range map[string]bool{
		"3.5.5": true, "3.4.99": true, "2.9.9": true, "": true, "3.5": true, "x.y.z": true,
		"3.5.6": false, "3.5.21": false, "3.6.0-rc.1": false, "3.7.3": false, "4.0.0": false,
	} {
		if got := before(version, 5, 6); got != want {
			t.Errorf("%q: %t", version, got)
		}
	}
}

package maintain

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// cast is a cluster of n voters a, b, c, … with the IDs 1, 2, 3, …, on nodes node-a, …; a leads.
func cast(n int) *etcd.Overview {
	o := &etcd.Overview{Verdict: etcd.Verdict{HasQuorum: new(true)}}
	for i := range n {
		id, name := etcd.ID(i+1), string(rune('a'+i))
		o.Members = append(o.Members, etcd.MemberView{
			Name: name, Pod: "etcd-node-" + name, Node: "node-" + name, Healthy: true, Lag: new(uint64), Source: name,
			Member: &etcd.Member{ID: id, Name: name, PeerURLs: []string{peerOf(i)}},
			Status: &etcd.Status{MemberID: id, Leader: 1, Version: "3.7.3", RaftTerm: 2, RaftIndex: 5000, RaftApplied: 5000},
		})
	}
	return o
}

func peerOf(i int) string { return fmt.Sprintf("https://10.0.0.%d:2380", i+1) }

// fell makes members silent.
func fell(o *etcd.Overview, which ...int) {
	for _, i := range which {
		o.Members[i].Status, o.Members[i].Healthy, o.Members[i].Lag, o.Members[i].Error = nil, false, nil, "no answer in 5s"
	}
}

// learns makes the last member a learner.
func learns(o *etcd.Overview) {
	last := &o.Members[len(o.Members)-1]
	last.Member.Learner, last.Status.Learner = true, true
}

func script(p MemberPlan) string {
	var words []string
	for _, step := range p.Steps {
		words = append(words, step.String())
	}
	return strings.Join(words, "; ")
}

func TestMemberPlans(t *testing.T) {
	add := func(member NewMember) func(etcd.Overview) MemberPlan {
		return func(o etcd.Overview) MemberPlan { return PlanAdd(o, member) }
	}
	of := func(plan func(etcd.Overview, etcd.MemberView) MemberPlan, text string) func(etcd.Overview) MemberPlan {
		return func(o etcd.Overview) MemberPlan {
			view, err := FindMember(o, text)
			if err != nil {
				t.Fatal(err)
			}
			return plan(o, view)
		}
	}
	replace := func(text string, options ReplaceOptions) func(etcd.Overview) MemberPlan {
		return of(func(o etcd.Overview, view etcd.MemberView) MemberPlan { return PlanReplace(o, view, options) }, text)
	}
	move := func(text string) func(etcd.Overview) MemberPlan {
		return of(func(o etcd.Overview, view etcd.MemberView) MemberPlan { return PlanMove(o, &view) }, text)
	}
	d := NewMember{Name: "d", PeerURLs: []string{peerOf(3)}}
	again := NewMember{Name: "c", PeerURLs: []string{peerOf(2)}}
	for _, test := range []struct {
		name    string
		n       int // voters; default 3
		change  func(o *etcd.Overview)
		plan    func(o etcd.Overview) MemberPlan
		steps   string
		after   string
		refuses string // part of the first refusal; empty: none
		instead string
		warns   string // part of a warning
	}{
		{name: "a learner", plan: add(d), steps: "add d as a learner, at https://10.0.0.4:2380", after: "3 voters, quorum 2, 3 healthy: can lose 1, and 1 learner", warns: "once it is promoted there are 4 voters"},
		{name: "a voter", plan: add(NewMember{Name: "d", PeerURLs: d.PeerURLs, Voter: true}), steps: "add d as a voter, at https://10.0.0.4:2380", after: "4 voters, quorum 3, 3 healthy: can lose 0", warns: "counts for the quorum at once"},
		{name: "a voter to a single one", n: 1, plan: add(NewMember{Name: "d", PeerURLs: d.PeerURLs, Voter: true}), refuses: "until d runs there would be no quorum", instead: "without --voter"},
		{name: "a learner to a single one", n: 1, plan: add(d), steps: "add d as a learner, at https://10.0.0.4:2380", warns: "2 voters"},
		{name: "a learner to two", n: 2, plan: add(d), steps: "add d as a learner, at https://10.0.0.4:2380"},
		{name: "nobody can reach it", plan: add(NewMember{Name: "d", PeerURLs: []string{"https://127.0.0.1:2380"}}), steps: "add d as a learner, at https://127.0.0.1:2380", warns: "can't reach https://127.0.0.1:2380"},
		{name: "in the clear", plan: add(NewMember{Name: "d", PeerURLs: []string{"http://10.0.0.4:2380"}}), steps: "add d as a learner, at http://10.0.0.4:2380", warns: "is http, and the other members' peer URLs are not"},
		{name: "the name is taken", plan: add(NewMember{Name: "c", PeerURLs: d.PeerURLs}), refuses: "a member called c already", instead: "member replace c"},
		{name: "the URL is taken", plan: add(NewMember{Name: "d", PeerURLs: []string{peerOf(1)}}), refuses: "is the peer URL of b"},
		{name: "a learner is there", n: 4, change: learns, plan: add(NewMember{Name: "e", PeerURLs: []string{peerOf(4)}}), refuses: "d is a learner", instead: "member promote d"},
		{name: "one of three is down", change: func(o *etcd.Overview) { fell(o, 2) }, plan: add(d), refuses: "only 2 of 3 voters are healthy", instead: "member remove"},
		{name: "one of five is down", n: 5, change: func(o *etcd.Overview) { fell(o, 2) }, plan: add(NewMember{Name: "f", PeerURLs: []string{peerOf(5)}}), steps: "add f as a learner, at https://10.0.0.6:2380"},
		{name: "one of five is down, and an old one is there", n: 5, change: func(o *etcd.Overview) { fell(o, 2); o.Members[4].Status.Version = "3.5.29" },
			plan: add(NewMember{Name: "f", PeerURLs: []string{peerOf(5)}}), refuses: "e runs etcd 3.5.29, which takes no new member while any voter is down", instead: "remove"},
		{name: "it is there, and waits", n: 4, change: func(o *etcd.Overview) { learns(o); o.Members[3].Member.Name = "" }, plan: add(d)},
		{name: "it is there, and quorum is lost without it", n: 2, change: func(o *etcd.Overview) { fell(o, 1); o.Members[1].Member.Name = ""; o.Verdict.HasQuorum = new(false) },
			plan: add(NewMember{Name: "b", PeerURLs: []string{peerOf(1)}, Voter: true})},
		{name: "it is there, as a voter", n: 4, change: func(o *etcd.Overview) { o.Members[3].Member.Name = "" }, plan: add(d), refuses: "is the peer URL of 4"},

		{name: "a learner in step", n: 4, change: learns, plan: of(PlanPromote, "d"), steps: "promote learner d to a voter", after: "4 voters, quorum 3, 4 healthy: can lose 1", warns: "4 voters bear no more failures than 3"},
		{name: "a learner that was never started", n: 4, change: func(o *etcd.Overview) { learns(o); o.Members[3].Member.Name = "" }, plan: of(PlanPromote, "4"), steps: "promote learner 4 to a voter", warns: "was not started yet"},
		{name: "a voter is one", plan: of(PlanPromote, "b"), refuses: "b is a voter already"},
		{name: "a vote too many", n: 6, change: func(o *etcd.Overview) { learns(o); fell(o, 3, 4) }, plan: of(PlanPromote, "f"), steps: "promote learner f to a voter"},

		{name: "a follower", plan: of(PlanRemove, "node-b"), steps: "remove b (2)", after: "2 voters, quorum 2, 2 healthy: can lose 0", warns: "2 voters bear no more failures than 1"},
		{name: "the leader", plan: of(PlanRemove, "etcd-node-a"), steps: "move the leadership from a to b; remove a (1)"},
		{name: "the dead one", change: func(o *etcd.Overview) { fell(o, 2) }, plan: of(PlanRemove, "3"), steps: "remove c (3)", after: "2 voters, quorum 2, 2 healthy: can lose 0", warns: "can't come back with the data"},
		{name: "one of the living", change: func(o *etcd.Overview) { fell(o, 2) }, plan: of(PlanRemove, "b"), refuses: "without b there would be no quorum: 2 voters, quorum 2, 1 healthy: 1 too few"},
		{name: "a learner leaves", n: 4, change: func(o *etcd.Overview) { learns(o); fell(o, 2) }, plan: of(PlanRemove, "d"), steps: "remove d (4)", after: "3 voters, quorum 2, 2 healthy: can lose 0"},
		{name: "the last", n: 1, plan: of(PlanRemove, "a"), refuses: "a is the only member"},
		{name: "down to one", n: 2, plan: of(PlanRemove, "b"), steps: "remove b (2)", warns: "a single voter bears no failure"},

		{name: "to b", plan: move("b"), steps: "move the leadership from a to b"},
		{name: "to whom it is", plan: move("a")},
		{name: "to the fittest", change: func(o *etcd.Overview) { o.Members[1].Lag = new(uint64(7)) }, plan: func(o etcd.Overview) MemberPlan { return PlanMove(o, nil) }, steps: "move the leadership from a to c"},
		{name: "to a learner", n: 4, change: learns, plan: move("d"), refuses: "d can't lead"},
		{name: "to one that lags", change: func(o *etcd.Overview) { o.Members[1].Lag = new(uint64(maxGap)) }, plan: move("b"), refuses: "b can't lead"},
		{name: "from a leader that is not reached", change: func(o *etcd.Overview) { fell(o, 0) }, plan: func(o etcd.Overview) MemberPlan { return PlanMove(o, nil) }, refuses: "no member that could be asked is the leader"},
		{name: "to b, from a leader that is not reached", change: func(o *etcd.Overview) { fell(o, 0) }, plan: move("b"), refuses: "no member that could be asked is the leader"},
		{name: "from nobody known", change: func(o *etcd.Overview) {
			for i := range o.Members {
				o.Members[i].Member = nil
			}
		}, plan: func(o etcd.Overview) MemberPlan { return PlanMove(o, nil) }, refuses: "who is a member is not known"},
		{name: "to nobody", n: 1, plan: func(o etcd.Overview) MemberPlan { return PlanMove(o, nil) }, refuses: "no voter is fit"},

		{name: "the lost one, by itself", change: func(o *etcd.Overview) { fell(o, 2) }, plan: replace("c", ReplaceOptions{With: again}),
			steps: "remove c (3); add c as a learner, at https://10.0.0.3:2380", after: "2 voters, quorum 2, 2 healthy: can lose 0, and 1 learner"},
		{name: "the lost one, by kubeadm", change: func(o *etcd.Overview) { fell(o, 2) }, plan: replace("c", ReplaceOptions{}), steps: "remove c (3)"},
		{name: "one that answers", plan: replace("c", ReplaceOptions{With: again}), refuses: "c answers: it is not lost", instead: "--force"},
		{name: "the leader, by force", plan: replace("a", ReplaceOptions{Force: true, With: NewMember{Name: "a", PeerURLs: []string{peerOf(0)}}}),
			steps: "move the leadership from a to b; remove a (1); add a as a learner, at https://10.0.0.1:2380"},
		{name: "by a name that is taken", change: func(o *etcd.Overview) { fell(o, 2) }, plan: replace("c", ReplaceOptions{With: NewMember{Name: "b", PeerURLs: d.PeerURLs}}), refuses: "a member called b already"},
		{name: "one of unknown name", change: func(o *etcd.Overview) { fell(o, 2); o.Members[2].Member.Name = "" }, plan: replace("3", ReplaceOptions{With: NewMember{PeerURLs: d.PeerURLs}}), refuses: "its name is not known", instead: "--name"},
		{name: "one of two lost ones", n: 5, change: func(o *etcd.Overview) { fell(o, 2, 3) }, plan: replace("c", ReplaceOptions{With: again}),
			steps: "remove c (3); add c as a learner, at https://10.0.0.3:2380", after: "4 voters, quorum 3, 3 healthy: can lose 0, and 1 learner"},
		{name: "one of two lost ones, with old servers", n: 5, change: func(o *etcd.Overview) { fell(o, 2, 3); o.Members[0].Status.Version = "3.6.10" }, plan: replace("c", ReplaceOptions{With: again}),
			refuses: "takes no new member while any voter is down"},

		{name: "quorum lost", change: func(o *etcd.Overview) { fell(o, 1, 2); o.Verdict.HasQuorum = new(false) }, plan: of(PlanRemove, "c"), refuses: "quorum is lost", instead: "kubectl etcd help recovery"},
		{name: "quorum not seen", change: func(o *etcd.Overview) { o.Verdict.HasQuorum = nil }, plan: add(d), refuses: "whether there is quorum is not known"},
		{name: "two lists", change: func(o *etcd.Overview) { o.Disagree = true }, plan: add(d), refuses: "do not agree"},
		{name: "the leader is not reached", change: func(o *etcd.Overview) { fell(o, 0) }, plan: add(d), refuses: "no member that could be asked is the leader"},
		{name: "the number of voters", n: 7, plan: add(NewMember{Name: "h", PeerURLs: []string{peerOf(7)}, Voter: true}), steps: "add h as a voter, at https://10.0.0.8:2380", warns: "8 voters bear no more failures than 7"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := cast(max(test.n, 1))
			if test.n == 0 {
				o = cast(3)
			}
			if test.change != nil {
				test.change(o)
			}
			p := test.plan(*o)
			if got := script(p); got != test.steps {
				t.Errorf("steps %q, want %q; refused %+v", got, test.steps, p.Refusals)
			}
			if test.after != "" && p.After.String() != test.after {
				t.Errorf("after: %s, want %s", p.After, test.after)
			}
			switch {
			case (test.refuses != "") != (len(p.Refusals) > 0):
				t.Errorf("refused %+v", p.Refusals)
			case test.refuses != "" && (!strings.Contains(p.Refusals[0].Reason, test.refuses) || !strings.Contains(p.Refusals[0].Instead, test.instead)):
				t.Errorf("refused %+v", p.Refusals)
			}
			if test.warns != "" && !slices.ContainsFunc(p.Warnings, func(w string) bool { return strings.Contains(w, test.warns) }) {
				t.Errorf("warnings %q, want %q", p.Warnings, test.warns)
			}
		})
	}
}

func TestFindMember(t *testing.T) {
	o := *cast(3)
	o.Members[2].Node = "node-b"
	o.Members = append(o.Members, etcd.MemberView{Name: "stray", Pod: "stray"})
	for text, want := range map[string]string{"2": "b", "b": "b", "etcd-node-c": "c", "node-a": "a"} {
		if view, err := FindMember(o, text); err != nil || view.Name != want {
			t.Errorf("%s: %s, %v", text, view.Name, err)
		}
	}
	for text, want := range map[string]string{"node-b": "2 members", "stray": "there are a, b, c", "": "there are a, b, c"} {
		if _, err := FindMember(o, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestWantsAllConnected(t *testing.T) {
	for version, want := range map[string]bool{
		"3.4.30": true, "3.5.29": true, "3.5.30": false, "3.6.10": true, "3.6.11": false, "3.7.0": false, "3.8.0": false, "what": true,
	} {
		if got := wantsAllConnected(version); got != want {
			t.Errorf("%s: %v", version, got)
		}
	}
}

func TestInitialCluster(t *testing.T) {
	list := []etcd.Member{
		{ID: 1, Name: "a", PeerURLs: []string{"http://1:1", "http://1:2"}}, {ID: 2, PeerURLs: []string{"http://2:1"}}, {ID: 31, PeerURLs: []string{"http://3:1"}},
	}
	if diff := cmp.Diff("1f=http://3:1,a=http://1:1,a=http://1:2,b=http://2:1", InitialCluster(list, 2, "b")); diff != "" {
		t.Error(diff)
	}
}

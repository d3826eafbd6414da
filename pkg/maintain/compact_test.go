package maintain

import (
	"errors"
	"fmt"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
)

func TestPlanCompact(t *testing.T) {
	facts := CompactFacts{Overview: calm().Overview, Head: 1000, Compacted: 400}
	kubernetes := facts
	kubernetes.Kubernetes = true
	corrupt, lost := facts, facts
	corrupt.Overview.Alarms = []etcd.Alarm{{Type: Corrupt}}
	lost.Overview.Verdict.HasQuorum = nil
	timed := kubernetes
	timed.Moment = &Moment{Revision: 500}
	for _, test := range []struct {
		name     string
		facts    CompactFacts
		revision int64
		idle     bool
		refuses  string
		warns    string
	}{
		{"of some time ago", facts, 500, false, "", ""},
		{"to the newest", facts, 1000, false, "", ""},
		{"to the newest of Kubernetes", kubernetes, 1000, false, "1000 is the newest revision", "by themselves"},
		{"of Kubernetes", kubernetes, 999, false, "", "410 Gone"},
		{"of Kubernetes by time", timed, 500, false, "", "by themselves"},
		{"of tomorrow", facts, 1001, false, "not there yet: the newest is 1000", ""},
		{"compacted already", corrupt, 400, true, "", ""},
		{"CORRUPT", corrupt, 500, false, "alarm CORRUPT", ""},
		{"without quorum", lost, 500, false, "no quorum", ""},
	} {
		p := PlanCompact(test.facts, test.revision, false)
		var reasons []string
		for _, r := range p.Refusals {
			reasons = append(reasons, r.Reason)
		}
		wantOnly(t, test.name+": refusals", reasons, test.refuses)
		wantOnly(t, test.name+": warnings", p.Warnings, test.warns)
		if p.Idle != test.idle {
			t.Errorf("%s: idle is %t", test.name, p.Idle)
		}
	}
}

// clockOf reads what TestCompact writes.
func clockOf(value []byte) (time.Time, bool) {
	at, err := time.Parse(time.RFC3339, string(value))
	return at, err == nil
}

func TestCompact(t *testing.T) {
	c := etcdtest.Start(t, 3, etcdtest.Options{Plain: true})
	m := membersOf(c)
	client, raw := m.Clients[0], m.Clients[c.Leader()].Raw()
	if at, err := client.CompactRevision(t.Context()); err != nil || at != 0 {
		t.Errorf("never compacted: %d, %v", at, err)
	}
	// A clock that is written every ten seconds, and nine other writes after each.
	written := map[int]int64{}
	for i := range 20 {
		put, err := raw.Put(t.Context(), "/clock", noon.Add(time.Duration(i)*10*time.Second).Format(time.RFC3339))
		if err != nil {
			t.Fatal(err)
		}
		written[i] = put.Header.Revision
		for j := range 9 {
			etcdtest.Put(t, raw, fmt.Sprintf("/other/%d", j), "x")
		}
	}
	head := awaitHead(t, client, written[19]+9)

	for _, test := range []struct {
		at   time.Duration
		want int // -1: no clock
	}{
		{time.Hour, 19}, {190 * time.Second, 19}, {189 * time.Second, 18}, {95 * time.Second, 9}, {9 * time.Second, 0}, {0, 0}, {-time.Second, -1},
	} {
		found, err := Clock{"/clock", clockOf}.RevisionAt(t.Context(), client, CompactFacts{Head: head, Compacted: 0}, noon.Add(test.at))
		switch {
		case test.want < 0:
			if !errors.Is(err, ErrNoClock) {
				t.Errorf("%s: %+v, %v", test.at, found, err)
			}
		case err != nil || found.Revision != written[test.want] || !found.At.Equal(noon.Add(time.Duration(test.want)*10*time.Second)):
			t.Errorf("%s: %+v, %v, want %d", test.at, found, err, written[test.want])
		}
	}
	if _, err := (Clock{"/none", clockOf}).RevisionAt(t.Context(), client, CompactFacts{Head: head, Compacted: 0}, noon); !errors.Is(err, ErrNoClock) {
		t.Errorf("no such key: %v", err)
	}

	facts := CompactFacts{Overview: etcd.Observe(t.Context(), m.Sources, patience), Head: head}
	plan := PlanCompact(facts, written[10]+3, true)
	if err := Compact(t.Context(), m, plan, patience); err != nil {
		t.Fatal(err)
	}
	if err := Compact(t.Context(), m, plan, patience); err != nil {
		t.Errorf("somebody else did it meanwhile: %v", err)
	}
	if at, err := client.CompactRevision(t.Context()); err != nil || at != written[10]+3 {
		t.Errorf("compacted to %d, %v, not %d", at, err, written[10]+3)
	}
	if _, err := raw.Get(t.Context(), "/clock", clientv3.WithRev(written[10]+2)); err == nil {
		t.Error("the history is still there")
	}
	// What was before is gone; what stood then is still there.
	if found, err := (Clock{"/clock", clockOf}).RevisionAt(t.Context(), client, CompactFacts{Head: head, Compacted: written[10] + 3}, noon.Add(105*time.Second)); err != nil || found.Revision != written[10] {
		t.Errorf("after that: %+v, %v", found, err)
	}
	if found, err := (Clock{"/clock", clockOf}).RevisionAt(t.Context(), client, CompactFacts{Head: head, Compacted: written[10] + 3}, noon.Add(95*time.Second)); err != nil || found.Revision != written[10]+3 {
		t.Errorf("of what is gone: %+v, %v", found, err)
	}
	if _, err := (Clock{"/none", clockOf}).RevisionAt(t.Context(), client, CompactFacts{Head: head, Compacted: written[10] + 3}, noon); !errors.Is(err, ErrNoClock) {
		t.Errorf("no such key: %v", err)
	}
	facts.Head = 1 << 40
	refused := PlanCompact(facts, 1<<41, false)
	if err := Compact(t.Context(), m, refused, patience); !errors.Is(err, ErrUnready) {
		t.Errorf("refused: %v", err)
	}
}

// awaitHead waits until a member has all of the history.
func awaitHead(t *testing.T, client *etcd.Client, head int64) int64 {
	t.Helper()
	for range 500 {
		if s, err := client.Status(t.Context()); err == nil && s.Revision >= head {
			return s.Revision
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("a member does not catch up")
	return 0
}

func TestPlanDisarm(t *testing.T) {
	overview := func(change func(o *etcd.Overview)) etcd.Overview {
		f := calm()
		change(&f.Overview)
		return f.Overview
	}
	noSpace := func(size int64) func(o *etcd.Overview) {
		return func(o *etcd.Overview) {
			o.Members[1].Alarms = []string{NoSpace}
			o.Members[2].Status.DBSize = size
		}
	}
	for _, test := range []struct {
		name    string
		change  func(o *etcd.Overview)
		options DisarmOptions
		alarms  int
		kept    int
		before  int
		refuses string
		warns   string
	}{
		{name: "none", change: func(*etcd.Overview) {}},
		{name: "there is room", change: noSpace(1843 * mib), alarms: 1},
		{name: "there is none", change: noSpace(1844 * mib), alarms: 1, before: 3, refuses: "the database of c is at 90% of its quota"},
		{name: "by force", change: noSpace(2048 * mib), options: DisarmOptions{Force: true}, alarms: 1, warns: "raises NOSPACE again"},
		{name: "no quota", alarms: 1, change: func(o *etcd.Overview) {
			noSpace(1 << 40)(o)
			o.Members[2].Quota = -1
		}},
		{name: "quota not known", alarms: 1, before: 3, refuses: "the quota of c is not known", change: func(o *etcd.Overview) {
			noSpace(1)(o)
			o.Members[2].Quota = 0
		}},
		{name: "one does not answer", alarms: 1, before: 3, refuses: "c does not answer", change: func(o *etcd.Overview) {
			noSpace(1)(o)
			o.Members[2].Status = nil
		}},
		{name: "no quorum", alarms: 1, refuses: "there is no quorum", change: func(o *etcd.Overview) {
			noSpace(1)(o)
			o.Verdict.HasQuorum = new(false)
		}},
		{name: "CORRUPT", kept: 1, refuses: "disarming mends nothing", change: func(o *etcd.Overview) { o.Alarms = []etcd.Alarm{{Type: Corrupt}} }},
		{name: "CORRUPT, by force", kept: 1, options: DisarmOptions{Force: true}, refuses: "disarming mends nothing", change: func(o *etcd.Overview) { o.Members[0].Alarms = []string{Corrupt} }},
		{name: "CORRUPT by its own flag", alarms: 1, options: DisarmOptions{Corrupt: true}, warns: "different versions", change: func(o *etcd.Overview) { o.Alarms = []etcd.Alarm{{Type: Corrupt}} }},
		{name: "both", alarms: 1, kept: 1, warns: "CORRUPT stays", change: func(o *etcd.Overview) {
			noSpace(1)(o)
			o.Alarms = []etcd.Alarm{{Type: Corrupt}}
		}},
	} {
		p := PlanDisarm(overview(test.change), test.options)
		var reasons []string
		for _, r := range p.Refusals {
			reasons = append(reasons, r.Reason)
		}
		wantOnly(t, test.name+": refusals", reasons, test.refuses)
		wantOnly(t, test.name+": warnings", p.Warnings, test.warns)
		if len(p.Alarms) != test.alarms || len(p.Kept) != test.kept || len(p.Before) != test.before {
			t.Errorf("%s: %+v", test.name, p)
		}
	}
}

func TestDisarm(t *testing.T) {
	c := etcdtest.Start(t, 3, etcdtest.Options{Plain: true})
	m := membersOf(c)
	observe := func() etcd.Overview { return etcd.Observe(t.Context(), m.Sources, patience) }
	c.RaiseAlarm(c.Members[1].ID(), pb.AlarmType_NOSPACE)
	c.RaiseAlarm(0, pb.AlarmType_CORRUPT)
	done, err := Disarm(t.Context(), m, PlanDisarm(observe(), DisarmOptions{}), patience)
	if err != nil || len(done) != 1 || done[0] != (etcd.Alarm{MemberID: c.Members[1].ID(), Type: NoSpace}) {
		t.Errorf("got %+v, %v", done, err)
	}
	if left := alarmsOf(observe(), Corrupt); len(left) != 1 {
		t.Errorf("CORRUPT went too: %+v", left)
	}
	if _, err := Disarm(t.Context(), m, PlanDisarm(observe(), DisarmOptions{}), patience); !errors.Is(err, ErrUnready) {
		t.Errorf("CORRUPT without its flag: %v", err)
	}
	if done, err = Disarm(t.Context(), m, PlanDisarm(observe(), DisarmOptions{Corrupt: true}), patience); err != nil || len(done) != 1 {
		t.Errorf("CORRUPT: %+v, %v", done, err)
	}
	if left, err := m.Clients[0].Alarms(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("left: %+v, %v", left, err)
	}
}

// One that was raised again at once is not gone.
func TestDisarmedAndRaisedAgain(t *testing.T) {
	one, two := etcd.Alarm{MemberID: 1, Type: NoSpace}, etcd.Alarm{MemberID: 2, Type: NoSpace}
	gone, err := goneOf([]etcd.Alarm{one, two}, []etcd.Alarm{two})
	if len(gone) != 1 || gone[0] != one || err == nil || err.Error() != "NOSPACE of 2 was raised again at once" {
		t.Errorf("gone are %+v, %v", gone, err)
	}
}

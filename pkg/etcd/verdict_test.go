package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// said is a reading of a healthy member id that lists members a, b, c … with IDs
// 1, 2, 3 … up to n and follows member 1 at term 5.
func said(id ID, n int) reading {
	return reading{
		source:  Source{Name: "etcd-" + string(rune('a'+id-1))},
		status:  &Status{ClusterID: 9, MemberID: id, Leader: 1, RaftTerm: 5, RaftIndex: 100, DBSize: 10 << 20},
		passed:  true,
		members: listOf(n),
	}
}

func listOf(n int) []Member {
	list := make([]Member, n)
	for i := range list {
		name := string(rune('a' + i))
		list[i] = Member{ID: ID(i + 1), Name: name, PeerURLs: []string{"https://" + name + ":2380"}}
	}
	return list
}

func silent(name string) reading {
	return reading{source: Source{Name: name}, err: errors.New("connection refused"), timeout: time.Second}
}

// leaderless is a reading of member id that knows no leader, so that no read was tried.
func leaderless(id ID, n int) reading {
	return change(said(id, n), func(r *reading) { r.status.Leader, r.passed = 0, false })
}

// unread is a reading of member id where a linearizable read ended with err.
func unread(id ID, n int, err error) reading {
	return change(said(id, n), func(r *reading) { r.health, r.passed, r.timeout = err, false, 5*time.Second })
}

// change is said with something different about it.
func change(r reading, f func(*reading)) reading {
	f(&r)
	return r
}

func TestVerdict(t *testing.T) {
	three := func(f func(*reading)) []reading { return []reading{said(1, 3), said(2, 3), change(said(3, 3), f)} }
	tests := []struct {
		name     string
		readings []reading
		level    Level
		summary  string
		reason   string // in one of them; empty: there are none
	}{
		{"three", three(func(*reading) {}), LevelOK, "3 of 3 members healthy, leader a, quorum 2, can lose 1", ""},
		{"one", []reading{said(1, 1)}, LevelOK, "1 of 1 members healthy, leader a, no redundancy", ""},
		{"one of three silent", []reading{said(1, 3), said(2, 3), silent("etcd-c")}, LevelWarning,
			"2 of 3 members healthy, leader a, quorum 2, can lose none", "c does not answer: connection refused"},
		{"one of five silent", []reading{said(1, 5), said(2, 5), said(3, 5), said(4, 5), silent("etcd-e")}, LevelWarning,
			"4 of 5 members healthy, leader a, quorum 3, can lose 1", "e does not answer"},
		{"two of three dead", []reading{
			leaderless(1, 3), silent("etcd-b"), silent("etcd-c"),
		}, LevelCritical, "0 of 3 members healthy, no leader, quorum 2 is lost", "quorum is lost: 0 of 3 voters healthy, 2 needed"},
		{"two of three out of our reach, but a linearizable read passed", []reading{said(1, 3), silent("etcd-b"), silent("etcd-c")}, LevelWarning,
			"1 of 3 members healthy, leader a, quorum 2, can lose none", "so there is quorum, but only 1 of 3 voters"},
		{"nobody answers", []reading{silent("x"), silent("y"), silent("z")}, LevelCritical,
			"none of 3 members could be reached, quorum unknown", "whether etcd has quorum is not known"},
		{"nobody asked", nil, LevelCritical, "none of 0 members could be reached, quorum unknown", "not known"},
		{"even", []reading{said(1, 4), said(2, 4), said(3, 4), said(4, 4)}, LevelWarning,
			"4 of 4 members healthy, leader a, quorum 3, can lose 1", "4 voters: an even number"},
		{"one knows no leader", []reading{said(1, 3), said(2, 3), leaderless(3, 3)}, LevelWarning,
			"2 of 3 members healthy, leader a, quorum 2, can lose none", "c is not healthy: knows no leader"},
		{"two leaders at a term", three(func(r *reading) { r.status.Leader = 3 }), LevelCritical, "", "2 members are called leader at term 5"},
		{"an older leader is no second one", three(func(r *reading) { r.status.Leader, r.status.RaftTerm = 3, 4 }), LevelOK,
			"3 of 3 members healthy, leader a, quorum 2, can lose 1", ""},
		{"linearizable read fails", []reading{said(1, 3), said(2, 3), unread(3, 3, context.DeadlineExceeded)}, LevelWarning,
			"2 of 3 members healthy, leader a, quorum 2, can lose none", "c is not healthy: answers, but a linearizable read failed: no answer in 5s"},
		{"space alarm", three(func(r *reading) { r.alarms = []Alarm{{3, "NOSPACE"}} }), LevelCritical,
			"3 of 3 members healthy, leader a, quorum 2, can lose 1", "c has the alarm NOSPACE"},
		{"corruption alarm, told only by Status", three(func(r *reading) { r.status.Errors = []string{"memberID:2  alarm:CORRUPT "} }), LevelCritical,
			"2 of 3 members healthy, leader a, quorum 2, can lose none", "b has the alarm CORRUPT"},
		{"corruption alarm of nobody, told only by Status", three(func(r *reading) { r.status.Errors = []string{" alarm:CORRUPT"} }), LevelCritical,
			"3 of 3 members healthy, leader a, quorum 2, can lose 1", "the cluster has the alarm CORRUPT (of no known member)"},
		{"alarm of a member that was removed", three(func(r *reading) { r.alarms = []Alarm{{0xdead, "NOSPACE"}} }), LevelCritical,
			"3 of 3 members healthy, leader a, quorum 2, can lose 1", "the cluster has the alarm NOSPACE (of member dead, which is none of these)"},
		{"other cluster", three(func(r *reading) { r.status.ClusterID = 8 }), LevelCritical, "", "disagree"},
		{"other list", three(func(r *reading) { r.members = listOf(2) }), LevelCritical, "", "disagree"},
		{"nearly full", three(func(r *reading) { r.status.DBSizeQuota, r.status.DBSize = 100, 90 }), LevelWarning, "", "c uses 90% of its quota"},
		{"full to the mark", three(func(r *reading) { r.status.DBSizeQuota, r.status.DBSize = 100, 85 }), LevelOK,
			"3 of 3 members healthy, leader a, quorum 2, can lose 1", ""},
		{"huge quota", three(func(r *reading) { r.source.Quota = 16 << 30 }), LevelWarning, "", "c has a quota of 16.0 GiB"},
		{"unstarted", []reading{
			change(said(1, 3), func(r *reading) { r.members[2].Name = "" }),
			change(said(2, 3), func(r *reading) { r.members[2].Name = "" }),
		}, LevelWarning, "2 of 3 members healthy, leader a, quorum 2, can lose none", "3 was added but never started"},
		{"member without a pod", []reading{said(1, 3), said(2, 3)}, LevelWarning, "", "c does not answer: no pod or endpoint is known for it"},
		{"pod in no list", append(three(func(*reading) {}), change(said(7, 0), func(r *reading) { r.members = nil })), LevelWarning,
			"3 of 3 members healthy, leader a, quorum 2, can lose 1", "etcd-g is in no member list"},
		{"the same member twice", append(three(func(*reading) {}), said(3, 3)), LevelOK, "3 of 3 members healthy, leader a, quorum 2, can lose 1", ""},
		{"learner", []reading{
			change(said(1, 2), func(r *reading) { r.members[1].Learner = true }),
			{source: Source{Name: "etcd-b"}, status: &Status{ClusterID: 9, MemberID: 2, Leader: 1, Learner: true, RaftTerm: 5}},
		}, LevelOK, "1 of 1 members healthy, leader a, no redundancy", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			v := compose(test.readings, time.Now()).Verdict
			if v.Level != test.level {
				t.Errorf("level %s, want %s (%q)", v.Level, test.level, v.Reasons)
			}
			if test.summary != "" && v.Summary != test.summary {
				t.Errorf("summary %q, want %q", v.Summary, test.summary)
			}
			if all := strings.Join(v.Reasons, "\n"); (test.reason == "") != (all == "") || !strings.Contains(all, test.reason) {
				t.Errorf("reasons %q, want %q among them", v.Reasons, test.reason)
			}
		})
	}
}

// The cluster's alarm, of member 0, is not that of a pod of whose member nothing is known.
func TestAlarmsFindTheirRows(t *testing.T) {
	overview := compose([]reading{
		change(said(1, 1), func(r *reading) {
			r.alarms = []Alarm{{0, "CORRUPT"}, {7, "NOSPACE"}, {1, "NOSPACE"}}
			r.status.Errors = []string{"alarm:CORRUPT", "memberID:7 alarm:CORRUPT"}
		}),
		silent("stranger"),
	}, time.Now())
	got := map[string][]string{}
	for _, row := range overview.Members {
		got[row.Name] = row.Alarms
	}
	if diff := cmp.Diff(map[string][]string{"a": {"NOSPACE"}, "stranger": nil}, got); diff != "" {
		t.Errorf("alarms of the rows (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]Alarm{{0, "CORRUPT"}, {7, "CORRUPT"}, {7, "NOSPACE"}}, overview.Alarms); diff != "" {
		t.Errorf("the others (-want +got):\n%s", diff)
	}
}

// Quorum goes by linearizable reads, and by them alone.
func TestVerdictOnQuorum(t *testing.T) {
	const late = "linearizable reads do not come back in time: whether etcd has quorum is not known"
	timedOut, refused := fmt.Errorf("linearizable read: %w", context.DeadlineExceeded), errors.New("etcdserver: request timed out")
	unlisted := func(id ID) reading { return change(said(id, 0), func(r *reading) { r.members = nil }) }
	has, lost := new(bool), new(bool)
	*has = true
	tests := []struct {
		name            string
		readings        []reading
		want            *bool // nil: not known
		summary, reason string
	}{
		{"the only member is corrupt, its read passed",
			[]reading{change(said(1, 1), func(r *reading) { r.alarms = []Alarm{{1, "CORRUPT"}} })},
			has, "0 of 1 members healthy, leader a, no redundancy", "so there is quorum, but only 0 of 1 voters could be reached healthy"},
		{"reads passed, no member list was to be had", []reading{unlisted(1), unlisted(2), unlisted(3)},
			has, "0 of 3 members healthy, leader etcd-a, quorum 2, can lose none", "so there is quorum"},
		{"one passed, two are late", []reading{said(1, 3), unread(2, 3, timedOut), unread(3, 3, timedOut)},
			has, "1 of 3 members healthy, leader a, quorum 2, can lose none", "so there is quorum"},
		{"all late", []reading{unread(1, 3, timedOut), unread(2, 3, timedOut), unread(3, 3, timedOut)},
			nil, "0 of 3 members healthy, leader a, quorum unknown", late},
		{"late, one without a leader", []reading{unread(1, 3, timedOut), unread(2, 3, timedOut), leaderless(3, 3)},
			nil, "0 of 3 members healthy, leader a, quorum unknown", late},
		{"one late, two without a leader", []reading{unread(1, 3, timedOut), leaderless(2, 3), leaderless(3, 3)},
			lost, "0 of 3 members healthy, leader a, quorum 2 is lost", "quorum is lost: 0 of 3 voters healthy, 2 needed"},
		{"refused by all", []reading{unread(1, 3, refused), unread(2, 3, refused), unread(3, 3, refused)},
			lost, "0 of 3 members healthy, leader a, quorum 2 is lost", "quorum is lost"},
		{"a stranger's read says nothing", []reading{leaderless(1, 3), leaderless(2, 3), leaderless(3, 3), unlisted(7)},
			lost, "", "quorum is lost"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			v := compose(test.readings, time.Now()).Verdict
			if diff := cmp.Diff(test.want, v.HasQuorum); diff != "" {
				t.Errorf("HasQuorum (-want +got):\n%s", diff)
			}
			if v.Level == LevelOK || (test.summary != "" && v.Summary != test.summary) {
				t.Errorf("%s: %q, want %q", v.Level, v.Summary, test.summary)
			}
			if all := strings.Join(v.Reasons, "\n"); !strings.Contains(all, test.reason) {
				t.Errorf("reasons %q, want %q among them", v.Reasons, test.reason)
			}
			if test.want != has && v.Level != LevelCritical {
				t.Errorf("level %s without a read that passed", v.Level)
			}
		})
	}
}

func TestMergeMembers(t *testing.T) {
	at := func(r reading, term uint64) reading {
		return change(r, func(r *reading) { r.status.RaftTerm = term })
	}
	tests := []struct {
		name     string
		readings []reading
		want     int // members of the list
		disagree bool
	}{
		{"all the same", []reading{said(1, 3), said(2, 3), said(3, 3)}, 3, false},
		{"most common", []reading{said(1, 2), said(2, 3), said(3, 3)}, 3, true},
		{"highest term before most common", []reading{at(said(1, 4), 6), said(2, 3), said(3, 3)}, 4, true},
		{"tie: the leader's", []reading{said(2, 3), said(1, 2)}, 2, true},
		{"only one has a list", []reading{silent("x"), said(2, 3), change(said(3, 3), func(r *reading) { r.members = nil })}, 3, false},
		{"none", []reading{silent("x")}, 0, false},
		{"the order of a list means nothing", []reading{said(1, 2), change(said(2, 2), func(r *reading) {
			r.members[0], r.members[1] = r.members[1], r.members[0]
		})}, 2, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			list, disagree := mergeMembers(test.readings)
			if len(list) != test.want || disagree != test.disagree {
				t.Errorf("%d members, disagree %t, want %d, %t", len(list), disagree, test.want, test.disagree)
			}
		})
	}
}

func TestRowsFindTheirMembers(t *testing.T) {
	silentAs := func(s Source) reading { return reading{source: s, err: errors.New("gone")} }
	readings := []reading{
		said(1, 5),
		silentAs(Source{Name: "p-2", Peers: []string{"https://b:2380/"}}),
		silentAs(Source{Name: "p-3", Pod: "etcd-c"}),
		silentAs(Source{Name: "p-4", Node: "d"}),
		silentAs(Source{Name: "p-6"}),
	}
	overview := compose(readings, time.Now())
	got := map[string]string{}
	for _, row := range overview.Members {
		member := "no member"
		if row.Member != nil {
			member = row.Member.ID.String()
		}
		got[row.Name] = member + ": " + row.Error
	}
	want := map[string]string{
		"a": "1: ", "b": "2: gone", "c": "3: gone", "d": "4: gone",
		"e":   "5: no pod or endpoint is known for it",
		"p-6": "no member: gone",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

func TestLagIsWithinACluster(t *testing.T) {
	readings := []reading{
		said(1, 3),
		change(said(2, 3), func(r *reading) { r.status.RaftIndex = 90 }),
		change(said(3, 3), func(r *reading) { r.status.ClusterID, r.status.RaftIndex = 8, 5000 }),
	}
	var lags []string
	for _, row := range compose(readings, time.Now()).Members {
		lags = append(lags, fmt.Sprint(row.Name, *row.Lag))
	}
	if diff := cmp.Diff([]string{"a0", "b10", "c0"}, lags); diff != "" {
		t.Errorf("lags (-want +got):\n%s", diff)
	}
}

// What is not known does not stand in the JSON, rather than as a number that says something.
func TestJSONHoldsOnlyWhatIsKnown(t *testing.T) {
	for _, test := range []struct {
		name        string
		readings    []reading
		has, hasNot string // parts of the verdict
	}{
		{name: "with quorum", readings: []reading{said(1, 3), said(2, 3), silent("etcd-c")}, has: `"canLose":0`},
		{name: "nobody answers", readings: []reading{silent("a"), silent("b"), silent("c")}, hasNot: "canLose"},
		{name: "quorum lost", readings: []reading{
			leaderless(1, 3), silent("etcd-b"), silent("etcd-c"),
		}, has: `"hasQuorum":false`, hasNot: "canLose"},
	} {
		overview := compose(test.readings, time.Now())
		verdict, err := json.Marshal(overview.Verdict)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(verdict), test.has) || test.hasNot != "" && strings.Contains(string(verdict), test.hasNot) {
			t.Errorf("%s: %s", test.name, verdict)
		}
		for _, m := range overview.Members {
			row, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range []string{`"lag":`, `"quota":`} {
				if has := strings.Contains(string(row), key); has != (m.Status != nil) {
					t.Errorf("%s: %s: %s is there: %t", test.name, row, key, has)
				}
			}
		}
	}
	set := silent("a")
	set.source.Quota = 8 << 30
	if got := compose([]reading{set}, time.Now()).Members[0].Quota; got != 8<<30 {
		t.Errorf("the quota in the settings of a silent member: %d", got)
	}
}

func TestErrorsAreShort(t *testing.T) {
	long := errors.New(strings.Repeat("ü", 500) + "\nsecond line")
	got := explainShortly(long, time.Second)
	if len(got) > maxError+len(" …") || strings.Contains(got, "\n") || !strings.HasPrefix(got, "üü") {
		t.Errorf("%d bytes: %q", len(got), got)
	}
	words := errors.New(strings.Repeat("no route to host; ", 20))
	if got := explainShortly(words, time.Second); len(got) > maxError+len(" …") || !strings.HasSuffix(got, "no route to …") {
		t.Errorf("%d bytes, not in whole words: %q", len(got), got)
	}
}

package backup

import (
	"slices"
	"strings"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

func TestRank(t *testing.T) {
	member := func(name string, id etcd.ID, change func(*etcd.Status)) candidate {
		status := etcd.Status{MemberID: id, Leader: 1, RaftIndex: 10000, RaftApplied: 10000, DBSize: 100}
		change(&status)
		return candidate{Source: Source{Name: name}, status: status}
	}
	same := func(*etcd.Status) {}
	leader := member("leader", 1, same)
	follower := member("follower", 2, same)
	tests := []struct {
		name       string
		candidates []candidate
		want       string
	}{
		{"leader last", []candidate{leader, follower}, "follower leader"},
		{"single", []candidate{leader}, "leader"},
		{"by name where all is equal", []candidate{follower, member("a", 3, same)}, "a follower"},
		{"smallest first", []candidate{follower, member("small", 3, func(s *etcd.Status) { s.DBSize = 99 })}, "small follower"},
		{"behind after the leader", []candidate{member("behind", 3, func(s *etcd.Status) { s.RaftApplied = 8999 }), leader, follower}, "follower leader behind"},
		{"a little behind is no matter", []candidate{leader, member("near", 3, func(s *etcd.Status) { s.RaftApplied = 9000 })}, "near leader"},
		{"without a leader after those with", []candidate{member("lost", 3, func(s *etcd.Status) { s.Leader = 0 }), leader}, "leader lost"},
		{"corrupt last", []candidate{
			member("corrupt", 3, func(s *etcd.Status) { s.Errors = []string{"memberID:3 alarm:CORRUPT"} }),
			leader, member("fine", 2, func(s *etcd.Status) { s.Errors = []string{"memberID:3 alarm:CORRUPT"} }),
		}, "fine leader corrupt"},
		{"another's number that begins alike", []candidate{
			member("fine", 3, func(s *etcd.Status) { s.Errors = []string{"memberID:33 alarm:CORRUPT"} }), leader,
		}, "fine leader"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for range 2 { // in either order of the input
				var names []string
				rank(test.candidates)
				for _, c := range test.candidates {
					names = append(names, c.Name)
				}
				if got := strings.Join(names, " "); got != test.want {
					t.Errorf("order %q, want %q", got, test.want)
				}
				slices.Reverse(test.candidates)
			}
		})
	}
}

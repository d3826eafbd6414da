package etcd

import (
	"fmt"
	"slices"
	"strings"
)

// mergeMembers chooses the member list: the most common one among those whose
// members are at the highest term; of equally common ones a leader's, else the
// first. disagree is true when members list other members, or are of other clusters.
func mergeMembers(readings []reading) (list []Member, disagree bool) {
	var term uint64
	clusters, keys := map[ID]bool{}, map[string]bool{}
	for _, r := range readings {
		if r.status == nil {
			continue
		}
		clusters[r.status.ClusterID] = true
		if len(r.members) == 0 {
			continue
		}
		keys[identity(r.members)] = true
		term = max(term, r.status.RaftTerm)
	}
	return mostCommon(readings, term), len(clusters) > 1 || len(keys) > 1
}

func mostCommon(readings []reading, term uint64) []Member {
	var best []Member
	bestVotes := 0
	votes := map[string]int{}
	for _, r := range readings {
		if len(r.members) > 0 && r.status.RaftTerm == term {
			weight := 2
			if r.status.Leader == r.status.MemberID {
				weight = 3 // enough to break a tie between two, not to win over one more
			}
			votes[identity(r.members)] += weight
		}
	}
	for _, r := range readings {
		if len(r.members) == 0 || r.status.RaftTerm != term {
			continue
		}
		if n := votes[identity(r.members)]; n > bestVotes {
			best, bestVotes = r.members, n
		}
	}
	return best
}

// identity is the same text for lists with the same members in the same roles.
func identity(members []Member) string {
	ids := make([]string, len(members))
	for i, m := range members {
		ids[i] = fmt.Sprintf("%s/%t", m.ID, m.Learner)
	}
	slices.Sort(ids)
	return strings.Join(ids, ",")
}

// pair makes a row for every reading and for every member of the list. A reading
// belongs to the member whose ID it gave; one without an answer to a member that is
// left over and has one of its peer URLs, else one of its client URLs, else its name.
func pair(readings []reading, list []Member) []row {
	rows := make([]row, len(readings))
	taken := map[ID]bool{}
	for i := range readings {
		rows[i].reading = &readings[i]
		if status := readings[i].status; status != nil {
			rows[i].member = memberOf(&readings[i], list)
			taken[status.MemberID] = true
		}
	}
	for _, match := range []func(Source, Member) bool{samePeer, sameClient, sameName} {
		for i := range rows {
			if rows[i].reading.status == nil && rows[i].member == nil {
				rows[i].member = claim(list, taken, func(m Member) bool { return match(rows[i].reading.source, m) })
			}
		}
	}
	for i := range list {
		if !taken[list[i].ID] {
			rows = append(rows, row{member: &list[i]})
		}
	}
	return rows
}

// memberOf finds who answered: in the common list, else in its own.
func memberOf(r *reading, list []Member) *Member {
	for _, members := range [][]Member{list, r.members} {
		for i := range members {
			if members[i].ID == r.status.MemberID {
				return &members[i]
			}
		}
	}
	return nil
}

func claim(list []Member, taken map[ID]bool, match func(Member) bool) *Member {
	for i := range list {
		if !taken[list[i].ID] && match(list[i]) {
			taken[list[i].ID] = true
			return &list[i]
		}
	}
	return nil
}

func samePeer(source Source, member Member) bool { return share(source.Peers, member.PeerURLs) }

func sameClient(source Source, member Member) bool { return share(source.Clients, member.ClientURLs) }

// share tells whether a URL stands in both.
func share(some, others []string) bool {
	return slices.ContainsFunc(some, func(a string) bool {
		return slices.ContainsFunc(others, func(b string) bool {
			return strings.TrimRight(a, "/") == strings.TrimRight(b, "/")
		})
	})
}

// sameName knows a member by its pod or node: kubeadm's pod of member N is etcd-N,
// and N is the node's name.
func sameName(source Source, member Member) bool {
	if member.Name == "" {
		return false
	}
	return slices.Contains([]string{source.Name, source.Pod, source.Node}, member.Name) ||
		source.Name == "etcd-"+member.Name || source.Pod == "etcd-"+member.Name
}

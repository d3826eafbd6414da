package tune

import (
	"fmt"
	"slices"
	"time"
)

// WriteCost is what a write takes with so many voters, through the leader of now.
type WriteCost struct {
	Members int                 `json:"members"`
	CanLose int                 `json:"canLose"`
	Latency Fact[time.Duration] `json:"latency"`
	// Assumed is how many followers there aren't yet: they are taken to be as slow as the
	// slowest there is.
	Assumed int  `json:"assumed,omitempty"`
	Current bool `json:"current"`
}

// writeCosts is by 1, 3, 5, 7 members and as many as there are. A write is done when the
// leader's own disk has it and as many followers as make a quorum with it: the slower of
// its fsync and the k-th fastest follower's round trip and fsync, k = ⌊n/2⌋.
func (n network) writeCosts(f Facts) []WriteCost {
	voters := f.voters()
	sizes := []int{1, 3, 5, 7}
	if len(voters) > 0 && !slices.Contains(sizes, len(voters)) {
		sizes = append(sizes, len(voters))
		slices.Sort(sizes)
	}
	own, followers, missing := n.fromLeader(voters)
	var costs []WriteCost
	for _, size := range sizes {
		cost := WriteCost{Members: size, CanLose: (size - 1) / 2, Current: size == len(voters)}
		cost.Assumed = max(0, size-len(voters))
		cost.Latency = writeLatency(size, own, followers, missing)
		costs = append(costs, cost)
	}
	return costs
}

func writeLatency(size int, own Fact[time.Duration], followers []time.Duration, missing string) Fact[time.Duration] {
	k := size / 2
	switch {
	case own.Value == nil:
		return own
	case k == 0:
		return own
	case missing != "":
		return Unknown[time.Duration](missing)
	case len(followers) == 0:
		return Unknown[time.Duration]("there is no follower yet")
	}
	return Known(max(*own.Value, followers[min(k, len(followers))-1]))
}

// fromLeader is the leader's fsync, and the followers' round trips with their fsyncs,
// fastest first; missing is why some of these are not known.
func (n network) fromLeader(voters []Member) (own Fact[time.Duration], followers []time.Duration, missing string) {
	lead := slices.IndexFunc(voters, func(m Member) bool { return m.Leader })
	if lead < 0 {
		reason := "no leader is known"
		return Unknown[time.Duration](reason), nil, reason
	}
	leader := voters[lead]
	own = leader.Fsync
	if own.Value == nil {
		own = Unknown[time.Duration](fmt.Sprintf("fsync of %s: %s", leader.Name, leader.Fsync.why()))
	}
	for i, m := range voters {
		rtt := n.between(leader.Name, m.Name)
		switch {
		case i == lead:
		case rtt.Value == nil:
			missing = fmt.Sprintf("round trip %s to %s: %s", leader.Name, m.Name, rtt.why())
		case m.Fsync.Value == nil:
			missing = fmt.Sprintf("fsync of %s: %s", m.Name, m.Fsync.why())
		default:
			followers = append(followers, *rtt.Value+*m.Fsync.Value)
		}
	}
	slices.Sort(followers)
	return own, followers, missing
}

// memberNotes are what to know before members are added.
func memberNotes(voters int) []string {
	notes := []string{
		"more members don't make Kubernetes' reads faster: most come from the API server's watch cache, and a linearizable one asks the leader",
		"no autoscaling: more members make no write faster, and each change of members puts the quorum at risk (kubernetes.io, Operating etcd clusters)",
	}
	if voters > 0 && voters%2 == 0 {
		even := fmt.Sprintf("%d members survive no more than %d, and it takes one more of them to write: never an even number", voters, voters-1)
		notes = append([]string{even}, notes...)
	}
	return notes
}

package tune

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// FromConnects is the round trip from one member's node to another's peer port: what each
// TCP connect there took, in any order. missing says why there are none. Under loss a connect
// is tried anew after a second: the p99 tells, the p50 does not.
func FromConnects(from, to string, took []time.Duration, missing string) RTT {
	const none = "no connect came back"
	rtt := RTT{From: from, To: to, Method: MethodConnect, Samples: len(took)}
	if len(took) == 0 {
		rtt.P50 = Unknown[time.Duration](cmp.Or(missing, none))
		rtt.P99 = rtt.P50
		return rtt
	}
	sorted := slices.Sorted(slices.Values(took))
	rtt.P50, rtt.P99 = Known(middle(sorted)), Unknown[time.Duration](fmt.Sprintf("of %d connects there is none", len(sorted)))
	if len(sorted) >= 100 {
		rtt.P99 = Known(sorted[len(sorted)*99/100])
	}
	rtt.judge(spread(sorted))
	return rtt
}

// judge says how far the median may be off.
func (r *RTT) judge(noise time.Duration) {
	r.Confidence = "±" + say(noise)
	if noise > max(*r.P50.Value*15/100, leastNoise) {
		r.Unreliable = true
		r.Confidence += ": not to be relied upon, what was measured varies as much"
	}
}

// Reads are how long small reads through one member took, sorted, one after the other over
// the same connection.
type Reads struct {
	Member  string
	Leader  bool
	Missing string // why there are none
	// Linearizable reads ask the leader, and that a quorum; serializable ones are answered by
	// the member itself: they take what the way to it takes.
	Linearizable, Serializable []time.Duration
}

// FromReads are the round trips between the leader and each other voter. A linearizable read
// through a follower takes the way to it, its round trip to the leader, and what the leader
// takes to hear from a quorum; through the leader, the way to that and the same. So
//
//	RTT = (linearizable − serializable, through the follower) − (the same, through the leader)
//
// and what the ways take, as through a port-forward, is gone (rules §0.2).
func FromReads(all []Reads) []RTT {
	at := slices.IndexFunc(all, func(r Reads) bool { return r.Leader })
	if at < 0 {
		return nil
	}
	leader := all[at]
	var rtts []RTT
	for _, r := range all {
		if !r.Leader {
			rtts = append(rtts, fromReads(leader, r))
		}
	}
	return rtts
}

func fromReads(leader, follower Reads) RTT {
	rtt := RTT{From: leader.Member, To: follower.Member, Method: MethodReadIndex, P99: Unknown[time.Duration]("reads wait for more than the line")}
	if why := cmp.Or(follower.Missing, leader.Missing); why != "" {
		rtt.P50 = Unknown[time.Duration](why)
		return rtt
	}
	rtt.Samples = min(len(leader.Linearizable), len(leader.Serializable), len(follower.Linearizable), len(follower.Serializable))
	if rtt.Samples == 0 {
		rtt.P50 = Unknown[time.Duration]("no read came back")
		return rtt
	}
	estimate := max(follower.consensus()-leader.consensus(), 0)
	rtt.P50 = Known(estimate)
	rtt.judge(together(leader.noise(), follower.noise()))
	return rtt
}

// leastNoise is below what a difference says nothing (15 % or 2 ms, whichever is larger, is
// what is promised).
const leastNoise = 2 * time.Millisecond

// consensus is what a linearizable read takes over one that the member answers itself. It is
// told from the quickest: others waited for reads that were under way already (server/v3
// etcdserver asks the leader for one batch after the other), or for entries that the member
// had yet to write. On a Kubernetes control plane that is most of them.
func (r Reads) consensus() time.Duration { return r.Linearizable[0] - r.Serializable[0] }

// noise is how far consensus may be off, 15 times in 16.
func (r Reads) noise() time.Duration {
	return together(unmet(r.Linearizable), unmet(r.Serializable))
}

// unmet is how much quicker than the quickest a read may be that waits for nothing: of evenly
// spread waits the first of 40 is more than what lies between it and the fifth once in 16.
func unmet(sorted []time.Duration) time.Duration { return sorted[len(sorted)/10] - sorted[0] }

// spread is how far the median of sorted may be off, 19 times in 20: the true one lies
// between the values whose ranks are a root of the number away from the middle, however
// they are distributed.
func spread(sorted []time.Duration) time.Duration {
	n := len(sorted)
	root := int(math.Ceil(math.Sqrt(float64(n))))
	return (sorted[min(n/2+root, n-1)] - sorted[max(n/2-root, 0)]) / 2
}

// together is what independent errors come to.
func together(errors ...time.Duration) time.Duration {
	var squares float64
	for _, e := range errors {
		squares += float64(e) * float64(e)
	}
	return time.Duration(math.Sqrt(squares))
}

func middle(sorted []time.Duration) time.Duration { return sorted[len(sorted)/2] }

// PeerMean is the mean of etcd's own probes from one member to another, as its metric
// etcd_network_peer_round_trip_time_seconds has it.
type PeerMean struct {
	From, To string
	Mean     time.Duration
	Samples  int
}

// The factors by which that mean is more than a round trip: of two probes one makes a
// connection anew (rules §1.3).
const (
	plainFactor  = 1.5
	secureFactor = 2.0
	leastFactor  = 1.5
	mostFactor   = 4.0
	fewestProbes = 4
)

// FromMetrics corrects etcd's own probes: by the median of what they are too long for the
// pairs that were measured, else by what their protocol makes of a round trip. They are
// of all the time since etcd started, rather too long, and no p99 (etcd-io/etcd#17837).
func FromMetrics(means []PeerMean, secure bool, measured []RTT) []RTT {
	factor, how := probeFactor(means, secure, measured)
	var rtts []RTT
	for _, m := range means {
		rtt := RTT{From: m.From, To: m.To, Method: MethodMetric, Samples: m.Samples, P99: Unknown[time.Duration]("etcd's probes are averaged")}
		if m.Samples < fewestProbes {
			rtt.P50 = Unknown[time.Duration](fmt.Sprintf("etcd has probed %d times since it started", m.Samples))
		} else {
			rtt.P50 = Known(time.Duration(float64(m.Mean) / factor))
			rtt.Confidence = fmt.Sprintf("mean of its probes since it started %s, divided by %.1f (%s)", say(m.Mean), factor, how)
		}
		rtts = append(rtts, rtt)
	}
	return rtts
}

func probeFactor(means []PeerMean, secure bool, measured []RTT) (factor float64, how string) {
	var ratios []float64
	for _, m := range means {
		for _, r := range measured {
			known := r.Method != MethodMetric && r.unfit() == "" && *r.P50.Value >= leastNoise
			if known && m.Samples >= fewestProbes && pairOf(r.From, r.To) == pairOf(m.From, m.To) {
				ratios = append(ratios, float64(m.Mean)/float64(*r.P50.Value))
			}
		}
	}
	if len(ratios) > 0 {
		slices.Sort(ratios)
		return min(max(ratios[len(ratios)/2], leastFactor), mostFactor), "as against what was measured"
	}
	if secure {
		return secureFactor, "TLS"
	}
	return plainFactor, "no TLS"
}

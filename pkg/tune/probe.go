package tune

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

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
	rtt := RTT{From: leader.Member, To: follower.Member, Method: MethodReadIndex, P99: Unknown[time.Duration]("reads tell no more than the median")}
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
	noise := leader.noise() + follower.noise()
	rtt.Confidence = fmt.Sprintf("±%s", say(noise))
	if noise > max(estimate*15/100, readNoise) {
		rtt.Unreliable = true
		rtt.Confidence += ": not to be relied upon, the reads themselves vary as much"
	}
	rtt.P50 = Known(estimate)
	return rtt
}

// readNoise is below what a difference of reads says nothing (15 % or 2 ms, whichever is
// larger, is what is promised).
const readNoise = 2 * time.Millisecond

// consensus is what a linearizable read takes over one that the member answers itself.
func (r Reads) consensus() time.Duration { return middle(r.Linearizable) - middle(r.Serializable) }

// noise is how far the median may be off: the quartiles' distance over the root of the
// number of reads (a median's standard error is 1.25 of a mean's, the distance 1.35 of a
// deviation).
func (r Reads) noise() time.Duration {
	return spread(r.Linearizable) + spread(r.Serializable)
}

func spread(sorted []time.Duration) time.Duration {
	n := len(sorted)
	if n < 4 {
		return sorted[n-1] - sorted[0]
	}
	distance := sorted[n*3/4] - sorted[n/4]
	root := 1
	for root*root < n {
		root++
	}
	return distance / time.Duration(root)
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
// pairs that reads measured, else by what their protocol makes of a round trip. They are an
// upper bound, and no p99 (etcd-io/etcd#17837).
func FromMetrics(means []PeerMean, secure bool, measured []RTT) []RTT {
	factor, how := probeFactor(means, secure, measured)
	var rtts []RTT
	for _, m := range means {
		rtt := RTT{From: m.From, To: m.To, Method: MethodMetric, Samples: m.Samples, P99: Unknown[time.Duration]("etcd's probes are averaged")}
		if m.Samples < fewestProbes {
			rtt.P50 = Unknown[time.Duration](fmt.Sprintf("etcd has probed %d times since it started", m.Samples))
		} else {
			rtt.P50 = Known(time.Duration(float64(m.Mean) / factor))
			rtt.Confidence = fmt.Sprintf("at most: mean of probes %s, by %.1f (%s)", say(m.Mean), factor, how)
		}
		rtts = append(rtts, rtt)
	}
	return rtts
}

func probeFactor(means []PeerMean, secure bool, measured []RTT) (factor float64, how string) {
	var ratios []float64
	for _, m := range means {
		for _, r := range measured {
			known := r.Method == MethodReadIndex && r.unfit() == "" && *r.P50.Value >= readNoise
			if known && m.Samples >= fewestProbes && pairOf(r.From, r.To) == pairOf(m.From, m.To) {
				ratios = append(ratios, float64(m.Mean)/float64(*r.P50.Value))
			}
		}
	}
	if len(ratios) > 0 {
		slices.Sort(ratios)
		return min(max(ratios[len(ratios)/2], leastFactor), mostFactor), "as against reads"
	}
	if secure {
		return secureFactor, "TLS"
	}
	return plainFactor, "no TLS"
}

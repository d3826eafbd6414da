package tune

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// enoughSamples is from how many on a p50 is believed (rules §0, measured against injected delays).
const enoughSamples = 30

// pair is two members' names in order.
type pair struct{ a, b string }

func pairOf(a, b string) pair {
	if a > b {
		a, b = b, a
	}
	return pair{a, b}
}

func (p pair) String() string { return p.a + " to " + p.b }

// network is the round trip that counts of each pair of voters.
type network struct {
	pairs    map[pair]Fact[time.Duration]
	longest  Fact[time.Duration]
	farthest string        // the pair with the longest
	probed   bool          // which etcd's own probes alone tell
	sure     time.Duration // the longest that something else tells
	unknown  []string      // pairs that could not be measured, and why
	notes    []string
}

// newNetwork chooses among what was measured. Members that are no voters, or are gone, don't count.
func newNetwork(f Facts) network {
	n := network{pairs: map[pair]Fact[time.Duration]{}}
	voters := f.voters()
	if len(voters) == 1 {
		n.longest = Known(time.Duration(0)) // it waits for nobody
	}
	for i, a := range voters {
		for _, b := range voters[i+1:] {
			n.add(pairOf(a.Name, b.Name), f.RTTs)
		}
	}
	if n.longest.Value == nil {
		n.longest.Missing = "no round trip between voters is known"
		if len(n.unknown) > 0 {
			n.longest.Missing = n.unknown[0]
		}
	}
	return n
}

func (n *network) add(p pair, all []RTT) {
	found := map[Method]time.Duration{}
	missing := "nobody measured it"
	for _, r := range all {
		if pairOf(r.From, r.To) != p {
			continue
		}
		if why := r.unfit(); why != "" {
			missing = why
			continue
		}
		was, seen := found[r.Method]
		if found[r.Method] = max(was, *r.P50.Value); seen && r.Method == MethodMetric {
			found[r.Method] = min(was, *r.P50.Value) // both are too long, by what happened to that direction's connections
		}
	}
	rtt, method := n.choose(p, found)
	if rtt.Value == nil {
		rtt.Missing = missing
		n.unknown = append(n.unknown, fmt.Sprintf("%s: %s", p, missing))
	} else if n.longest.Value == nil || *rtt.Value > *n.longest.Value {
		n.longest, n.farthest, n.probed = rtt, p.String(), method == MethodMetric
	}
	if rtt.Value != nil && method != MethodMetric {
		n.sure = max(n.sure, *rtt.Value)
	}
	n.pairs[p] = rtt
}

// unfit tells why a measurement can't be used; empty: it can.
func (r RTT) unfit() string {
	probed := r.Method == MethodConnect || r.Method == MethodReadIndex
	switch {
	case r.P50.Value == nil:
		return r.P50.why()
	case probed && r.Samples < enoughSamples:
		return fmt.Sprintf("%d samples by %s, %d are needed", r.Samples, r.Method, enoughSamples)
	case r.Unreliable:
		return fmt.Sprintf("what %s measured varies as much as it comes to", r.Method)
	}
	return ""
}

// choose takes the best method. Reads that take half as long again as connects are worth a
// note: the line is not what they wait for.
func (n *network) choose(p pair, found map[Method]time.Duration) (Fact[time.Duration], Method) {
	connect, connected := found[MethodConnect]
	read, asked := found[MethodReadIndex]
	if connected && asked && read > connect+leastNoise && 2*read > 3*connect {
		n.notes = append(n.notes, fmt.Sprintf("round trip %s: %s by connects, %s by reads, which wait for more than the line: a busy etcd, a slow disk", p, say(connect), say(read)))
	}
	for _, method := range methods {
		if rtt, ok := found[method]; ok {
			return Known(rtt), method
		}
	}
	return Fact[time.Duration]{}, ""
}

// Best keeps of each two members what the best method measured, in each direction that it
// did; where none did, the first that tells why.
func Best(all []RTT) []RTT {
	best := map[pair]Method{}
	for _, method := range methods {
		for _, r := range all {
			p := pairOf(r.From, r.To)
			if _, found := best[p]; !found && r.Method == method && r.unfit() == "" {
				best[p] = method
			}
		}
	}
	var kept []RTT
	told := map[pair]bool{}
	for _, r := range all {
		p := pairOf(r.From, r.To)
		method, found := best[p]
		if found && r.Method == method && r.P50.Value != nil || !found && !told[p] {
			kept = append(kept, r)
		}
		told[p] = true
	}
	return kept
}

// between is the round trip of two voters.
func (n network) between(a, b string) Fact[time.Duration] { return n.pairs[pairOf(a, b)] }

// slowestFsync is the longest p99 of voters, and why it may be more than that.
func slowestFsync(f Facts) (longest Fact[time.Duration], unknown []string) {
	names := map[string][]string{} // by reason
	for _, m := range f.voters() {
		why := m.Fsync.why()
		switch {
		case m.Fsync.Value == nil:
			names[why] = append(names[why], m.Name)
		case longest.Value == nil || *m.Fsync.Value > *longest.Value:
			longest = m.Fsync
		}
	}
	for _, why := range slices.Sorted(maps.Keys(names)) {
		unknown = append(unknown, fmt.Sprintf("fsync of %s: %s", strings.Join(names[why], ", "), why))
	}
	if longest.Value == nil {
		longest.Missing = "no voter is known"
		if len(unknown) > 0 {
			longest.Missing = unknown[0]
		}
	}
	return longest, unknown
}

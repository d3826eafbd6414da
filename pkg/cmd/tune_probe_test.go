package cmd

import (
	"fmt"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/health"
)

// TestConnects: every ordered pair from each member with a relay, under the members' own
// names; one without a relay, and one that can't be reached, hide nothing.
func TestConnects(t *testing.T) {
	facts := &health.Facts{}
	r := &reach{probes: []peerProbe{(&fakeRelay{}).Connects, nil, (&fakeRelay{}).Connects}}
	for i, host := range []string{"10.0.0.10", "10.0.0.11", "10.0.0.19"} {
		name := fmt.Sprintf("node%d", i)
		r.sources = append(r.sources, etcd.Source{Name: "etcd-" + name})
		// The overview has an order of its own.
		facts.Members = append([]health.Member{{View: etcd.MemberView{
			Name: name, Source: "etcd-" + name, Member: &etcd.Member{ID: etcd.ID(i + 1), PeerURLs: []string{"https://" + host + ":2380"}},
		}}}, facts.Members...)
	}
	facts.Members = append(facts.Members, health.Member{View: etcd.MemberView{Name: "stray"}}) // no member
	got := map[string]string{}
	for _, rtt := range (&tuneOptions{}).connects(t.Context(), r, facts) {
		text := rtt.P50.Missing
		if rtt.P50.Value != nil {
			text = fmt.Sprint(*rtt.P50.Value, " ", *rtt.P99.Value, " ", rtt.Samples)
		}
		got[rtt.From+" to "+rtt.To] = text
	}
	want := map[string]string{
		"node0 to node1": "2ms 2ms 100", "node0 to node2": "the relay can't reach the member",
		"node2 to node0": "1ms 1ms 100", "node2 to node1": "2ms 2ms 100",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

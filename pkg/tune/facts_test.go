package tune

import (
	"fmt"
	"testing"
	"time"
)

const ms = time.Millisecond

// kubeadmFacts are a healthy kubeadm control plane's: n members on etcd 3.7 with everything
// measured, the same round trip between any two and the same disks. m1 leads.
func kubeadmFacts(n int, rtt, fsync time.Duration) Facts {
	f := Facts{Kubernetes: Known(true), Compaction: Known(5 * time.Minute)}
	for i := range n {
		name := fmt.Sprintf("m%d", i+1)
		for _, other := range f.Members {
			f.RTTs = append(f.RTTs, RTT{From: other.Name, To: name, P50: Known(rtt), Samples: 30, Method: MethodConnect})
		}
		f.Members = append(f.Members, Member{
			Name: name, Node: "node" + name[1:], Leader: i == 0, Version: "3.7.3",
			Fsync: Known(fsync), Commit: Known(fsync), DBSize: Known(int64(100 << 20)),
			Settings: Settings{
				"snapshot-count":      {"10000", FromFlag},
				"feature-gates":       {"InitialCorruptCheck=true,CompactHashCheck=true", FromFlag},
				"listen-metrics-urls": {"http://127.0.0.1:2381", FromFlag},
			},
		})
	}
	return f
}

// set gives members, by index, a flag.
func (f Facts) set(flag, value string, members ...int) Facts {
	if members == nil {
		for i := range f.Members {
			members = append(members, i)
		}
	}
	for _, i := range members {
		f.Members[i].Settings[flag] = Setting{value, FromFlag}
	}
	return f
}

func (f Facts) timing(heartbeat, election string, members ...int) Facts {
	return f.set("heartbeat-interval", heartbeat, members...).set("election-timeout", election, members...)
}

func itemOf(t *testing.T, a Advice, flag string) Item {
	t.Helper()
	for _, item := range a.Items {
		if item.Flag == flag {
			return item
		}
	}
	t.Fatalf("there is no item of %s", flag)
	return Item{}
}

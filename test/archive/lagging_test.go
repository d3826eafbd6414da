package archive

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
)

// TestLaggingFollower: the member that streams a base lags behind. It is asked itself how far
// etcd is, so that it either does not answer, and nothing is streamed, or has caught up first.
func TestLaggingFollower(t *testing.T) {
	cluster := etcdtest.Start(t, 3, etcdtest.Options{Plain: true, Configure: func(c *embed.Config) {
		c.ElectionMs = 30_000 // the follower is to know a leader all the time
	}})
	follower := cluster.Members[cluster.Follower()]
	var clients []*etcd.Client // the follower's is the last: changes come from others
	for i, member := range cluster.Members {
		if member != follower {
			clients = append(clients, cluster.Open(i))
		}
	}
	leader := cluster.Open(cluster.Leader())
	clients = append(clients, cluster.OpenWith(follower.Endpoint(), cluster.ClientOptions()))
	a := newArchived(t, t.TempDir())
	w := truth{}
	f := a.follow(clients, nil)
	f.base()
	f.reached(w.puts(t, leader, 5))

	follower.Isolate()
	f.reached(w.puts(t, leader, 5))
	notice, err := a.baseThrough(clients, "m2", time.Second)
	if err == nil || !strings.Contains(err.Error(), "read through the member") {
		t.Errorf("a base through a follower that is cut off: %+v, %v; want that it can't be read through", notice, err)
	}
	if _, list := a.timelines(); len(list) != 1 || len(list[0].Bases) != 1 || len(list[0].Uncommitted) > 0 {
		t.Errorf("it left something: %+v", list)
	}

	last := w.puts(t, leader, 5)
	time.AfterFunc(time.Second, follower.Rejoin)
	notice, err = a.baseThrough(clients, "m2", 20*time.Second)
	if err != nil {
		t.Fatalf("a base through a follower that catches up: %v", err)
	}
	if n, l := int64(notice.Mark.Revision), int64(notice.Info.Last); n < last || l < n {
		t.Errorf("the base of revision %d ends at %d, and etcd was at %d before", n, l, last)
	}
	f.reached(w.puts(t, leader, 5))
	f.stop()
	a.want(w)
}

// baseThrough takes a base from one member alone.
func (a *archived) baseThrough(clients []*etcd.Client, member string, timeout time.Duration) (*backup.BaseNotice, error) {
	a.t.Helper()
	return backup.TakeBase(a.t.Context(), backup.ArchiveOptions{
		Archive: a.writer(), Sources: sourcesOf(clients), Every: 1, ScratchDir: a.t.TempDir(), Inspect: inspect, Random: rand.Uint32,
		Snapshot: backup.Options{From: member, Timeout: timeout},
	})
}

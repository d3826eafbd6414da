package archive

import (
	"math/rand/v2"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

// TestBasesAlone: bases that are taken one by one, as by a CronJob, share a timeline also when
// etcd was compacted in between; after changes were followed, such a gap is told.
func TestBasesAlone(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
	client := cluster.Clients()[0]
	a := newArchived(t, t.TempDir())
	w := truth{}
	take := func() store.TimelineID {
		t.Helper()
		notice, err := backup.TakeBase(t.Context(), backup.ArchiveOptions{
			Archive: a.writer(), Sources: sourcesOf(cluster.Clients()), Every: 1, ScratchDir: t.TempDir(), Inspect: inspect, Random: rand.Uint32,
			Rate: 10 << 20,
		})
		if err != nil {
			t.Fatal(err)
		}
		return notice.Timeline
	}
	compact := func(at int64) {
		t.Helper()
		if _, err := client.Raw().Compact(t.Context(), at, clientv3.WithCompactPhysical()); err != nil {
			t.Fatal(err)
		}
	}
	w.puts(t, client, 3)
	first := take()
	for range 2 {
		compact(truth{}.puts(t, client, 5))
		w.puts(t, client, 1)
		if next := take(); next != first {
			t.Errorf("a base alone opened the timeline %s", next)
		}
	}
	a.wantSome(w)
	f := a.follow(cluster.Clients(), nil)
	f.reached(w.puts(t, client, 2))
	f.stop()
	compact(truth{}.puts(t, client, 5))
	if next := take(); next == first {
		t.Error("a gap behind changes that were followed is not told")
	}
	_, list := a.timelines()
	if len(list) != 2 || list[1].Timeline.Reason != store.Gap {
		t.Errorf("timelines %+v, want a gap", list)
	}
}

// wantSome restores what the only timeline has of the moments; none may be wrong.
func (a *archived) wantSome(w truth) {
	a.t.Helper()
	archive, list := a.timelines()
	restored := 0
	for revision, hash := range w {
		if restoreOne(a.t, archive, list[0], revision, hash) == nil {
			restored++
		}
	}
	if restored < len(list[0].Bases) {
		a.t.Errorf("%d moments can be restored, of %d bases", restored, len(list[0].Bases))
	}
}

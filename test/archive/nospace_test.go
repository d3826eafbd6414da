package archive

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
)

// TestNoSpace: etcd reaches its quota while it is followed, and takes no puts any more. Changes
// and bases go on; what is restored has the alarm, unless it is cleared.
func TestNoSpace(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{Plain: true, Quota: 4 << 20})
	client := cluster.Clients()[0]
	a := newArchived(t, t.TempDir())
	w := truth{}
	f := a.follow(cluster.Clients(), func(o *backup.ArchiveOptions) { o.Every = time.Second })
	f.base()
	w.puts(t, client, 3)
	fill(t, client)
	w.note(t, client)
	if _, err := client.Raw().Delete(t.Context(), "big0"); err != nil { // what makes room is allowed
		t.Fatal(err)
	}
	last := w.note(t, client)
	f.reached(last)
	var before int
	f.until("a count", func() bool { before = f.bases; return true })
	f.until("bases of a full etcd", func() bool { return f.bases >= before+2 }) // one was under way
	f.stop()
	a.want(w)

	for _, clear := range []bool{false, true} {
		dir := a.dataDir(t, last, clear)
		restored := etcdtest.Start(t, 1, etcdtest.Options{Plain: true, Configure: func(c *embed.Config) { c.Dir = dir }}).Open(0)
		_, err := restored.Raw().Put(t.Context(), "k", "v")
		if full := errors.Is(err, rpctypes.ErrNoSpace); full == clear || err != nil && !full {
			t.Errorf("with alarms cleared: %t: a put ends with %v", clear, err)
		}
		if got, err := restored.Raw().Get(t.Context(), "big", clientv3.WithPrefix(), clientv3.WithCountOnly()); err != nil || got.Count < 10 {
			t.Errorf("with alarms cleared: %t: %+v, %v", clear, got, err)
		}
	}
}

// fill writes until etcd says that its quota is reached.
func fill(t *testing.T, client *etcd.Client) {
	t.Helper()
	for i := range 200 {
		_, err := client.Raw().Put(t.Context(), fmt.Sprintf("big%d", i), noise(64<<10))
		if errors.Is(err, rpctypes.ErrNoSpace) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("etcd does not get full")
}

// dataDir restores a moment to a member's data directory.
func (a *archived) dataDir(t *testing.T, revision int64, clearAlarms bool) string {
	t.Helper()
	archive, list := a.timelines()
	file, _, err := makeMoment(t, archive, list[0], revision)
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := restore.OpenFile(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	if len(snapshot.Alarms) != 1 || snapshot.Alarms[0].Type != "NOSPACE" {
		t.Errorf("the moment has the alarms %v", snapshot.Alarms)
	}
	plan, err := restore.NewPlan(snapshot, restore.Options{
		Members: []restore.Target{{Name: "a", PeerURLs: []string{"http://127.0.0.1:2380"}}},
		OutDir:  filepath.Join(t.TempDir(), "out"), ClearAlarms: clearAlarms,
	})
	if err != nil {
		t.Fatal(err)
	}
	report, err := restore.Run(t.Context(), plan, nil)
	if err != nil {
		t.Fatal(err)
	}
	return report.Built[0].Dir
}

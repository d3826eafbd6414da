package archive

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
	"github.com/kubectl-etcd/kubectl-etcd/test/s3"
)

// TestOutage writes as fast as etcd takes it for $WRITE (6s), while the store answers nothing
// for $OUTAGE of that (3s). The memory of the writer, which is a process of its own, stays
// small whatever waits for the store, and nothing is missing.
func TestOutage(t *testing.T) {
	write, outage := duration(t, "WRITE", 6*time.Second), duration(t, "OUTAGE", 3*time.Second)
	cluster := etcdtest.Start(t, 1, etcdtest.Options{Plain: true, Quota: 8 << 30})
	client := cluster.Clients()[0]
	server := s3.Start(t)
	server.Login(t)
	proxy := server.Faulty(t)
	a := newArchived(t, proxy.URL("archive"))
	w := truth{}
	etcdtest.Put(t, client.Raw(), "first", "v")
	c, out := a.spawn(cluster.Members[0].ClientURL, t.TempDir(), 10*time.Second)
	a.reaches(t, w.puts(t, client, 1), time.Minute)

	ctx, cancel := context.WithTimeout(t.Context(), write)
	defer cancel()
	var puts, peak atomic.Int64
	var working sync.WaitGroup
	for range 16 {
		working.Go(func() {
			for ctx.Err() == nil {
				if _, err := client.Raw().Put(ctx, "k", noise(4<<10)); err == nil {
					puts.Add(1)
				}
			}
		})
	}
	working.Go(func() {
		for ; ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
			peak.Store(max(peak.Load(), anonymous(c.Process.Pid)))
		}
	})
	time.Sleep((write - outage) / 2)
	before := puts.Load()
	proxy.Hang()
	time.Sleep(outage)
	waited := (puts.Load() - before) * 4 << 10
	proxy.Heal()
	working.Wait()
	a.reaches(t, w.note(t, client), 2*time.Minute+outage)
	t.Logf("%d puts in %s, %d MB of them while the store was away for %s; the writer's anonymous memory was at most %d MB",
		puts.Load(), write, waited/1e6, outage, peak.Load()/1e6)
	if limit := int64(300e6); peak.Load() > limit || peak.Load() == 0 { // the race detector's own is in it
		t.Errorf("%d MB of memory, want at most %d", peak.Load()/1e6, limit/1e6)
	}
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Errorf("the writer ended with %v: %s", err, out)
	}
	a.want(w)
}

// reaches waits until a revision is in the archive.
func (a *archived) reaches(t *testing.T, revision int64, limit time.Duration) {
	t.Helper()
	for until := time.Now().Add(limit); ; time.Sleep(200 * time.Millisecond) {
		_, list := a.timelines()
		if len(list) == 1 && len(list[0].Bases) > 0 {
			if last, _ := list[0].Latest(); int64(last) >= revision {
				return
			}
		}
		if time.Now().After(until) {
			t.Fatalf("revision %d did not come into the archive in %s", revision, limit)
		}
	}
}

// anonymous is a process's anonymous memory in bytes.
func anonymous(pid int) (bytes int64) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(b), "RssAnon:")
	if _, err := fmt.Sscan(after, &bytes); err != nil {
		return 0
	}
	return bytes << 10
}

func duration(t *testing.T, name string, without time.Duration) time.Duration {
	text := os.Getenv(name)
	if text == "" {
		return without
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("%s=%s: %v", name, text, err)
	}
	return d
}

package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
	"github.com/kubectl-etcd/kubectl-etcd/test/s3"
)

// TestStoreFaults: whatever the store does, the writer goes on, and nothing is missing.
func TestStoreFaults(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
	client := cluster.Clients()[0]
	server := s3.Start(t)
	server.Login(t)
	proxy := server.Faulty(t)
	a := newArchived(t, proxy.URL("archive"))
	w := truth{}
	f := a.follow(cluster.Clients(), nil)
	f.base()
	f.reached(w.puts(t, client, 5))
	for name, fault := range map[string]func(){
		"500": func() { proxy.Refuse(500) }, "403": func() { proxy.Refuse(403) },
		"hangs": proxy.Hang, "cuts": func() { proxy.Cut(200) }, "is slow": func() { proxy.Delay(300 * time.Millisecond) },
	} {
		fault()
		last := w.puts(t, client, 5)
		time.Sleep(500 * time.Millisecond)
		last = max(last, w.puts(t, client, 5))
		proxy.Heal()
		f.reached(last)
		t.Logf("a store that %s: up to revision %d is there", name, last)
	}
	f.stop()
	a.want(w)
}

// TestSpoolFull: a store that takes nothing ends the writer before memory or disk do.
func TestSpoolFull(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
	client := cluster.Clients()[0]
	server := s3.Start(t)
	server.Login(t)
	proxy := server.Faulty(t)
	a := newArchived(t, proxy.URL("archive"))
	f := a.follow(cluster.Clients(), func(o *backup.ArchiveOptions) { o.SpoolMax = 64 << 10 })
	f.base()
	proxy.Refuse(500)
	for range 40 {
		etcdtest.Put(t, client.Raw(), "k", noise(16<<10))
		time.Sleep(5 * time.Millisecond)
	}
	select {
	case err := <-f.ended:
		if !errors.Is(err, backup.ErrSpoolFull) {
			t.Errorf("the writer ended with %v, want ErrSpoolFull", err)
		}
	case <-time.After(90 * time.Second):
		t.Fatal("the writer goes on")
	}
}

func noise(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return string(b)
}

// TestDiskFull: the scratch's disk is full; no base comes, the error says why, changes go on.
func TestDiskFull(t *testing.T) {
	small := t.TempDir()
	mount(t, small, "1m")
	cluster := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
	client := cluster.Clients()[0]
	for i := range 40 {
		etcdtest.Put(t, client.Raw(), fmt.Sprintf("big%d", i), noise(64<<10))
	}
	a := newArchived(t, t.TempDir())
	f := a.follow(cluster.Clients(), func(o *backup.ArchiveOptions) { o.ScratchDir = small })
	f.until("the error", func() bool {
		return strings.Contains(fmt.Sprint(errors.Join(f.errs...)), "no space left on device")
	})
	f.reached(truth{}.puts(t, client, 3))
	f.cancel()
	if err := <-f.ended; err == nil {
		t.Error("a writer that was stopped ended without an error")
	}
	if left, _ := os.ReadDir(small); len(left) > 0 {
		t.Errorf("left in the scratch folder: %v", left)
	}
	_, list := a.timelines()
	if len(list) != 1 || len(list[0].Bases) != 0 {
		t.Errorf("there is a base that could not be read back: %+v", list)
	}
}

func mount(t *testing.T, dir, size string) {
	t.Helper()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir).CombinedOutput(); err != nil {
		t.Fatalf("mount a small disk: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("unmount: %v: %s", err, out)
		}
	})
}

// TestKilledWriter kills a writer at random points, fifty times: what is in the archive is
// sound each time, and in the end nothing is missing.
func TestKilledWriter(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
	client := cluster.Clients()[0]
	a := newArchived(t, t.TempDir())
	scratch := t.TempDir()
	w := truth{}
	w.puts(t, client, 3)
	for range 50 {
		c, out := a.spawn(cluster.Members[0].ClientURL, scratch, 300*time.Millisecond)
		until := time.Now().Add(time.Duration(50+rand.IntN(500)) * time.Millisecond)
		for time.Now().Before(until) {
			w.puts(t, client, 1)
		}
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if _ = c.Wait(); c.ProcessState.Exited() {
			t.Fatalf("the writer had ended by itself: %s", out.String())
		}
	}
	// On a slow machine none of them came to a base, and the next is held off for up to Every.
	f := a.follow(cluster.Clients(), func(o *backup.ArchiveOptions) { o.Every = time.Second })
	f.base()
	f.reached(w.puts(t, client, 3))
	f.stop()
	for _, left := range files(t, scratch) { // a kill may come before a file has lost its name
		if info, err := os.Stat(left); err != nil || info.Size() > 0 {
			t.Errorf("left in the scratch folder: %s, %v", left, err)
		}
	}
	_, list := a.timelines()
	first := int64(0)
	for _, c := range list {
		for _, span := range c.Spans() {
			if first == 0 {
				first = int64(span.First)
			}
		}
	}
	some := truth{} // each takes a while
	for revision, hash := range w {
		if revision >= first && len(some) < 40 {
			some[revision] = hash
		}
	}
	a.want(some)
}

// TestTwoWriters: they write the same timeline side by side, and what both have is the same.
func TestTwoWriters(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
	client := cluster.Clients()[0]
	a := newArchived(t, t.TempDir())
	w := truth{}
	one := a.follow(cluster.Clients(), nil)
	one.base()
	one.reached(w.puts(t, client, 3))
	two := a.follow(cluster.Clients(), func(o *backup.ArchiveOptions) { o.Flush = 170 * time.Millisecond })
	for range 5 {
		last := w.puts(t, client, 7)
		one.reached(last)
		two.reached(last)
	}
	one.stop()
	last := w.puts(t, client, 3)
	two.reached(last)
	two.stop()
	a.want(w)
}

// TestFork: the cluster was put back behind the writer's back. Another timeline begins, and
// the first one keeps what it had.
func TestFork(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
	client := cluster.Clients()[0]
	a := newArchived(t, t.TempDir())
	w := truth{}
	f := a.follow(cluster.Clients(), nil)
	f.base()
	w.puts(t, client, 5)
	member := cluster.Members[0]
	member.Stop()
	old := filepath.Join(t.TempDir(), "old")
	if err := os.CopyFS(old, os.DirFS(member.Dir)); err != nil {
		t.Fatal(err)
	}
	member.Start()
	serves(t, client)
	f.reached(w.puts(t, client, 6))
	member.Stop()
	if err := os.RemoveAll(member.Dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(member.Dir, os.DirFS(old)); err != nil {
		t.Fatal(err)
	}
	member.Start()
	serves(t, client)
	after := truth{}
	etcdtest.Put(t, client.Raw(), "another", "history")
	for range 12 { // past the revision that was captured last
		after.puts(t, client, 1)
	}
	f.until("another timeline", func() bool { return len(f.opened) > 1 })
	last := after.puts(t, client, 2)
	f.reached(last)
	f.until("its base", func() bool { return f.bases > 1 })
	f.stop()
	archive, list := a.timelines()
	if len(list) != 2 || list[1].Timeline.Reason != store.Fork || list[1].Timeline.Parent != list[0].Timeline.ID {
		t.Fatalf("timelines %+v, want a fork of the first", list)
	}
	for revision, hash := range w {
		if err := restoreOne(t, archive, list[0], revision, hash); err != nil {
			t.Errorf("the first history's revision %d: %v", revision, err)
		}
	}
	if err := restoreOne(t, archive, list[1], last, after[last]); err != nil {
		t.Errorf("the second history's revision %d: %v", last, err)
	}
}

// serves waits until a member that was started again answers.
func serves(t *testing.T, client *etcd.Client) {
	t.Helper()
	for until := time.Now().Add(20 * time.Second); client.Health(t.Context()) != nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("the member does not serve again")
		}
	}
}

// TestCompactedMeanwhile: nobody followed while etcd was compacted past the archive's end. A
// new timeline begins, and names the gap.
func TestCompactedMeanwhile(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
	client := cluster.Clients()[0]
	a := newArchived(t, t.TempDir())
	w := truth{}
	f := a.follow(cluster.Clients(), nil)
	f.base()
	end := w.puts(t, client, 5)
	f.reached(end)
	f.stop()
	head := truth{}.puts(t, client, 10)
	if _, err := client.Raw().Compact(t.Context(), head-2, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	f = a.follow(cluster.Clients(), nil)
	f.base()
	last := w.puts(t, client, 3)
	f.reached(last)
	f.stop()
	archive, list := a.timelines()
	if len(list) != 2 || list[1].Timeline.Reason != store.Gap || list[1].Timeline.After != segment.Revision(end) {
		t.Fatalf("timelines %+v, want a gap after revision %d", list, end)
	}
	if err := restoreOne(t, archive, list[1], last, w[last]); err != nil {
		t.Error(err)
	}
	if err := restoreOne(t, archive, list[0], end, w[end]); err != nil {
		t.Error(err)
	}
}

// TestClockSetBack: what was captured after the clock was set back by an hour is whole, and in
// order.
func TestClockSetBack(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
	client := cluster.Clients()[0]
	a := newArchived(t, t.TempDir())
	w := truth{}
	var back atomic.Int64
	clock := func(o *backup.ArchiveOptions) {
		o.Now = func() time.Time { return time.Now().Add(-time.Duration(back.Load())) }
	}
	f := a.follow(cluster.Clients(), clock)
	f.base()
	f.reached(w.puts(t, client, 5))
	back.Store(int64(time.Hour))
	f.reached(w.puts(t, client, 5))
	f.stop()
	f = a.follow(cluster.Clients(), clock) // and a writer that begins in the past
	f.reached(w.puts(t, client, 5))
	f.stop()
	a.want(w)
}

// TestFarBehind: so far behind that a watch would harm etcd, a base goes before, and nothing
// is missing.
func TestFarBehind(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
	client := cluster.Clients()[0]
	a := newArchived(t, t.TempDir())
	w := truth{}
	f := a.follow(cluster.Clients(), nil)
	f.base()
	f.reached(w.puts(t, client, 5))
	f.stop()
	for i := range 10_100 {
		if _, err := client.Raw().Put(t.Context(), "busy", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	w.puts(t, client, 1)
	f = a.follow(cluster.Clients(), nil)
	f.base()
	f.reached(w.puts(t, client, 3))
	f.stop()
	if len(f.opened) > 0 {
		t.Errorf("opened %+v, and the base shows that the history is the same", f.opened)
	}
	a.want(w)
}

// small is an archive with a base and a few segments.
func small(t *testing.T) (*archived, truth) {
	t.Helper()
	cluster := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
	client := cluster.Clients()[0]
	a := newArchived(t, t.TempDir())
	w := truth{}
	f := a.follow(cluster.Clients(), nil)
	f.base()
	for range 3 {
		f.reached(w.puts(t, client, 2))
	}
	f.stop()
	return a, w
}

// files are an archive's objects.
func files(t *testing.T, dir string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// TestEveryByteFlipped: each is found out, or does no harm; never is anything wrong restored.
func TestEveryByteFlipped(t *testing.T) {
	a, w := small(t)
	var last int64
	for revision := range w {
		last = max(last, revision)
	}
	flips, found := 0, 0
	for _, path := range files(t, a.location) {
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		step := max(1, len(whole)/200) // all of what is small; of a base some
		for i := 0; i < len(whole); i += step {
			flipped := bytes.Clone(whole)
			flipped[i] ^= 1 << (i % 8)
			write(t, path, flipped)
			flips++
			if err := a.tryRestore(last, w[last]); err != nil {
				found++
				if errors.Is(err, errWrong) {
					t.Errorf("byte %d of %s: %v", i, filepath.Base(path), err)
				}
			}
		}
		write(t, path, whole)
	}
	t.Logf("%d bytes flipped, %d found out", flips, found)
	if found < flips*9/10 {
		t.Errorf("only %d of %d flips were found out", found, flips)
	}
	a.want(w)
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// tryRestore restores the moment out of whatever timeline has it.
func (a *archived) tryRestore(revision int64, hash segment.Hash) error {
	archive := a.reader()
	timelines, err := archive.Timelines(a.t.Context())
	if err != nil {
		return err
	}
	if len(timelines) == 0 {
		return store.ErrNotFound
	}
	c, err := archive.Contents(a.t.Context(), timelines[0])
	if err != nil {
		return err
	}
	return restoreOne(a.t, archive, c, revision, hash)
}

// TestObjectRemoved: without any one object every moment is restored right, or refused.
func TestObjectRemoved(t *testing.T) {
	a, w := small(t)
	for _, path := range files(t, a.location) {
		whole, err := os.ReadFile(path)
		if err == nil {
			err = os.Remove(path)
		}
		if err != nil {
			t.Fatal(err)
		}
		refused := 0
		for revision, hash := range w {
			err := a.tryRestore(revision, hash)
			if errors.Is(err, errWrong) {
				t.Errorf("without %s: %v", filepath.Base(path), err)
			}
			if err != nil {
				refused++
			}
		}
		if strings.Contains(path, "seg-") && refused == 0 || strings.Contains(path, "base-") && refused != len(w) {
			t.Errorf("without %s %d of %d moments were refused", filepath.Base(path), refused, len(w))
		}
		write(t, path, whole)
	}
	a.want(w)
}

// TestSealed: without the right identity nothing opens, and it is said so.
func TestSealed(t *testing.T) {
	a, w := small(t)
	for revision, hash := range w {
		stranger := newArchived(t, a.location)
		if err := stranger.tryRestore(revision, hash); !errors.Is(err, store.ErrSealed) {
			t.Errorf("another identity: %v, want ErrSealed", err)
		}
		break
	}
}

// TestNothingPlain: a Secret that is put while it is captured stands nowhere on the disk but
// in etcd's own files.
func TestNothingPlain(t *testing.T) {
	const secret = "plaintext-that-must-not-be-found"
	cluster := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
	client := cluster.Clients()[0]
	a := newArchived(t, t.TempDir())
	scratch := t.TempDir()
	mount(t, scratch, "64m")
	etcdtest.Put(t, client.Raw(), "before", secret)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := make(chan int)
	go func() { // what is open without a name, too
		n := 0
		for ctx.Err() == nil {
			n += grepOpen(t, scratch, secret)
			time.Sleep(2 * time.Millisecond)
		}
		seen <- n
	}()
	f := a.follow(cluster.Clients(), func(o *backup.ArchiveOptions) { o.ScratchDir, o.Every = scratch, 200*time.Millisecond })
	f.base()
	for range 20 {
		etcdtest.Put(t, client.Raw(), "after", secret)
	}
	f.reached(truth{}.puts(t, client, 1))
	f.until("more bases", func() bool { return f.bases > 2 })
	f.stop()
	cancel()
	if n := <-seen; n > 0 {
		t.Errorf("the secret was seen %d times in the scratch folder's files", n)
	}
	for _, path := range files(t, a.location) {
		b, err := os.ReadFile(path)
		if err != nil || bytes.Contains(b, []byte(secret)) {
			t.Errorf("%s holds it in the clear (%v)", path, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has the mode %s, %v", path, info.Mode(), err)
		}
	}
}

// TestDeepVerifyLeavesNoName: what verify --deep restores has no name at any time, so that
// nothing of it stays if it is killed.
func TestDeepVerifyLeavesNoName(t *testing.T) {
	const secret = "plaintext-that-must-have-no-name"
	cluster := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
	client := cluster.Clients()[0]
	a := newArchived(t, t.TempDir())
	etcdtest.Put(t, client.Raw(), "before", secret)
	for i := range 20 {
		etcdtest.Put(t, client.Raw(), fmt.Sprintf("big%d", i), noise(512<<10))
	}
	f := a.follow(cluster.Clients(), nil)
	f.base()
	f.reached(truth{}.puts(t, client, 3))
	f.stop()
	archive, list := a.timelines()
	scratch := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	type sight struct{ plain, named int }
	seen := make(chan sight)
	go func() {
		var s sight
		for ctx.Err() == nil {
			s.plain += grepOpen(t, scratch, secret)
			left, _ := os.ReadDir(scratch)
			for _, entry := range left { // one that was just made is empty
				if info, err := entry.Info(); err == nil && info.Size() > 0 {
					s.named++
				}
			}
		}
		seen <- s
	}()
	v, err := restore.Verify(t.Context(), archive, list[0], restore.VerifyOptions{Deep: true, ScratchDir: scratch})
	cancel()
	s := <-seen
	if err != nil || len(v.Faults) > 0 || s.plain == 0 {
		t.Errorf("verify finds %+v, %v; the database was seen %d times", v.Faults, err, s.plain)
	}
	if s.named > 0 {
		t.Errorf("it had a name %d times", s.named)
	}
	if left, err := os.ReadDir(scratch); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// grepOpen counts the open files of this process below a folder that hold a text.
func grepOpen(t *testing.T, dir, text string) (count int) {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Error(err)
	}
	for _, fd := range fds {
		link := filepath.Join("/proc/self/fd", fd.Name())
		target, err := os.Readlink(link)
		if err != nil || !strings.HasPrefix(target, dir) {
			continue
		}
		if b, err := os.ReadFile(link); err == nil && bytes.Contains(b, []byte(text)) {
			count++
		}
	}
	return count
}

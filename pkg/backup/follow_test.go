package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

// archived is an archive in a folder, and what opens it.
type archived struct {
	t        *testing.T
	dir      string
	identity *age.X25519Identity
}

func newArchived(t *testing.T) *archived {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return &archived{t, t.TempDir(), identity}
}

func (a *archived) open(keys store.Keys) *store.Archive {
	a.t.Helper()
	bucket, err := store.OpenBucket(a.t.Context(), a.dir, true)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { bucket.Close() })
	archive, err := store.NewArchive(bucket, store.ArchiveID{Name: "test", Etcd: "main"}, keys)
	if err != nil {
		a.t.Fatal(err)
	}
	return archive
}

func (a *archived) writer() *store.Archive {
	return a.open(store.Keys{Recipients: []age.Recipient{a.identity.Recipient()}})
}

func (a *archived) reader() *store.Archive {
	return a.open(store.Keys{Identities: []age.Identity{a.identity}})
}

func inspect(ctx context.Context, r io.ReaderAt, size int64, at segment.Revision) (*BaseContents, error) {
	b, err := restore.InspectBase(ctx, r, size, at)
	if err != nil {
		return nil, err
	}
	return (*BaseContents)(b), nil
}

func sourcesOf(cluster *etcdtest.Cluster) (list []Source) {
	for i, c := range cluster.Clients() {
		list = append(list, Source{Name: cluster.Members[i].Name, Client: c})
	}
	return list
}

// follow captures until stop is called, which gives what Follow ended with.
func (a *archived) follow(sources []Source, change func(*ArchiveOptions)) (notices chan Notice, stop func() error) {
	ctx, cancel := context.WithCancel(a.t.Context())
	notices = make(chan Notice, 10_000)
	options := ArchiveOptions{
		Archive: a.writer(), Sources: sources, Every: time.Hour, Flush: 200 * time.Millisecond, ScratchDir: a.t.TempDir(),
		Inspect: inspect, Random: rand.Uint32,
		OnNotice: func(n Notice) {
			if n.Progress == nil {
				notices <- n
			}
		},
	}
	if change != nil {
		change(&options)
	}
	ended := make(chan error, 1)
	go func() { ended <- Follow(ctx, options) }()
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-ended
	}
	a.t.Cleanup(func() { _ = stop() })
	return notices, stop
}

// wait gives the first notice that is wanted.
func wait(t *testing.T, notices <-chan Notice, what string, want func(Notice) bool) Notice {
	t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		select {
		case n := <-notices:
			if n.Err != nil {
				t.Logf("%s: %v", what, n.Err)
			}
			if want(n) {
				return n
			}
		case <-timeout:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func isBase(n Notice) bool { return n.Base != nil }

func upTo(revision int64) func(Notice) bool {
	return func(n Notice) bool { return n.Segment != nil && int64(n.Segment.Summary.Last) >= revision }
}

// TestFollowAndRestore captures, is started again, and every revision comes back with the
// hash that the server had.
func TestFollowAndRestore(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{})
	client := cluster.Clients()[0]
	a := newArchived(t)
	notices, stop := a.follow(sourcesOf(cluster), nil)
	wait(t, notices, "a base", isBase)
	want := map[int64]etcd.Hash{}
	note := func() int64 {
		h, err := client.HashKV(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		want[h.Revision] = h
		return h.Revision
	}
	for i := range 20 {
		etcdtest.Put(t, client.Raw(), fmt.Sprintf("k%d", i%7), fmt.Sprint(i))
		note()
	}
	wait(t, notices, "the changes", upTo(note()))
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Fatalf("Follow = %v", err)
	}
	for i := range 5 { // while nobody looks
		etcdtest.Put(t, client.Raw(), "gone", fmt.Sprint(i))
		note()
	}
	notices, stop = a.follow(sourcesOf(cluster), nil)
	for i := range 5 {
		etcdtest.Put(t, client.Raw(), "again", fmt.Sprint(i))
		note()
	}
	wait(t, notices, "the changes after", upTo(note()))
	_ = stop()
	a.wantHashes(want)
}

// contents is the only timeline's.
func (a *archived) contents() (*store.Archive, *store.Contents) {
	a.t.Helper()
	archive := a.reader()
	timelines, err := archive.Timelines(a.t.Context())
	if err != nil || len(timelines) != 1 {
		a.t.Fatalf("timelines %+v, %v, want one", timelines, err)
	}
	c, err := archive.Contents(a.t.Context(), timelines[0])
	if err != nil {
		a.t.Fatal(err)
	}
	return archive, c
}

// wantHashes restores every revision and compares its hash.
func (a *archived) wantHashes(want map[int64]etcd.Hash) {
	a.t.Helper()
	archive, c := a.contents()
	for revision, hash := range want {
		plan, err := restore.PlanArchive(a.t.Context(), archive, c, restore.When{Revision: segment.Revision(revision)})
		if err != nil {
			a.t.Errorf("revision %d: %v", revision, err)
			continue
		}
		dir := a.t.TempDir()
		base, err := restore.FetchBase(a.t.Context(), archive, c.Timeline.ID, plan.Chain.Base, filepath.Join(dir, "base.db"))
		if err != nil {
			a.t.Fatal(err)
		}
		reading := restore.ReadSegments(a.t.Context(), archive, c.Timeline.ID, plan.Chain.Segments)
		path := filepath.Join(dir, "moment.db")
		_, err = restore.WriteMoment(a.t.Context(), base, revision, reading.Next, path)
		reading.Close()
		if err != nil {
			a.t.Errorf("revision %d: %v", revision, err)
			continue
		}
		s, err := restore.Open(a.t.Context(), path)
		if err != nil || s.Contents.HashKV != hash.Hash {
			a.t.Errorf("revision %d: hash %d, %v, want %d", revision, s.Contents.HashKV, err, hash.Hash)
		}
	}
}

// Package archive holds the archive against what can befall it: stores that fail, writers that
// are killed or are two, objects that are damaged or gone, clusters that were replaced.
package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

// TestMain is the writer that a test kills, when it is told to be.
func TestMain(m *testing.M) {
	if location := os.Getenv("ARCHIVE_TEST_WRITER"); location != "" {
		if err := beWriter(location); err != nil {
			panic(err)
		}
		return
	}
	m.Run()
}

// archived is an archive somewhere, and what opens it.
type archived struct {
	t        *testing.T
	location string
	identity *age.X25519Identity
}

func newArchived(t *testing.T, location string) *archived {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return &archived{t, location, identity}
}

func (a *archived) open(keys store.Keys) *store.Archive {
	a.t.Helper()
	bucket, err := store.OpenBucket(a.t.Context(), a.location, true)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { _ = bucket.Close() })
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

func inspect(ctx context.Context, r io.ReaderAt, size int64, at segment.Revision) (*backup.BaseContents, error) {
	b, err := restore.InspectBase(ctx, r, size, at)
	return (*backup.BaseContents)(b), err
}

func sourcesOf(clients []*etcd.Client) (list []backup.Source) {
	for i, c := range clients {
		list = append(list, backup.Source{Name: fmt.Sprintf("m%d", i), Client: c})
	}
	return list
}

// follower is a writer in this process.
type follower struct {
	t      *testing.T
	cancel context.CancelFunc
	ended  chan error

	mu      sync.Mutex
	changed *sync.Cond
	last    int64
	bases   int
	opened  []store.Timeline
	errs    []error
	lost    []error
	over    bool
}

func (a *archived) follow(clients []*etcd.Client, change func(*backup.ArchiveOptions)) *follower {
	a.t.Helper()
	ctx, cancel := context.WithCancel(a.t.Context())
	f := &follower{t: a.t, cancel: cancel, ended: make(chan error, 1)}
	f.changed = sync.NewCond(&f.mu)
	options := backup.ArchiveOptions{
		Archive: a.writer(), Sources: sourcesOf(clients), Every: time.Hour, Flush: 100 * time.Millisecond, ScratchDir: a.t.TempDir(),
		Inspect: inspect, Random: rand.Uint32, OnNotice: f.see,
	}
	if change != nil {
		change(&options)
	}
	go func() {
		err := backup.Follow(ctx, options)
		f.ended <- err
		f.mu.Lock()
		defer f.mu.Unlock()
		f.over = true
		f.changed.Broadcast()
	}()
	a.t.Cleanup(cancel)
	return f
}

func (f *follower) see(n backup.Notice) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case n.Segment != nil:
		f.last = max(f.last, int64(n.Segment.Summary.Last))
	case n.Base != nil:
		f.bases++
	case n.Timeline != nil && n.Timeline.Opened:
		f.opened = append(f.opened, n.Timeline.Timeline)
	case n.Err != nil:
		f.errs = append(f.errs, n.Err)
	case n.Capture != nil && n.Capture.Lost != nil:
		f.lost = append(f.lost, n.Capture.Lost)
	}
	f.changed.Broadcast()
}

// until waits for something to become true.
func (f *follower) until(what string, is func() bool) {
	f.t.Helper()
	late := false
	timer := time.AfterFunc(60*time.Second, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		late = true
		f.changed.Broadcast()
	})
	defer timer.Stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	for !is() && !late && !f.over {
		f.changed.Wait()
	}
	if !is() {
		f.t.Fatalf("waited in vain for %s; the store said %v, the watch %v", what, errors.Join(f.errs...), errors.Join(f.lost...))
	}
}

func (f *follower) reached(revision int64) {
	f.t.Helper()
	f.until(fmt.Sprintf("revision %d", revision), func() bool { return f.last >= revision })
}

func (f *follower) base() {
	f.t.Helper()
	f.until("a base", func() bool { return f.bases > 0 })
}

// stop ends it as a user does.
func (f *follower) stop() {
	f.t.Helper()
	f.cancel()
	if err := <-f.ended; !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "put the last") {
		f.t.Errorf("the writer ended with %v", err)
	}
}

// truth is the hash that the server had at a revision.
type truth map[int64]segment.Hash

func (w truth) note(t *testing.T, c *etcd.Client) int64 {
	t.Helper()
	h, err := c.HashKV(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	w[h.Revision] = segment.Hash{
		Member: segment.ID(h.MemberID), Revision: segment.Revision(h.Revision),
		CompactRevision: segment.Revision(h.CompactRevision), Hash: h.Hash,
	}
	return h.Revision
}

// puts writes and notes what the server then has.
func (w truth) puts(t *testing.T, c *etcd.Client, n int) (last int64) {
	t.Helper()
	for i := range n {
		etcdtest.Put(t, c.Raw(), fmt.Sprintf("k%d", rand.IntN(20)), strings.Repeat("v", i))
		last = w.note(t, c)
	}
	return last
}

// timelines are all that there are, with what they hold.
func (a *archived) timelines() (archive *store.Archive, list []*store.Contents) {
	a.t.Helper()
	archive = a.reader()
	timelines, err := archive.Timelines(a.t.Context())
	if err != nil {
		a.t.Fatal(err)
	}
	for _, timeline := range timelines {
		c, err := archive.Contents(a.t.Context(), timeline)
		if err != nil {
			a.t.Fatal(err)
		}
		list = append(list, c)
	}
	return archive, list
}

// want restores every moment out of the only timeline, and compares its hash.
func (a *archived) want(w truth) {
	a.t.Helper()
	archive, list := a.timelines()
	if len(list) != 1 {
		a.t.Fatalf("%d timelines, want one", len(list))
	}
	for revision, hash := range w {
		if err := restoreOne(a.t, archive, list[0], revision, hash); err != nil {
			a.t.Errorf("revision %d: %v", revision, err)
		}
	}
}

// restoreOne restores a moment and compares it.
func restoreOne(t *testing.T, archive *store.Archive, c *store.Contents, revision int64, hash segment.Hash) error {
	t.Helper()
	file, _, err := makeMoment(t, archive, c, revision)
	if err != nil {
		return err
	}
	if err := restore.Attested(t.Context(), file.Name(), hash); err != nil {
		return fmt.Errorf("%w: %w", errWrong, err)
	}
	return nil
}

// makeMoment makes a moment's snapshot, as restore does.
func makeMoment(t *testing.T, archive *store.Archive, c *store.Contents, revision int64) (*os.File, *restore.Moment, error) {
	t.Helper()
	plan, err := restore.PlanArchive(t.Context(), archive, c, restore.When{Revision: segment.Revision(revision)})
	if err != nil {
		return nil, nil, err
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "moment.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	base, err := restore.FetchBase(t.Context(), archive, c.Timeline.ID, plan.Chain.Base, file)
	if err != nil {
		return nil, nil, err
	}
	reading := restore.ReadChain(t.Context(), archive, c.Timeline.ID, plan.Chain)
	defer reading.Close()
	moment, err := restore.TurnInto(t.Context(), base, revision, reading.Next)
	return file, moment, err
}

// errWrong: what was restored without an error is not what the server had.
var errWrong = errors.New("WRONG DATA")

// spawn starts a writer in a process of its own.
func (a *archived) spawn(endpoint, scratch string, every time.Duration) (*exec.Cmd, *bytes.Buffer) {
	a.t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "ARCHIVE_TEST_WRITER="+a.location, "ARCHIVE_TEST_RECIPIENT="+a.identity.Recipient().String(),
		"ARCHIVE_TEST_ENDPOINT="+endpoint, "ARCHIVE_TEST_SCRATCH="+scratch, "ARCHIVE_TEST_EVERY="+every.String())
	var out bytes.Buffer
	c.Stderr = &out
	if err := c.Start(); err != nil {
		a.t.Fatal(err)
	}
	return c, &out
}

// beWriter follows into a folder until it is killed.
func beWriter(location string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	recipient, err := age.ParseX25519Recipient(os.Getenv("ARCHIVE_TEST_RECIPIENT"))
	if err != nil {
		return err
	}
	bucket, err := store.OpenBucket(ctx, location, true)
	if err != nil {
		return err
	}
	archive, err := store.NewArchive(bucket, store.ArchiveID{Name: "test", Etcd: "main"}, store.Keys{Recipients: []age.Recipient{recipient}})
	if err != nil {
		return err
	}
	client, err := etcd.Open(etcd.Endpoint{Name: "m0", URL: os.Getenv("ARCHIVE_TEST_ENDPOINT")}, etcd.Options{})
	if err != nil {
		return err
	}
	every, err := time.ParseDuration(os.Getenv("ARCHIVE_TEST_EVERY"))
	if err != nil {
		return err
	}
	err = backup.Follow(ctx, backup.ArchiveOptions{
		Archive: archive, Sources: sourcesOf([]*etcd.Client{client}), Every: every, Flush: every / 10, SpoolMax: 8 << 30,
		ScratchDir: os.Getenv("ARCHIVE_TEST_SCRATCH"), Inspect: inspect, Random: rand.Uint32,
	})
	if err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

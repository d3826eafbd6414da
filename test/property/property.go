// Package property drives a real etcd with random work while it is captured into an archive,
// then restores to many of its revisions and compares everything: the hash that the server
// gave, every key with its value, revisions, version and lease, every lease's TTL.
//
// Its one idea: what the server said at a revision is the truth, whatever our own code thinks.
package property

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"filippo.io/age"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

// Run does one seed's work on a cluster and checks what was captured of it.
func Run(t *testing.T, clients []*etcd.Client, seed uint64) {
	t.Helper()
	r := &run{
		t: t, clients: clients, random: rand.New(rand.NewPCG(seed, 1)), dir: t.TempDir(),
		granted: map[int64]int64{}, ended: map[int64]bool{},
	}
	var err error
	if r.identity, err = age.GenerateX25519Identity(); err != nil {
		t.Fatal(err)
	}
	r.work()
	r.check()
}

type run struct {
	t        *testing.T
	clients  []*etcd.Client
	random   *rand.Rand
	dir      string
	identity *age.X25519Identity

	granted map[int64]int64 // TTL of every lease that was ever granted
	ended   map[int64]bool  // leases that were revoked, or may have expired
	truths  []truth
	proven  int
}

// truth is what the server said at a revision.
type truth struct {
	revision int64
	hash     segment.Hash // zero: not to be had, it was compacted meanwhile
	keys     map[string]keyState
}

type keyState struct {
	value                            string
	create, modified, version, lease int64
}

func (r *run) archive(keys store.Keys) *store.Archive {
	r.t.Helper()
	bucket, err := store.OpenBucket(r.t.Context(), filepath.Join(r.dir, "archive"), true)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = bucket.Close() })
	a, err := store.NewArchive(bucket, store.ArchiveID{Name: "property", Etcd: "main"}, keys)
	if err != nil {
		r.t.Fatal(err)
	}
	return a
}

// work writes, with the writer started anew now and then.
func (r *run) work() {
	w := newWorker(r)
	for part := range 3 {
		stop := r.follow()
		until := time.Now().Add(time.Duration(700+r.random.IntN(1200)) * time.Millisecond)
		for time.Now().Before(until) {
			w.step()
			if r.random.IntN(25) == 0 {
				r.remember()
			}
		}
		r.remember()
		stop(r.truths[len(r.truths)-1].revision)
		if part < 2 {
			for range r.random.IntN(40) { // while nobody looks
				w.step()
			}
			r.remember()
		}
	}
	if len(w.unexpected) > 0 {
		r.t.Fatalf("the work itself failed: %v", errors.Join(w.unexpected...))
	}
}

// follow captures until it is stopped, which waits until a revision is in the archive.
func (r *run) follow() (stop func(int64)) {
	ctx, cancel := context.WithCancel(r.t.Context())
	scratch, err := os.MkdirTemp(r.dir, "scratch-")
	if err != nil {
		r.t.Fatal(err)
	}
	var mu sync.Mutex
	last := int64(0)
	reached := sync.NewCond(&mu)
	options := backup.ArchiveOptions{
		Archive: r.archive(store.Keys{Recipients: []age.Recipient{r.identity.Recipient()}}),
		Every:   time.Duration(500+r.random.IntN(1500)) * time.Millisecond, Flush: time.Duration(20+r.random.IntN(300)) * time.Millisecond,
		ScratchDir: scratch, Random: rand.Uint32,
		Inspect: func(ctx context.Context, r io.ReaderAt, size int64, at segment.Revision) (*backup.BaseContents, error) {
			b, err := restore.InspectBase(ctx, r, size, at)
			return (*backup.BaseContents)(b), err
		},
		OnNotice: func(n backup.Notice) {
			mu.Lock()
			defer mu.Unlock()
			if n.Segment != nil {
				last = max(last, int64(n.Segment.Summary.Last))
			}
			if n.Base != nil {
				last = max(last, int64(n.Base.Info.Last))
			}
			if n.Err != nil && ctx.Err() == nil {
				r.t.Errorf("the capture says: %v", n.Err)
			}
			reached.Broadcast()
		},
	}
	for i, c := range r.clients {
		options.Sources = append(options.Sources, backup.Source{Name: fmt.Sprintf("m%d", i), Client: c})
	}
	ended := make(chan error, 1)
	go func() {
		err := backup.Follow(ctx, options)
		ended <- err
		mu.Lock()
		defer mu.Unlock()
		last = 1 << 62
		reached.Broadcast()
	}()
	return func(revision int64) {
		timeout := time.AfterFunc(time.Minute, cancel)
		mu.Lock()
		for last < revision {
			reached.Wait()
		}
		mu.Unlock()
		if !timeout.Stop() {
			r.t.Errorf("revision %d did not come into the archive", revision)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			r.t.Errorf("the capture ended with %v", err)
		}
	}
}

// remember asks the server what it has now.
func (r *run) remember() {
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	c := r.clients[r.random.IntN(len(r.clients))]
	all, err := c.Raw().Get(ctx, "\x00", clientv3.WithFromKey())
	if err != nil {
		r.t.Fatal(err)
	}
	one := truth{revision: all.Header.Revision, keys: map[string]keyState{}}
	for _, kv := range all.Kvs {
		one.keys[string(kv.Key)] = keyState{string(kv.Value), kv.CreateRevision, kv.ModRevision, kv.Version, kv.Lease}
	}
	if hash, err := c.HashKV(ctx, one.revision); err == nil && (hash.HashRevision == 0 || hash.HashRevision == one.revision) {
		one.hash = segment.Hash{
			Member: segment.ID(hash.MemberID), Revision: segment.Revision(one.revision),
			CompactRevision: segment.Revision(hash.CompactRevision), Hash: hash.Hash,
		}
	}
	r.truths = append(r.truths, one)
}

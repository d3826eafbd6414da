package capture

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
)

// following collects what Follow gives.
type following struct {
	mu      sync.Mutex
	records []segment.Record
	events  []Event
	ended   chan error
	cancel  context.CancelFunc
}

func startFollow(t *testing.T, sources []Source, at Point) *following {
	ctx, cancel := context.WithCancel(t.Context())
	f := &following{ended: make(chan error, 1), cancel: cancel}
	t.Cleanup(cancel)
	options := Options{Sources: sources, Every: 100 * time.Millisecond, Hashes: true, OnEvent: func(e Event) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.events = append(f.events, e)
	}}
	go func() {
		f.ended <- Follow(ctx, at, options, func(r segment.Record) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.records = append(f.records, r)
			return nil
		})
	}()
	return f
}

// until waits for records, or events, that are as wanted.
func (f *following) until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		f.mu.Lock()
		ok := is()
		f.mu.Unlock()
		if ok {
			return
		}
		if time.Now().After(end) {
			f.mu.Lock()
			defer f.mu.Unlock()
			t.Fatalf("waited in vain for %s: %+v", what, f.records)
		}
	}
}

// wantEnd waits until it ends.
func (f *following) wantEnd(t *testing.T, want error) {
	t.Helper()
	select {
	case err := <-f.ended:
		if !errors.Is(err, want) {
			t.Errorf("it ended with %v, want %v", err, want)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it goes on")
	}
}

func (f *following) last() (last segment.Revision) {
	for _, r := range f.records {
		if c, ok := r.(segment.Change); ok {
			last = c.Revision
		}
	}
	return last
}

func sourcesOf(cluster *etcdtest.Cluster) (list []Source) {
	for i, c := range cluster.Clients() {
		list = append(list, Source{cluster.Members[i].Name, c})
	}
	return list
}

func headOf(t *testing.T, c *etcd.Client) Point {
	t.Helper()
	head, cluster, err := look(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return Point{Revision: head, Cluster: cluster, Time: time.Now()}
}

// TestFollowSurvives: members stop and come back one after the other; no revision is missing.
func TestFollowSurvives(t *testing.T) {
	cluster := etcdtest.Start(t, 3, etcdtest.Options{})
	clients := cluster.Clients()
	start := headOf(t, clients[0])
	f := startFollow(t, sourcesOf(cluster), start)
	writes := 0
	for _, m := range cluster.Members {
		m.Stop()
		alive := clients[(slices.Index(cluster.Members, m)+1)%3]
		for range 10 {
			for try := 0; ; try++ {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				_, err := alive.Raw().Put(ctx, "k", fmt.Sprint(writes))
				cancel()
				if err == nil {
					break
				}
				if try > 50 {
					t.Fatal(err)
				}
				time.Sleep(100 * time.Millisecond)
			}
			writes++
		}
		m.Start()
	}
	end := headOf(t, clients[0]).Revision
	f.until(t, "every change", func() bool { return f.last() >= end })
	f.mu.Lock()
	defer f.mu.Unlock()
	next := start.Revision + 1
	for _, r := range f.records {
		if c, ok := r.(segment.Change); ok {
			if c.Revision != next {
				t.Fatalf("revision %d comes where %d should", c.Revision, next)
			}
			next++
		}
	}
}

// TestNotes: leases stand before the changes that name them, compactions and hashes come.
func TestNotes(t *testing.T) {
	cluster := etcdtest.Start(t, 3, etcdtest.Options{})
	c := cluster.Clients()[0].Raw()
	f := startFollow(t, sourcesOf(cluster), headOf(t, cluster.Clients()[0]))
	lease, err := c.Grant(t.Context(), 500)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Put(t.Context(), "leased", "v", clientv3.WithLease(lease.ID)); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		etcdtest.Put(t, c, "k", "v")
	}
	time.Sleep(400 * time.Millisecond) // the first look at compactions learns where it stands
	head := headOf(t, cluster.Clients()[0]).Revision
	if _, err := c.Compact(t.Context(), int64(head-3), clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	hashes := func() (list []segment.Hash) {
		for _, r := range f.records {
			if h, ok := r.(segment.Hash); ok {
				list = append(list, h)
			}
		}
		return list
	}
	f.until(t, "the hashes of three members", func() bool { return len(hashes()) >= 3 })
	f.mu.Lock()
	defer f.mu.Unlock()
	at := slices.Index(f.records, segment.Record(segment.Lease{ID: segment.LeaseID(lease.ID), TTL: 500}))
	if at < 0 {
		t.Fatal("the lease is not told of")
	}
	for _, r := range f.records[:at] {
		if change, ok := r.(segment.Change); ok && leaseOf(change.Events[0]) != 0 {
			t.Error("a change names the lease before it is told of")
		}
	}
	if !slices.Contains(f.records, segment.Record(segment.Compact{Revision: head - 3})) {
		t.Errorf("the compaction at %d is not told of", head-3)
	}
	for _, h := range hashes() {
		if h.Revision != head-3 || h.Hash != hashes()[0].Hash {
			t.Errorf("hash %+v, want that of %d, and all alike", h, head-3)
		}
	}
	agreed := slices.ContainsFunc(f.events, func(e Event) bool { return e.Agree == 3 && e.Voters == 3 && e.Attested.Revision == head-3 })
	if !agreed {
		t.Errorf("that three agree is not told: %+v", f.events)
	}
}

// twice puts a key and deletes it in one revision, which etcd allows in sibling transactions,
// and compacts at that very revision: the put is not shown any more then.
func twice(t *testing.T, c *clientv3.Client) segment.Revision {
	t.Helper()
	one := func(op clientv3.Op) clientv3.Op { return clientv3.OpTxn(nil, []clientv3.Op{op}, nil) }
	done, err := c.Txn(t.Context()).Then(one(clientv3.OpPut("twice", "v")), one(clientv3.OpDelete("twice")), one(clientv3.OpPut("once", "v"))).Commit()
	if err != nil {
		t.Fatal(err)
	}
	return segment.Revision(done.Header.Revision)
}

func compactAt(t *testing.T, c *clientv3.Client, revision segment.Revision) {
	t.Helper()
	if _, err := c.Compact(t.Context(), int64(revision), clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
}

// TestCompactedInPart: a revision that etcd was compacted at is shown in part, and is neither
// taken for whole nor for another history.
func TestCompactedInPart(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{})
	client := cluster.Clients()[0]
	before := headOf(t, client)
	f := startFollow(t, sourcesOf(cluster), before)
	here := twice(t, client.Raw())
	f.until(t, "the change", func() bool { return f.last() >= here })
	f.cancel()
	if err := <-f.ended; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	var digest segment.Digest
	for _, r := range f.records {
		if c, ok := r.(segment.Change); ok && c.Revision == here {
			if len(c.Events) != 3 {
				t.Fatalf("%d events, want 3", len(c.Events))
			}
			digest = c.DigestWithoutValues()
		}
	}
	compactAt(t, client.Raw(), here)
	for _, test := range []struct {
		name string
		at   Point
		want error // nil: it goes on
	}{
		{"it would be the next", Point{Revision: here - 1}, ErrCompacted},
		{"it is the last, and can't be compared", Point{Revision: here, Change: digest}, ErrCompacted},
		{"it is the last", Point{Revision: here}, nil},
		{"it lies before", Point{Revision: here + 1}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := startFollow(t, sourcesOf(cluster), test.at)
			if test.want == nil {
				head := headOf(t, client).Revision
				etcdtest.Put(t, client.Raw(), "k", "v")
				f.until(t, "the next change", func() bool { return f.last() == head+1 })
				f.mu.Lock()
				defer f.mu.Unlock()
				if first := f.records[slices.IndexFunc(f.records, isChange)].(segment.Change); first.Revision != test.at.Revision+1 {
					t.Errorf("the first is revision %d, want %d", first.Revision, test.at.Revision+1)
				}
				return
			}
			f.wantEnd(t, test.want)
		})
	}
}

func isChange(r segment.Record) bool { _, ok := r.(segment.Change); return ok }

// TestDoubt: only a response's first revision may be a part, and one without a delete is none.
func TestDoubt(t *testing.T) {
	event := func(revision int64, is mvccpb.Event_EventType) *mvccpb.Event {
		return &mvccpb.Event{Type: is, Kv: &mvccpb.KeyValue{ModRevision: revision}}
	}
	const put, del = mvccpb.Event_PUT, mvccpb.Event_DELETE
	for _, test := range []struct {
		events       []*mvccpb.Event
		keepsDeletes bool
		want         bool
	}{
		{[]*mvccpb.Event{event(5, put)}, true, false},
		{[]*mvccpb.Event{event(5, put)}, false, true}, // before etcd 3.5.16 nothing need be left of a delete
		{[]*mvccpb.Event{event(5, put), event(5, del)}, true, true},
		{[]*mvccpb.Event{event(5, put), event(6, del)}, true, false},
	} {
		f := &follower{}
		f.begin(&feed{keepsDeletes: test.keepsDeletes}, &pb.WatchResponse{Events: test.events})
		if f.begins != 5 || f.doubt != test.want {
			t.Errorf("%v, deletes are kept %v: begins with %d, doubt %v", test.events, test.keepsDeletes, f.begins, f.doubt)
		}
	}
	// The first revision goes on over fragments.
	f := &follower{}
	f.begin(&feed{keepsDeletes: true}, &pb.WatchResponse{Events: []*mvccpb.Event{event(5, put)}, Fragment: true})
	f.group.open.Revision = 5
	f.begin(&feed{keepsDeletes: true}, &pb.WatchResponse{Events: []*mvccpb.Event{event(5, del)}})
	if !f.doubt {
		t.Error("a delete in the second fragment leaves no doubt")
	}
}

// TestRefusals: where the changes can't go on, it is said why.
func TestRefusals(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{})
	client := cluster.Clients()[0]
	for range 30 {
		etcdtest.Put(t, client.Raw(), "k", "v")
	}
	here := headOf(t, client)
	if _, err := client.Raw().Compact(t.Context(), int64(here.Revision-5), clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	digest := segment.Digest{1}
	for name, test := range map[string]struct {
		at   Point
		want error
	}{
		"another cluster":            {Point{Revision: here.Revision, Cluster: here.Cluster + 1}, ErrFork},
		"ahead of etcd":              {Point{Revision: here.Revision + 100, Change: digest}, ErrFork},
		"other events there":         {Point{Revision: here.Revision - 1, Change: digest}, ErrFork},
		"compacted":                  {Point{Revision: here.Revision - 10, Change: digest}, ErrCompacted},
		"compacted at that very one": {Point{Revision: here.Revision - 6, Change: digest}, ErrCompacted},
	} {
		t.Run(name, func(t *testing.T) {
			f := startFollow(t, sourcesOf(cluster), test.at)
			f.wantEnd(t, test.want)
		})
	}
	t.Run("the caller's own error", func(t *testing.T) {
		mine := errors.New("mine")
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		go func() {
			time.Sleep(200 * time.Millisecond)
			_, _ = client.Raw().Put(ctx, "k", "v")
		}()
		err := Follow(ctx, headOf(t, client), Options{Sources: sourcesOf(cluster)}, func(r segment.Record) error {
			if _, ok := r.(segment.Change); ok {
				return mine
			}
			return nil
		})
		if !errors.Is(err, mine) {
			t.Errorf("Follow = %v, want the caller's error", err)
		}
	})
}

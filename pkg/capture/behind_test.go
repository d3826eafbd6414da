package capture

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
)

// gated follows, and holds take at revisions until they are let go.
type gated struct {
	mu      sync.Mutex
	changes map[segment.Revision]segment.Change
	gates   map[segment.Revision]chan struct{}
	at      segment.Revision // it is or was held here last
	ended   chan error
}

func startGated(t *testing.T, sources []Source, at Point, o Options, hold ...segment.Revision) *gated {
	t.Helper()
	g := &gated{changes: map[segment.Revision]segment.Change{}, gates: map[segment.Revision]chan struct{}{}, ended: make(chan error, 1)}
	for _, r := range hold {
		g.gates[r] = make(chan struct{})
	}
	o.Sources, o.Every = sources, 100*time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go func() { g.ended <- Follow(ctx, at, o, g.take(ctx)) }()
	return g
}

func (g *gated) take(ctx context.Context) func(segment.Record) error {
	return func(r segment.Record) error {
		c, ok := r.(segment.Change)
		if !ok {
			return nil
		}
		g.mu.Lock()
		gate := g.gates[c.Revision]
		g.at = c.Revision
		g.mu.Unlock()
		if gate != nil {
			select {
			case <-gate:
			case <-ctx.Done():
			}
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		g.changes[c.Revision] = c
		return nil
	}
}

func (g *gated) hold(r segment.Revision) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gates[r] = make(chan struct{})
}

func (g *gated) letGo(r segment.Revision) {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.gates[r])
}

// held waits until it is held at a revision.
func (g *gated) held(t *testing.T, r segment.Revision) {
	t.Helper()
	waitFor(t, func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.at == r
	})
}

// change waits for a revision, or for the end.
func (g *gated) change(t *testing.T, r segment.Revision) (c segment.Change, err error) {
	t.Helper()
	waitFor(t, func() (ok bool) {
		g.mu.Lock()
		defer g.mu.Unlock()
		if c, ok = g.changes[r]; ok {
			return true
		}
		select {
		case err = <-g.ended:
			return true
		default:
			return false
		}
	})
	return c, err
}

func waitFor(t *testing.T, is func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain")
		}
	}
}

// slowWatchers is the gauge of the etcd in this process.
func slowWatchers(t *testing.T) float64 {
	t.Helper()
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "etcd_debugging_mvcc_slow_watcher_total" {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatal("etcd has no such gauge any more")
	return 0
}

// fallBehind writes until etcd holds back a watch that is not read. The last of it is what
// it holds back.
func fallBehind(t *testing.T, c *clientv3.Client) segment.Revision {
	t.Helper()
	large := strings.Repeat("x", 200<<10)
	for range 2000 {
		r, err := c.Put(t.Context(), "large", large)
		if err != nil {
			t.Fatal(err)
		}
		if slowWatchers(t) > 0 {
			time.Sleep(400 * time.Millisecond) // until it is no passing state
			if slowWatchers(t) > 0 {
				return segment.Revision(r.Header.Revision)
			}
		}
	}
	t.Fatal("etcd holds back nothing")
	return 0
}

// wantWholeOrRefused: a part of it would be worse than a gap.
func wantWholeOrRefused(t *testing.T, c segment.Change, err error) {
	t.Helper()
	if err == nil && len(c.Events) != 3 || err != nil && !errors.Is(err, ErrCompacted) {
		t.Errorf("it is recorded with %d of 3 events; %v", len(c.Events), err)
	}
}

// startBehind follows an etcd that holds its watch back at the revision before twice's.
func startBehind(t *testing.T) (g *gated, c *clientv3.Client, first, last, here segment.Revision) {
	t.Helper()
	cluster := etcdtest.Start(t, 1, etcdtest.Options{})
	client := cluster.Clients()[0]
	etcdtest.Put(t, client.Raw(), "large", "v")
	at := headOf(t, client)
	first = at.Revision + 1
	g = startGated(t, sourcesOf(cluster), at, Options{}, first)
	etcdtest.Put(t, client.Raw(), "k", "v")
	g.held(t, first)
	last = fallBehind(t, client.Raw())
	here = twice(t, client.Raw())
	if here != last+1 {
		t.Fatalf("revision %d after %d", here, last)
	}
	return g, client.Raw(), first, last, here
}

// A watch that was held back goes on out of the database, with etcd's very head too.
func TestHeldBackToACompactedHead(t *testing.T) {
	g, c, first, _, here := startBehind(t)
	compactAt(t, c, here)
	g.letGo(first)
	change, err := g.change(t, here)
	wantWholeOrRefused(t, change, err)
}

// Etcd may be compacted further between its answer and the question how far it is.
func TestCompactionMovesOn(t *testing.T) {
	g, c, first, last, here := startBehind(t)
	g.hold(last)
	etcdtest.Put(t, c, "k", "v")
	compactAt(t, c, here)
	g.letGo(first)
	g.held(t, last)
	waitFor(t, func() bool { return slowWatchers(t) == 0 })
	time.Sleep(200 * time.Millisecond) // what it sends is on its way
	compactAt(t, c, here+1)
	g.letGo(last)
	change, err := g.change(t, here)
	wantWholeOrRefused(t, change, err)
}

// The same while the last captured revision is compared: that is no other history.
func TestCompactionMovesOnAtTheComparison(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{})
	client := cluster.Clients()[0]
	g := startGated(t, sourcesOf(cluster), headOf(t, client), Options{})
	here := twice(t, client.Raw())
	change, err := g.change(t, here)
	if err != nil {
		t.Fatal(err)
	}
	etcdtest.Put(t, client.Raw(), "k", "v")
	compactAt(t, client.Raw(), here)
	goOn, connected := make(chan struct{}), make(chan struct{}, 1)
	g = startGated(t, sourcesOf(cluster), Point{Revision: here, Change: change.DigestWithoutValues()}, Options{OnEvent: func(e Event) {
		if e.Connected != "" {
			connected <- struct{}{}
			<-goOn
		}
	}})
	<-connected
	time.Sleep(200 * time.Millisecond) // the events are on their way
	compactAt(t, client.Raw(), here+1)
	close(goOn)
	if err := <-g.ended; !errors.Is(err, ErrCompacted) {
		t.Errorf("it ended with %v, want %v", err, ErrCompacted)
	}
}

// A member that was cut off gets its leader's snapshot, compacted at what it shows next.
func TestFollowedMemberGetsASnapshot(t *testing.T) {
	cluster := etcdtest.Start(t, 3, etcdtest.Options{Configure: func(c *embed.Config) { c.SnapshotCount, c.SnapshotCatchUpEntries = 10, 2 }})
	leader, follower := cluster.Clients()[cluster.Leader()], cluster.Follower()
	at := headOf(t, leader)
	g := startGated(t, sourcesOf(cluster)[follower:follower+1], at, Options{})
	etcdtest.Put(t, leader.Raw(), "k", "v")
	if _, err := g.change(t, at.Revision+1); err != nil {
		t.Fatal(err)
	}
	cluster.Members[follower].Isolate()
	here := twice(t, leader.Raw())
	compactAt(t, leader.Raw(), here)
	for range 40 {
		if _, err := leader.Raw().Grant(t.Context(), 500); err != nil {
			t.Fatal(err)
		}
	}
	cluster.Members[follower].Rejoin()
	change, err := g.change(t, here)
	wantWholeOrRefused(t, change, err)
}

// A revision was not committed after it was acknowledged, however late it came.
func TestLowerIsABound(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{})
	client := cluster.Clients()[0]
	etcdtest.Put(t, client.Raw(), "k", "v")
	at := headOf(t, client)
	g := startGated(t, sourcesOf(cluster), at, Options{}, at.Revision+1)
	etcdtest.Put(t, client.Raw(), "k", "v")
	g.held(t, at.Revision+1)
	committed := map[segment.Revision]time.Time{}
	for range 30 {
		r, err := client.Raw().Put(t.Context(), "k", "v")
		if err != nil {
			t.Fatal(err)
		}
		committed[segment.Revision(r.Header.Revision)] = time.Now()
	}
	time.Sleep(time.Second)
	g.letGo(at.Revision + 1)
	for r, by := range committed {
		c, err := g.change(t, r)
		if err != nil {
			t.Fatal(err)
		}
		if c.Lower.After(by) || c.Upper.Before(c.Lower) {
			t.Errorf("revision %d was committed by %s, and is said to be between %s and %s", r, by, c.Lower, c.Upper)
		}
	}
}

// A take that takes long is no silence of etcd's.
func TestSlowTakeIsNoSilence(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{})
	client := cluster.Clients()[0]
	at := headOf(t, client)
	var hold []segment.Revision
	for i := range segment.Revision(5) {
		hold = append(hold, at.Revision+1+2*i)
	}
	lost := make(chan error, 100)
	g := startGated(t, sourcesOf(cluster), at, Options{Timeout: 2 * time.Second, OnEvent: func(e Event) {
		if e.Lost != nil {
			lost <- e.Lost
		}
	}}, hold...)
	for range 40 {
		etcdtest.Put(t, client.Raw(), "k", "v")
	}
	for _, r := range hold {
		g.held(t, r)
		time.Sleep(2500 * time.Millisecond) // longer than etcd may be silent
		g.letGo(r)
	}
	if _, err := g.change(t, at.Revision+40); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-lost:
		t.Error(err)
	default:
	}
}

// movingOn is an etcd that is compacted, up to what was its head and beyond, once that was read.
type movingOn struct {
	clientv3.KV
	once   sync.Once
	moveOn func()
}

func (m *movingOn) Get(ctx context.Context, key string, options ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	response, err := m.KV.Get(ctx, key, options...)
	if op := clientv3.OpGet(key, options...); op.Rev() == 0 {
		m.once.Do(m.moveOn)
	}
	return response, err
}

// What was the head is no compaction's revision because it can be read no more.
func TestCompactionIsFoundWhileItMovesOn(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{})
	source := sourcesOf(cluster)[0]
	c := source.Client.Raw()
	for range 10 {
		etcdtest.Put(t, c, "k", "v")
	}
	compactAt(t, c, 5)
	var at segment.Revision
	c.KV = &movingOn{KV: c.KV, moveOn: func() {
		for range 10 {
			etcdtest.Put(t, c, "k", "v")
		}
		at = 15
		compactAt(t, c, at)
	}}
	w := &compactions{options: Options{}.withDefaults()}
	if floor, err := w.find(t.Context(), source); err != nil || floor != at {
		t.Errorf("found revision %d, %v; want %d", floor, err, at)
	}
}

package capture

import (
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
)

// grouper makes changes of a watch's responses. A response that is no fragment ends with a
// whole revision (server/storage/mvcc: watchable_store.go notifies by transaction, watcher
// batches end between revisions), or with what a compaction left of it (follower.begin).
type grouper struct {
	clock clock
	open  segment.Change // whose events still come; Revision 0: none
}

// clock tells between which moments a revision was committed. Its time never goes back.
type clock struct {
	now   time.Time
	known []seen
}

// seen: at that time etcd told that this was its head.
type seen struct {
	head segment.Revision
	at   time.Time
}

// tick takes the time of an answer. A clock that was set back stands still until it has
// caught up.
func (c *clock) tick(at time.Time) time.Time {
	if at.After(c.now) {
		c.now = at.Round(0)
	}
	return c.now
}

// see notes what etcd's head was at most when it was asked: an answer may have been long on its way.
func (c *clock) see(head segment.Revision, asked time.Time) {
	if n := len(c.known); n > 0 && c.known[n-1].head >= head {
		if c.known[n-1].head == head && asked.After(c.known[n-1].at) {
			c.known[n-1].at = asked
		}
		return
	}
	c.known = append(c.known, seen{head, asked})
}

// before is when etcd was last seen without a revision. What lies before that is of no use
// any more.
func (c *clock) before(revision segment.Revision) time.Time {
	i := 0
	for i+1 < len(c.known) && c.known[i+1].head < revision {
		i++
	}
	c.known = c.known[i:]
	if len(c.known) == 0 {
		return c.now
	}
	return c.known[0].at
}

// take gives the changes that a response completes.
func (g *grouper) take(response *pb.WatchResponse, at time.Time, emit func(segment.Change) error) error {
	upper := g.clock.tick(at)
	for _, event := range response.Events {
		revision := segment.Revision(event.GetKv().GetModRevision())
		if revision != g.open.Revision {
			if err := g.finish(emit); err != nil {
				return err
			}
			g.open = segment.Change{Revision: revision, Lower: g.clock.before(revision), Upper: upper}
		}
		one, err := newEvent(event)
		if err != nil {
			return fmt.Errorf("encode an event of revision %d: %w", revision, err)
		}
		g.open.Events = append(g.open.Events, one)
	}
	if response.Fragment {
		return nil
	}
	return g.finish(emit)
}

func (g *grouper) finish(emit func(segment.Change) error) error {
	change := g.open
	g.open = segment.Change{}
	if change.Revision == 0 {
		return nil
	}
	return emit(change)
}

// newEvent is an event as etcd's backend stores it: of a delete the key alone.
func newEvent(event *mvccpb.Event) (segment.Event, error) {
	kv := event.GetKv()
	if event.GetType() == mvccpb.Event_DELETE {
		kv = &mvccpb.KeyValue{Key: kv.GetKey()}
	}
	record, err := proto.MarshalOptions{Deterministic: true}.Marshal(kv)
	return segment.Event{Tombstone: event.GetType() == mvccpb.Event_DELETE, Record: record}, err
}

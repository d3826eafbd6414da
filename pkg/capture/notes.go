package capture

import (
	"context"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
)

const (
	// leasesEvery is how often all leases are listed.
	leasesEvery = 5 * time.Minute
	// askAtOnce bounds the calls for leases that are under way.
	askAtOnce = 16
)

// notes are what a watch does not tell: what leases were granted, compactions, hashes.
type notes struct {
	options Options
	known   map[segment.LeaseID]bool // their TTL was told
	owed    map[segment.LeaseID]bool // it could not be asked for yet
	listed  time.Time

	mu    sync.Mutex
	queue []segment.Record // of watch, to be passed on
}

func newNotes(o Options) *notes {
	return &notes{options: o, known: map[segment.LeaseID]bool{}, owed: map[segment.LeaseID]bool{}, listed: o.Now()}
}

// before tells what must be known before a change: the leases that it names first.
func (n *notes) before(ctx context.Context, source Source, c segment.Change) []segment.Record {
	var ids []segment.LeaseID
	for _, event := range c.Events {
		id := leaseOf(event)
		if id != 0 && !n.known[id] && !n.owed[id] && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return n.ask(ctx, source, ids)
}

// ask asks what leases were granted. Those that give no answer are owed.
func (n *notes) ask(ctx context.Context, source Source, ids []segment.LeaseID) (records []segment.Record) {
	if len(ids) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, n.options.Timeout)
	defer cancel()
	ttls := make([]int64, len(ids))
	var group errgroup.Group
	group.SetLimit(askAtOnce)
	for i, id := range ids {
		group.Go(func() error {
			ttls[i] = -1
			response, err := source.Client.Raw().TimeToLive(ctx, clientv3.LeaseID(id))
			if err == nil { // of a lease that is gone the TTL is -1, and what was granted 0
				ttls[i] = max(response.GrantedTTL, 0)
			}
			return nil
		})
	}
	_ = group.Wait() // none gives an error
	for i, id := range ids {
		if ttls[i] < 0 {
			n.owed[id] = true
			continue
		}
		delete(n.owed, id)
		n.known[id] = true
		records = append(records, segment.Lease{ID: id, TTL: ttls[i]})
	}
	return records
}

// now is what there is to tell at a moment when all changes are through.
func (n *notes) now(ctx context.Context, source Source) []segment.Record {
	var owed []segment.LeaseID
	for id := range n.owed {
		owed = append(owed, id)
	}
	records := n.ask(ctx, source, owed)
	if n.options.Now().Sub(n.listed) >= leasesEvery {
		records = append(records, n.list(ctx, source)...)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	records = append(records, n.queue...)
	n.queue = nil
	return records
}

// list tells all leases, and forgets those that are gone.
func (n *notes) list(ctx context.Context, source Source) []segment.Record {
	ctx, cancel := context.WithTimeout(ctx, n.options.Timeout)
	defer cancel()
	response, err := source.Client.Raw().Leases(ctx)
	if err != nil {
		return nil
	}
	n.listed = n.options.Now()
	all := segment.Leases{IDs: []segment.LeaseID{}}
	alive := map[segment.LeaseID]bool{}
	for _, lease := range response.Leases {
		id := segment.LeaseID(lease.ID)
		all.IDs = append(all.IDs, id)
		if n.known[id] {
			alive[id] = true
		}
	}
	n.known = alive
	slices.Sort(all.IDs)
	return []segment.Record{all}
}

func (n *notes) add(records ...segment.Record) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.queue = append(n.queue, records...)
}

// leaseOf is the lease of a put (field 6 of mvccpb.KeyValue); 0: none.
func leaseOf(event segment.Event) (lease segment.LeaseID) {
	b := event.Record
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return 0
		}
		b = b[n:]
		if field == 6 && kind == protowire.VarintType {
			v, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return 0
			}
			return segment.LeaseID(v)
		}
		if n = protowire.ConsumeFieldValue(field, kind, b); n < 0 {
			return 0
		}
		b = b[n:]
	}
	return 0
}

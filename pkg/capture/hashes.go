package capture

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
)

// slowHash is how long a hash may take: one that a member has kept from its compaction takes
// some 12 ms, and one that it has to make anew reads all that is stored.
const slowHash = 100 * time.Millisecond

// watch looks for compactions, and asks the members for their hash at each.
func (n *notes) watch(ctx context.Context) error {
	w := &compactions{options: n.options, slow: map[string]bool{}}
	ticker := time.NewTicker(n.options.Every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		for _, source := range n.options.Sources {
			records, err := w.look(ctx, source)
			if err == nil {
				n.add(records...)
				break
			}
		}
	}
}

// compactions knows to where etcd was compacted when it was looked at last.
type compactions struct {
	options Options
	floor   segment.Revision // 0: never looked

	mu   sync.Mutex
	slow map[string]bool // members that are not asked for hashes any more
}

func (w *compactions) tooSlow(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.slow[name] = true
}

func (w *compactions) isSlow(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.slow[name]
}

// look tells of a compaction since the last look. The first look only learns where it
// stands: whether the members keep a hash of that nobody knows.
func (w *compactions) look(ctx context.Context, source Source) ([]segment.Record, error) {
	floor, err := w.find(ctx, source)
	if err != nil {
		return nil, err
	}
	before := w.floor
	w.floor = floor
	if before == 0 || floor == before {
		return nil, nil
	}
	records := []segment.Record{segment.Compact{Revision: floor}}
	if w.options.Hashes {
		records = append(records, w.hashes(ctx, floor)...)
	}
	return records, nil
}

// find is the revision of the last compaction, at least 1: the lowest that can be read.
func (w *compactions) find(ctx context.Context, source Source) (segment.Revision, error) {
	can := func(revision segment.Revision) (bool, segment.Revision, error) {
		return readable(ctx, source.Client, revision, w.options.Timeout)
	}
	low := max(w.floor, 1)
	ok, _, err := can(low)
	if ok || err != nil {
		return low, err
	}
	for {
		_, high, err := can(0)           // the head
		for err == nil && high-low > 1 { // low is compacted, high could be read
			middle := low + (high-low)/2
			if ok, _, err = can(middle); ok {
				high = middle
			} else {
				low = middle
			}
		}
		if err != nil {
			return 0, err
		}
		if ok, _, err = can(high); ok || err != nil {
			return high, err
		}
		low = high // compacted meanwhile
	}
}

// hashes asks every member at once for its hash at the compaction that it has just done.
func (w *compactions) hashes(ctx context.Context, floor segment.Revision) (records []segment.Record) {
	found := make([]segment.Hash, len(w.options.Sources))
	var group errgroup.Group
	for i, source := range w.options.Sources {
		if w.isSlow(source.Name) {
			continue
		}
		group.Go(func() error {
			found[i] = w.hash(ctx, source, floor)
			return nil
		})
	}
	_ = group.Wait() // none gives an error
	for _, hash := range found {
		if !hash.IsZero() {
			records = append(records, hash)
		}
	}
	w.judge(ctx, found)
	return records
}

func (w *compactions) hash(ctx context.Context, source Source, floor segment.Revision) segment.Hash {
	ctx, cancel := context.WithTimeout(ctx, w.options.Timeout)
	defer cancel()
	began := time.Now()
	answer, err := source.Client.HashKV(ctx, int64(floor))
	if took := time.Since(began); took > slowHash {
		w.options.OnEvent(Event{Warning: fmt.Sprintf("%s took %s for a hash that it should have kept: it is not asked again", source.Name, took.Round(time.Millisecond))})
		w.tooSlow(source.Name)
	}
	if err != nil || answer.HashRevision != 0 && answer.HashRevision != int64(floor) {
		return segment.Hash{}
	}
	hash := segment.Hash{
		Member: segment.ID(answer.MemberID), Revision: floor,
		CompactRevision: segment.Revision(answer.CompactRevision), Hash: answer.Hash,
	}
	if hash.Validate() != nil {
		return segment.Hash{}
	}
	return hash
}

// judge tells how many members agree, and of how many that vote. Hashes of other
// compactions can't be compared.
func (w *compactions) judge(ctx context.Context, found []segment.Hash) {
	type span struct{ from, to segment.Revision }
	agree := map[span]int{}
	first := map[span]segment.Hash{}
	for _, hash := range found {
		if hash.IsZero() {
			continue
		}
		at := span{hash.CompactRevision, hash.Revision}
		if other, there := first[at]; there && other.Hash != hash.Hash {
			w.options.OnEvent(Event{Warning: fmt.Sprintf("CRITICAL: %v at revision %d: member %s has the hash %d, member %s %d",
				ErrDisagree, hash.Revision, other.Member, other.Hash, hash.Member, hash.Hash), Disagree: true})
			return
		}
		first[at] = hash
		agree[at]++
	}
	voters := w.voters(ctx)
	for at, count := range agree {
		w.options.OnEvent(Event{Attested: first[at], Agree: count, Voters: voters})
	}
}

// voters counts the members that vote; 0: nobody told.
func (w *compactions) voters(ctx context.Context) (count int) {
	for _, source := range w.options.Sources {
		ctx, cancel := context.WithTimeout(ctx, w.options.Timeout)
		members, err := source.Client.Members(ctx)
		cancel()
		if err != nil {
			continue
		}
		for _, member := range members {
			if !member.Learner {
				count++
			}
		}
		return count
	}
	return 0
}

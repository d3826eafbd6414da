package capture

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"golang.org/x/sync/errgroup"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
)

const (
	// inFlight bounds the responses on their way; etcd holds back the rest.
	inFlight = 8
	// maxHidden is how often in a row a watch may end with revisions missing before they
	// count as hidden: older servers tell a progress before its events (etcd 3.5.7).
	maxHidden = 3

	minPause, maxPause = 100 * time.Millisecond, 5 * time.Second
)

// Follow gives to take every record after a point, in the order of a segment: changes without
// a gap, and before each the leases that it is the first to name. It survives members and
// connections that end, and returns when ctx does, or take fails, or with ErrFork,
// ErrCompacted (a *CompactedError), ErrFarBehind, ErrHidden.
func Follow(ctx context.Context, at Point, options Options, take func(segment.Record) error) error {
	options = options.withDefaults()
	f := &follower{Options: options, at: at, take: take, notes: newNotes(options)}
	if at.Time.IsZero() {
		at.Time = time.Unix(1, 0) // an interval that says nothing is still a true one
	}
	f.group.clock = clock{now: at.Time.Round(0), known: []seen{{at.Revision, at.Time.Round(0)}}}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return f.run(ctx) })
	group.Go(func() error { return f.notes.watch(ctx) })
	return group.Wait()
}

type follower struct {
	Options
	at     Point
	group  grouper
	take   func(segment.Record) error
	notes  *notes
	hidden int
	asked  []time.Time      // for a progress, and there was no answer yet; the oldest first
	begins segment.Revision // what the last response began with
	doubt  bool             // whether that may be a part only
	next   int              // of Sources, to try
}

// takeError is the caller's.
type takeError struct{ error }

func (e *takeError) Unwrap() error { return e.error }

func (f *follower) run(ctx context.Context) error {
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		before := f.at.Revision
		err := f.once(ctx)
		var taken *takeError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &taken):
			return taken.error
		case final(err):
			return err
		}
		f.OnEvent(Event{Lost: err})
		if f.at.Revision > before {
			pause = minPause
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// final: another member would say the same.
func final(err error) bool {
	for _, one := range []error{ErrFork, ErrCompacted, ErrFarBehind, ErrHidden} {
		if errors.Is(err, one) {
			return true
		}
	}
	return false
}

// once follows one member until that ends.
func (f *follower) once(ctx context.Context) error {
	source := f.Sources[f.next%len(f.Sources)]
	f.next++
	began := f.Now()
	feed, err := open(ctx, source, f.at, f.Timeout)
	if err != nil {
		return fmt.Errorf("%s: %w", source.Name, err)
	}
	defer feed.close()
	f.group.open = segment.Change{}
	if feed.head == f.at.Revision {
		f.group.clock.see(feed.head, f.group.clock.tick(began)) // when it was asked, there was no more
	}
	group, ctx := errgroup.WithContext(ctx)
	answers := make(chan answer, inFlight)
	group.Go(func() error { feed.receive(ctx, answers, f.Now); return nil })
	group.Go(func() error {
		defer feed.close() // ends receive
		return f.listen(ctx, feed, answers)
	})
	if err := group.Wait(); err != nil {
		return fmt.Errorf("%s: %w", source.Name, err)
	}
	return nil
}

// listen takes what comes, and asks now and then whether that is all.
func (f *follower) listen(ctx context.Context, feed *feed, answers <-chan answer) error {
	ticker := time.NewTicker(f.Every)
	defer ticker.Stop()
	compared := f.at.Change.IsZero()
	f.asked = nil
	heard := time.Now()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
			if silent := time.Since(heard); silent > 3*f.Every+f.Timeout {
				return fmt.Errorf("the watch is silent since %s", silent.Round(time.Second))
			}
			f.asked = append(f.asked, f.group.clock.tick(f.Now()))
			if err := feed.ask(); err != nil {
				return fmt.Errorf("ask for a progress: %w", err)
			}
		case a := <-answers:
			if a.err != nil {
				return fmt.Errorf("watch: %w", a.err)
			}
			if err := f.answer(ctx, feed, a, &compared); err != nil {
				return err
			}
			heard = time.Now() // what took long was not etcd
		}
	}
}

func (f *follower) answer(ctx context.Context, feed *feed, a answer, compared *bool) error {
	r := a.response
	switch {
	case r.Canceled && r.CompactRevision != 0:
		return &CompactedError{segment.Revision(r.CompactRevision)}
	case r.Canceled:
		return fmt.Errorf("etcd ended the watch: %s", r.CancelReason)
	case r.Created:
		f.OnEvent(Event{Connected: feed.source.Name, Head: feed.head})
		return nil
	}
	progress := len(r.Events) == 0 && !r.Fragment
	f.begin(feed, r)
	err := f.group.take(r, a.at, func(c segment.Change) error {
		switch {
		case !*compared:
			*compared = true
			return f.compare(ctx, feed, c)
		case c.Revision == f.at.Revision && f.at.Change.IsZero():
			return nil // where the watch began: nobody asked for it
		}
		if c.Revision == f.begins && f.doubt {
			if err := f.refuseCompacted(ctx, feed, c.Revision); err != nil {
				return err
			}
		}
		return f.change(ctx, feed, c)
	})
	if err != nil || !progress {
		return err
	}
	return f.progress(ctx, feed, segment.Revision(r.Header.GetRevision()), *compared)
}

// begin notes with what revision a response begins, and whether etcd may have shown a part of it
// only. A watch that is behind etcd's head, were it by one, is answered from the database, where
// the first revision may be the very one of a compaction (server/storage/mvcc/watchable_store.go,
// syncWatchers). That keeps one event of each key, a delete if there is one (key_index.go,
// doCompact), and no revision puts a key twice (api/v3rpc/key.go, checkIntervals): what is lost
// leaves a delete behind.
func (f *follower) begin(feed *feed, r *pb.WatchResponse) {
	if len(r.Events) == 0 {
		return
	}
	if f.group.open.Revision == 0 {
		f.begins, f.doubt = segment.Revision(r.Events[0].GetKv().GetModRevision()), !feed.keepsDeletes
	}
	for _, event := range r.Events {
		if segment.Revision(event.GetKv().GetModRevision()) != f.begins {
			return
		}
		f.doubt = f.doubt || event.GetType() == mvccpb.Event_DELETE
	}
}

// refuseCompacted refuses a revision that etcd may have been compacted at when it sent it.
func (f *follower) refuseCompacted(ctx context.Context, feed *feed, revision segment.Revision) error {
	compacted, err := feed.compacted(ctx, revision, f.Timeout)
	switch {
	case err != nil:
		return fmt.Errorf("ask whether revision %d is compacted: %w", revision, err)
	case compacted:
		return &CompactedError{revision}
	}
	return nil
}

// compare holds the first change of a new watch against the last captured one.
func (f *follower) compare(ctx context.Context, feed *feed, c segment.Change) error {
	if c.Revision == f.at.Revision && c.DigestWithoutValues() == f.at.Change {
		return nil
	}
	if err := f.refuseCompacted(ctx, feed, f.at.Revision); err != nil {
		return err // it is no other history: it can't be told
	}
	if c.Revision != f.at.Revision {
		return f.missing(c.Revision - 1)
	}
	return fmt.Errorf("%w: the events of revision %d are others", ErrFork, c.Revision)
}

// missing: etcd has a revision whose events did not come. A new watch at the last one finds
// them, if anything does.
func (f *follower) missing(head segment.Revision) error {
	f.hidden++
	err := fmt.Errorf("etcd is at revision %d, and the events after %d did not come", head, f.at.Revision)
	if f.hidden >= maxHidden {
		return fmt.Errorf("%w: %w", ErrHidden, err)
	}
	return err
}

func (f *follower) change(ctx context.Context, feed *feed, c segment.Change) error {
	if c.Revision != f.at.Revision+1 {
		return f.missing(c.Revision - 1)
	}
	if err := c.Validate(); err != nil {
		return err
	}
	if err := f.pass(f.notes.before(ctx, feed.source, c)); err != nil {
		return err
	}
	if err := f.pass([]segment.Record{c}); err != nil {
		return err
	}
	f.at.Revision, f.at.Change, f.hidden = c.Revision, c.DigestWithoutValues(), 0
	return nil
}

// progress: etcd has sent all up to head.
func (f *follower) progress(ctx context.Context, feed *feed, head segment.Revision, compared bool) error {
	if len(f.asked) > 0 { // etcd leaves some without an answer: then this is a later one's, and still true
		f.group.clock.see(head, f.asked[0])
		f.asked = f.asked[1:]
	}
	switch {
	case !compared: // the comparison is still to come, unless there is nothing left to compare
		return f.refuseCompacted(ctx, feed, f.at.Revision)
	case head > f.at.Revision:
		return f.missing(head)
	case head < f.at.Revision:
		return nil // older than what came meanwhile
	}
	if err := f.pass(f.notes.now(ctx, feed.source)); err != nil {
		return err
	}
	return f.pass([]segment.Record{segment.Progress{Revision: head, Time: f.group.clock.now}})
}

func (f *follower) pass(records []segment.Record) error {
	for _, r := range records {
		if err := f.take(r); err != nil {
			return &takeError{err}
		}
	}
	return nil
}

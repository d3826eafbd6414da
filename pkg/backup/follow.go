package backup

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/capture"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/nameless"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

// ErrBaseNeeded: the changes can't go on from what is in the archive, and no base may be
// taken.
var ErrBaseNeeded = errors.New("a base is needed first")

const (
	// lastPut bounds what is still put when the caller ends a capture.
	lastPut = 30 * time.Second
	// idleEvery is how often it is noted that nothing happened.
	idleEvery = time.Minute
	// baseRetry is the first pause after a base that failed; it doubles up to Every.
	baseRetry = time.Minute
)

// TakeBase adds one base to an archive.
func TakeBase(ctx context.Context, options ArchiveOptions) (*BaseNotice, error) {
	s, err := newSession(ctx, options)
	if err != nil {
		return nil, err
	}
	if err := s.locate(ctx); err != nil {
		return nil, err
	}
	// No watch compares what the cluster shows: the base has to.
	s.single, s.pending = true, s.place.point.Revision > 0
	return s.base().take(ctx)
}

// Follow puts bases and every change into an archive until ctx ends; then what was captured
// is still put. It goes on from where the archive ends, if the cluster shows the same events
// there; else it opens another timeline. Errors are ErrSpoolFull, ErrBaseNeeded,
// store.ErrOtherCluster, capture.ErrHidden, and the first tries' own.
func Follow(ctx context.Context, options ArchiveOptions) error {
	s, err := newSession(ctx, options)
	if err != nil {
		return err
	}
	for first := true; ; first = false {
		if err := s.locateAgain(ctx, first); err != nil {
			return err
		}
		err := s.follow(ctx)
		if !s.again(err) {
			return err
		}
		s.reason = err
		s.options.OnNotice(Notice{Time: s.options.Now(), Warning: err.Error()})
	}
}

// locateAgain is locate that, once there was a capture, does not give up for a store or an
// etcd that does not answer.
func (s *session) locateAgain(ctx context.Context, first bool) error {
	for {
		err := s.locate(ctx)
		if err == nil || first || ctx.Err() != nil || errors.Is(err, ErrBaseNeeded) || errors.Is(err, store.ErrOtherCluster) {
			return err
		}
		s.tell(Notice{Err: err})
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(maxRetry):
		}
	}
}

// session is one writer's.
type session struct {
	options  ArchiveOptions
	writer   segment.WriterID
	identity segment.Identity
	reason   error       // why the capture could not go on where it was
	single   bool        // one base is taken, and nothing is followed
	disagree atomic.Bool // members hold different data: no base is taken any more

	place    *place
	point    capture.Point // from where the changes go on
	timeline store.TimelineID
	// pending: whether the changes go on in this timeline only a base can show.
	pending bool
	up      *uploader
}

func newSession(ctx context.Context, options ArchiveOptions) (*session, error) {
	options = options.withDefaults()
	nameless.Sweep(options.ScratchDir, options.Now())
	identity, err := identify(ctx, options)
	if err != nil {
		return nil, err
	}
	options.OnNotice = oneAtATime(options.OnNotice)
	return &session{options: options, writer: segment.WriterID(options.Random()), identity: identity}, nil
}

// oneAtATime keeps what several goroutines tell apart.
func oneAtATime(tell func(Notice)) func(Notice) {
	var mu sync.Mutex
	return func(n Notice) {
		mu.Lock()
		defer mu.Unlock()
		tell(n)
	}
}

// again: such an end only means that the capture has to begin anew, with a base.
func (s *session) again(err error) bool {
	for _, one := range []error{capture.ErrFork, capture.ErrCompacted, capture.ErrFarBehind, segment.ErrTooLarge} {
		if errors.Is(err, one) {
			return s.options.Every > 0
		}
	}
	return false
}

func (s *session) captureSources() (list []capture.Source) {
	for _, source := range s.options.Sources {
		list = append(list, capture.Source{Name: source.Name, Client: source.Client})
	}
	return list
}

// base is the next one to take.
func (s *session) base() *base {
	b := &base{options: s.options, writer: s.writer, identity: s.identity, timeline: s.timeline}
	if !s.pending {
		b.atLeast = s.place.point.Revision
		if s.up != nil {
			b.atLeast = max(b.atLeast, s.up.lastPut())
		}
	}
	if s.pending {
		b.compare, b.settle = s.place.point.Revision, s.settle
	}
	return b
}

// settle says, by what a base shows, whether it belongs to the timeline that was: its
// history must go back to the last captured revision, and show the same events there.
func (s *session) settle(ctx context.Context, _ store.Mark, c *BaseContents) (store.TimelineID, error) {
	was := s.place.point
	switch {
	case segment.Revision(c.Contents.CompactRevision) >= was.Revision && s.single && len(s.place.contents.Segments) == 0:
		return s.timeline, nil // of bases alone each stands for itself
	case segment.Revision(c.Contents.CompactRevision) >= was.Revision:
		detail := fmt.Sprintf("the base goes back to revision %d, and the archive ended at %d", c.Contents.CompactRevision, was.Revision)
		return s.newTimeline(ctx, store.Gap, detail)
	case was.Change.IsZero() || c.Change != was.Change:
		return s.newTimeline(ctx, store.Fork, fmt.Sprintf("the events of revision %d are others", was.Revision))
	}
	return s.timeline, nil
}

// follow captures until that ends, or ctx.
func (s *session) follow(ctx context.Context) error {
	spool := &spool{dir: s.options.ScratchDir, max: s.options.SpoolMax}
	s.up = newUploader()
	s.up.archive, s.up.identity, s.up.writer = s.options.Archive, s.identity, s.writer
	s.up.tell = s.tell
	s.up.failed = func(err error) { s.tell(Notice{Err: err}) }
	rec := &recorder{flush: s.options.Flush, spool: spool, seal: s.options.Archive.SealBody, now: s.options.Now, done: s.up.add}
	if !s.pending {
		s.up.decide(s.timeline, s.place.before)
	}
	err := s.work(ctx, rec)
	return s.finish(ctx, rec, err)
}

func (s *session) tell(n Notice) {
	n.Time = s.options.Now()
	s.options.OnNotice(n)
}

func (s *session) work(ctx context.Context, rec *recorder) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return capture.Follow(ctx, s.point, capture.Options{
			Sources: s.captureSources(), Every: s.options.Flush, Timeout: callTimeout, Hashes: true,
			OnEvent: s.captureEvent, Now: s.options.Now,
		}, rec.take)
	})
	group.Go(func() error { return s.flush(ctx, rec) })
	group.Go(func() error { return s.up.run(ctx) })
	if s.options.Every > 0 {
		group.Go(func() error { return s.bases(ctx) })
	}
	return group.Wait()
}

func (s *session) captureEvent(e capture.Event) {
	if e.Disagree {
		s.disagree.Store(true)
	}
	s.tell(Notice{Capture: &e})
}

// flush seals what is due, and notes when nothing happened.
func (s *session) flush(ctx context.Context, rec *recorder) error {
	ticker := time.NewTicker(max(s.options.Flush/10, 10*time.Millisecond))
	defer ticker.Stop()
	var noted time.Time
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		if err := rec.due(false); err != nil {
			return err
		}
		idle, ok := rec.idle()
		if !ok || s.up.busy() || idle.Time.Sub(noted) < idleEvery {
			continue
		}
		noted = idle.Time
		if err := s.noteIdle(ctx, idle); err != nil {
			s.tell(Notice{Err: err})
		}
	}
}

func (s *session) noteIdle(ctx context.Context, idle segment.Progress) error {
	ctx, cancel := context.WithTimeout(ctx, putTimeout)
	defer cancel()
	m := store.Mark{Revision: idle.Revision, Time: idle.Time.UTC().Truncate(time.Millisecond), Writer: s.writer}
	if err := s.options.Archive.PutIdle(ctx, s.up.decided(), m); err != nil {
		return err
	}
	s.tell(Notice{Idle: &idle})
	return nil
}

// bases takes one when it is due.
func (s *session) bases(ctx context.Context) error {
	due := s.place.lastBase.Add(s.options.Every)
	if s.pending || s.place.point.Revision == 0 {
		due = s.options.Now().Add(s.holdOff())
	}
	for pause := min(baseRetry, s.options.Every); ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(due.Sub(s.options.Now())):
		}
		began := s.options.Now()
		if s.disagree.Load() {
			s.tell(Notice{Err: fmt.Errorf("take a base: %w: which of them is right no base can tell", capture.ErrDisagree)})
			due = began.Add(s.options.Every)
			continue
		}
		notice, err := s.base().take(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			s.tell(Notice{Err: fmt.Errorf("take a base: %w", err)})
			due = s.options.Now().Add(pause)
			pause = min(2*pause, s.options.Every)
			continue
		}
		due, pause = began.Add(s.options.Every), min(baseRetry, s.options.Every)
		if s.pending {
			s.pending = false
			before := s.place.before
			if notice.Timeline != s.timeline {
				before = segment.Digest{}
			}
			s.timeline = notice.Timeline
			s.up.decide(s.timeline, before)
		}
		s.tell(Notice{Base: notice})
		if s.options.AfterBase != nil {
			if err := s.options.AfterBase(ctx); err != nil {
				s.tell(Notice{Err: fmt.Errorf("after the base: %w", err)})
			}
		}
	}
}

// holdOff is how long to wait before a base that has to be, when others began one lately and
// did not come to its end: a writer that is started again and again would else make etcd
// stream a snapshot each time.
func (s *session) holdOff() time.Duration {
	if s.place.contents == nil {
		return 0
	}
	recent := 0
	for _, m := range s.place.contents.Begun {
		if s.options.Now().Sub(m.Time) < time.Hour {
			recent++
		}
	}
	if recent == 0 {
		return 0
	}
	hold := min(time.Minute<<min(recent-1, 10), s.options.Every)
	s.tell(Notice{Warning: fmt.Sprintf("%d bases of the last hour were begun and are not whole: the next one is taken in %s", recent, hold)})
	return hold
}

// finish puts what was captured, bounded in time when it is the caller who ends.
func (s *session) finish(ctx context.Context, rec *recorder, err error) error {
	goesOn := s.again(err) && ctx.Err() == nil
	if sealErr := rec.due(true); sealErr != nil {
		err = errors.Join(err, sealErr) // what was sealed before is put all the same
	}
	if !goesOn {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), lastPut)
		defer cancel()
	}
	if idle, ok := rec.idle(); ok && !s.up.busy() {
		return errors.Join(err, s.noteIdle(ctx, idle))
	}
	if s.up.waiting() == 0 {
		return err
	}
	if s.up.decided() == "" {
		s.up.discard()
		return errors.Join(err, errors.New("what was captured is not put: no base has shown where it belongs"))
	}
	if putErr := s.up.drain(ctx); putErr != nil {
		n := s.up.waiting()
		s.up.discard()
		return errors.Join(err, fmt.Errorf("put the last %d segments: %w", n, putErr))
	}
	return err
}

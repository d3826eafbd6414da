package backup

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

const (
	// putTimeout ends a put that does not get on; it is tried again.
	putTimeout = time.Minute
	// minRetry and maxRetry are the pauses between tries to put.
	minRetry, maxRetry = 200 * time.Millisecond, 10 * time.Second
)

// uploader puts bodies into the archive in their order, and tries until each is there.
type uploader struct {
	archive  *store.Archive
	identity segment.Identity
	writer   segment.WriterID
	tell     func(Notice)
	failed   func(error)

	mu       sync.Mutex
	timeline store.TimelineID // empty: it is not decided yet
	before   segment.Digest   // of the last segment's envelope
	last     segment.Revision // that was put
	queue    []sealedBody
	changed  chan struct{} // something of these was
}

func newUploader() *uploader { return &uploader{changed: make(chan struct{}, 1)} }

func (u *uploader) wake() {
	select {
	case u.changed <- struct{}{}:
	default:
	}
}

// add queues a body.
func (u *uploader) add(b sealedBody) {
	u.mu.Lock()
	u.queue = append(u.queue, b)
	u.mu.Unlock()
	u.wake()
}

// decide says to which timeline the bodies belong.
func (u *uploader) decide(t store.TimelineID, before segment.Digest) {
	u.mu.Lock()
	u.timeline, u.before = t, before
	u.mu.Unlock()
	u.wake()
}

// next is the body to put now.
func (u *uploader) next() (b sealedBody, t store.TimelineID, before segment.Digest, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.timeline == "" || len(u.queue) == 0 {
		return b, "", before, false
	}
	return u.queue[0], u.timeline, u.before, true
}

func (u *uploader) waiting() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.queue)
}

// run puts what comes until ctx ends.
func (u *uploader) run(ctx context.Context) error {
	for {
		if err := u.drain(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-u.changed:
		}
	}
}

// drain puts all that waits.
func (u *uploader) drain(ctx context.Context) error {
	for {
		body, timeline, before, ok := u.next()
		if !ok {
			return nil
		}
		e := &segment.Envelope{
			Identity: u.identity, Timeline: string(timeline), Writer: u.writer,
			Summary: body.summary, Body: body.file.body(), Before: before,
		}
		if err := u.put(ctx, timeline, e, body); err != nil {
			return err
		}
		u.mu.Lock()
		u.queue, u.before, u.last = u.queue[1:], e.Digest(), e.Summary.Last
		u.mu.Unlock()
		size := body.file.size
		body.file.close()
		u.tell(Notice{Segment: &SegmentNotice{Summary: e.Summary, Bytes: size, Waiting: u.waiting()}})
	}
}

// put tries until the store has it. Only the caller's context ends that.
func (u *uploader) put(ctx context.Context, timeline store.TimelineID, e *segment.Envelope, body sealedBody) error {
	return retry(ctx, u.failed, func(ctx context.Context) error {
		return u.archive.PutSegment(ctx, timeline, e, body.file.reader())
	})
}

// retry tries until it goes, each try within putTimeout, and says why one didn't.
func retry(ctx context.Context, failed func(error), try func(context.Context) error) error {
	for pause := minRetry; ; pause = min(2*pause, maxRetry) {
		one, cancel := context.WithTimeout(ctx, putTimeout)
		err := try(one)
		if errors.Is(one.Err(), context.DeadlineExceeded) {
			err = fmt.Errorf("the store did not answer in %s: %w", putTimeout, err)
		}
		cancel()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		}
		failed(err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// busy: something waits to be put.
func (u *uploader) busy() bool { return u.waiting() > 0 || u.decided() == "" }

func (u *uploader) decided() store.TimelineID {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.timeline
}

func (u *uploader) lastPut() segment.Revision {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.last
}

// discard lets go of what is not put.
func (u *uploader) discard() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, b := range u.queue {
		b.file.close()
	}
	u.queue = nil
}

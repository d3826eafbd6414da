package backup

import (
	"context"
	"errors"
	"fmt"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/capture"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

// locate finds out where the changes go on, and opens a timeline if there has to be another.
func (s *session) locate(ctx context.Context) error {
	place, err := findPlace(ctx, s.options.Archive, s.identity)
	if err != nil {
		return err
	}
	s.place, s.pending = place, false
	asked := s.options.Now()
	head, cluster, err := capture.Head(ctx, s.captureSources(), callTimeout)
	if err != nil {
		return fmt.Errorf("read through etcd: %w", err)
	}
	fresh := capture.Point{Revision: head, Cluster: cluster, Time: asked}
	s.timeline, s.point = place.timeline.ID, fresh
	switch was := place.point; {
	case was.Revision == 0:
		return s.openTimeline(ctx, store.First, "there was nothing before")
	case errors.Is(s.reason, capture.ErrFork):
		return s.openTimeline(ctx, store.Fork, s.reason.Error())
	case head < was.Revision:
		return s.openTimeline(ctx, store.Fork, fmt.Sprintf("etcd is at revision %d, and had been at %d", head, was.Revision))
	case s.reason != nil, head-was.Revision > capture.MaxBehind, was.Change.IsZero():
		if s.options.Every <= 0 {
			return fmt.Errorf("%w: etcd is at revision %d, and the archive ends at %d", ErrBaseNeeded, head, was.Revision)
		}
		s.pending = true
	default:
		s.point = was
		s.point.Cluster = 0 // a cluster that was restored from itself may have another id
	}
	s.tellTimeline(place.timeline, false)
	return nil
}

func (s *session) openTimeline(ctx context.Context, reason store.Reason, detail string) error {
	if s.options.Every <= 0 {
		return fmt.Errorf("%w: %s", ErrBaseNeeded, detail)
	}
	if spare := s.place.spare; spare != nil && spare.timeline.Parent == s.place.timeline.ID {
		s.timeline, s.place = spare.timeline.ID, spare
		s.tellTimeline(spare.timeline, false)
		return nil
	}
	t, err := s.newTimeline(ctx, reason, detail)
	if err != nil {
		return err
	}
	s.timeline, s.place = t, &place{}
	return nil
}

func (s *session) newTimeline(ctx context.Context, reason store.Reason, detail string) (store.TimelineID, error) {
	now := s.options.Now().UTC()
	t := store.Timeline{
		ID: store.NewTimelineID(now, s.options.Random()), Opened: now, Reason: reason, Writer: s.writer,
		Identity: store.NewIdentity(s.identity), Parent: s.place.timeline.ID, After: s.place.point.Revision, Detail: detail,
	}
	if err := s.options.Archive.OpenTimeline(ctx, t); err != nil {
		return "", err
	}
	s.tellTimeline(t, true)
	return t.ID, nil
}

func (s *session) tellTimeline(t store.Timeline, opened bool) {
	s.options.OnNotice(Notice{Time: s.options.Now(), Timeline: &TimelineNotice{Timeline: t, Opened: opened, From: s.point.Revision}})
}

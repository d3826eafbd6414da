package backup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/capture"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

// place is where in an archive a writer goes on.
type place struct {
	timeline store.Timeline // ID empty: there is none
	contents *store.Contents
	point    capture.Point  // the last captured revision; Revision 0: none
	before   segment.Digest // of the newest segment's envelope; zero: none
	lastBase time.Time
	// spare is a timeline that was opened after this one and has no base yet.
	spare *place
}

// findPlace looks for the newest timeline and what it ends with. identity is compared with
// the archive's.
func findPlace(ctx context.Context, a *store.Archive, identity segment.Identity) (*place, error) {
	timelines, err := a.Timelines(ctx)
	if err != nil {
		return nil, err
	}
	best, spare := &place{}, (*place)(nil)
	for _, t := range timelines {
		if err := store.SameCluster(t.Identity.Segment(), identity); err != nil {
			return nil, fmt.Errorf("archive %s: %w", a.Location(), err)
		}
		p, err := endOf(ctx, a, t)
		if err != nil {
			return nil, err
		}
		switch {
		case p.point.Revision == 0:
			spare = p
		case !p.point.Time.Before(best.point.Time):
			best = p
		}
	}
	if spare != nil && !spare.timeline.Opened.Before(best.timeline.Opened) {
		best.spare = spare
	}
	return best, nil
}

// endOf finds what a timeline ends with.
func endOf(ctx context.Context, a *store.Archive, t store.Timeline) (*place, error) {
	contents, err := a.Contents(ctx, t)
	if err != nil {
		return nil, err
	}
	return endIn(ctx, a, contents)
}

func endIn(ctx context.Context, a *store.Archive, contents *store.Contents) (*place, error) {
	t := contents.Timeline
	p := &place{timeline: t, contents: contents}
	for _, b := range contents.Bases {
		if b.Time.After(p.lastBase) {
			p.lastBase = b.Time
		}
		if b.Info.Last >= p.point.Revision {
			p.point = capture.Point{Revision: b.Info.Last, Change: b.Info.LastChange, Time: b.Time}
		}
	}
	latest, at := contents.Latest()
	for _, s := range contents.Segments {
		if s.Last != latest || s.Last < p.point.Revision {
			continue
		}
		e, err := a.Envelope(ctx, t.ID, s)
		if errors.Is(err, store.ErrDamaged) { // it is as good as absent: what went before is the end
			return endIn(ctx, a, contents.Without(nil, []store.Segment{s}))
		}
		if err != nil {
			return nil, err
		}
		p.point = capture.Point{Revision: s.Last, Change: e.Summary.LastChange, Time: e.Summary.LastTime}
		p.before = e.Digest()
	}
	if p.point.Revision == latest && at.After(p.point.Time) {
		p.point.Time = at
	}
	return p, nil
}

// identify asks the members who they are.
func identify(ctx context.Context, o ArchiveOptions) (segment.Identity, error) {
	id := segment.Identity{KubeSystemUID: o.KubeSystemUID}
	var failed []error
	for _, source := range o.Sources {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		members, err := source.Client.Members(ctx)
		var status etcd.Status
		if err == nil {
			status, err = source.Client.Status(ctx)
		}
		cancel()
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", source.Name, err))
			continue
		}
		id.Cluster = segment.ID(status.ClusterID)
		for _, m := range members {
			id.Members = append(id.Members, segment.ID(m.ID))
		}
		slices.Sort(id.Members)
		return id, nil
	}
	return id, fmt.Errorf("ask etcd who it is: %w", errors.Join(failed...))
}

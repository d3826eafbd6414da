package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

func timelineText(n *backup.TimelineNotice) string {
	t := n.Timeline
	if !n.Opened {
		return fmt.Sprintf("goes on in timeline %s", t.ID)
	}
	text := fmt.Sprintf("opened timeline %s (%s)", t.ID, t.Reason)
	if t.Reason != store.First {
		text += ": " + t.Detail
	}
	return text
}

// followInto follows until it is stopped, and logs a line for everything that happens.
func (o *backupOptions) followInto(ctx context.Context, options backup.ArchiveOptions) (err error) {
	log := &followLog{out: o.Out, json: o.format.Structured(), every: o.every}
	watch, err := startMetrics(o.metrics, options.Archive.ID().String())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, watch.close()) }()
	options.OnNotice = func(n backup.Notice) {
		watch.see(n)
		log.see(n)
	}
	if !o.keep.all {
		options.AfterBase = func(ctx context.Context) error { return o.keep.apply(ctx, options.Archive, o.now(), log.pruned) }
	}
	o.endless = true
	err = backup.Follow(ctx, options)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		if err.Error() != context.Canceled.Error() { // not that alone
			log.line(o.now(), "error", err.Error(), nil)
		}
		log.line(o.now(), "stopped", "", map[string]any{})
		return context.Canceled
	}
	return err
}

// followLog writes a line for each thing that happens.
type followLog struct {
	out   io.Writer
	json  bool
	every time.Duration
}

func (l *followLog) see(n backup.Notice) {
	switch {
	case n.Segment != nil:
		s := n.Segment.Summary
		span := fmt.Sprintf("revisions %d to %d", s.First, s.Last)
		if s.First == s.Last {
			span = fmt.Sprintf("revision %d", s.First)
		}
		text := fmt.Sprintf("%s, %s, %s, captured up to %s", span, countText(s.Events, "event"), render.Bytes(n.Segment.Bytes), render.Time(s.LastTime))
		if n.Segment.Waiting > 0 {
			text += fmt.Sprintf(", %d more wait", n.Segment.Waiting)
		}
		l.line(n.Time, "segment", text, map[string]any{"first": s.First, "last": s.Last, "events": s.Events, "bytes": n.Segment.Bytes, "waiting": n.Segment.Waiting, "until": s.LastTime})
	case n.Base != nil:
		i := n.Base.Info
		l.line(n.Time, "base", fmt.Sprintf("revision %d, %d keys, %s stored as %s, from %s in %s; the next in %s",
			i.Last, i.Keys, render.Bytes(i.Size), render.Bytes(i.StoredSize), i.Member, render.Duration(i.Finished.Sub(i.Started)), l.every),
			map[string]any{"last": i.Last, "floor": i.Floor, "size": i.Size, "storedSize": i.StoredSize, "member": i.Member})
	case n.Idle != nil:
		l.line(n.Time, "idle", fmt.Sprintf("nothing after revision %d up to %s", n.Idle.Revision, render.Time(n.Idle.Time)), map[string]any{"last": n.Idle.Revision, "until": n.Idle.Time})
	case n.Timeline != nil:
		l.line(n.Time, "timeline", timelineText(n.Timeline), map[string]any{"timeline": n.Timeline.Timeline.ID, "opened": n.Timeline.Opened})
	case n.Warning != "":
		l.line(n.Time, "warning", n.Warning, nil)
	case n.Err != nil:
		l.line(n.Time, "error", n.Err.Error(), nil)
	case n.Capture != nil:
		l.capture(n)
	}
}

func (l *followLog) capture(n backup.Notice) {
	e := n.Capture
	switch {
	case e.Disagree:
		l.line(n.Time, "critical", e.Warning, nil)
	case e.Warning != "":
		l.line(n.Time, "warning", e.Warning, nil)
	case e.Lost != nil:
		l.line(n.Time, "lost", e.Lost.Error(), nil)
	case e.Connected != "":
		l.line(n.Time, "follow", fmt.Sprintf("through %s, which is at revision %d", e.Connected, e.Head), map[string]any{"member": e.Connected, "head": e.Head})
	case !e.Attested.IsZero():
		l.line(n.Time, "attested", fmt.Sprintf("revision %d: %d of %d members have the hash %d", e.Attested.Revision, e.Agree, e.Voters, e.Attested.Hash),
			map[string]any{"revision": e.Attested.Revision, "agree": e.Agree, "voters": e.Voters, "hash": e.Attested.Hash})
	}
}

func (l *followLog) pruned(p *store.Pruning) {
	l.line(time.Now(), "pruned", fmt.Sprintf("%d objects, %s", len(p.Names), render.Bytes(p.Bytes)), map[string]any{"objects": len(p.Names), "bytes": p.Bytes})
}

func (l *followLog) line(at time.Time, what, text string, fields map[string]any) {
	if !l.json {
		_, _ = fmt.Fprintln(l.out, strings.TrimRight(fmt.Sprintf("%s  %-9s %s", render.Time(at), what, render.Clean(text)), " "))
		return
	}
	entry := map[string]any{"time": at.UTC().Format(time.RFC3339Nano), "event": what, "text": text}
	for name, value := range fields {
		entry[name] = value
	}
	b, err := json.Marshal(entry)
	if err == nil {
		_, _ = l.out.Write(append(b, '\n'))
	}
}

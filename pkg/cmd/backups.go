package cmd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

const backupsExample = `  # What can be restored?
  kubectl etcd backups --archive archive

  # Every base
  kubectl etcd backups --archive archive -o wide`

const backupsLong = `Shows what an archive holds: its histories (timelines), and for each the moments that can be
restored, with the gaps between. It needs no identity: names and the documents beside them tell.`

// backupsOptions are those of "kubectl etcd backups".
type backupsOptions struct {
	*session
	archiveFlags
	etcd string
	now  func() time.Time
}

// newBackupsCommand builds "kubectl etcd backups".
func newBackupsCommand(s *session) *cobra.Command {
	o := &backupsOptions{session: s, now: time.Now}
	c := &cobra.Command{
		Use: "backups", Short: "Show what an archive holds, and which moments can be restored",
		Long: backupsLong, Example: backupsExample, GroupID: groupBackup, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.take(o.getenv)
			return o.run(c.Context())
		},
	}
	o.addPlace(c.Flags())
	c.Flags().StringVar(&o.etcd, "etcd", "", "which etcd of the cluster: main, events, …")
	return c
}

// history is what is shown of a timeline.
type history struct {
	store.Timeline
	Spans       []store.Span    `json:"restorable"`
	Gaps        []gap           `json:"gaps,omitempty"`
	Bases       []baseRow       `json:"bases"`
	Segments    int             `json:"segments"`
	Bytes       int64           `json:"bytes"`
	Last        int64           `json:"lastRevision"`
	LastTime    time.Time       `json:"lastTime,omitzero"`
	Verified    *store.Verified `json:"verified,omitempty"`
	Damaged     []string        `json:"damaged,omitempty"`
	Uncommitted []string        `json:"uncommitted,omitempty"`
	Strange     []string        `json:"strange,omitempty"`
}

// gap is a run of revisions that can't be restored.
type gap struct {
	First  segment.Revision `json:"first"`
	Last   segment.Revision `json:"last"`
	Pruned bool             `json:"pruned"`
}

type baseRow struct {
	Revision   int64     `json:"revision"`
	Floor      int64     `json:"floor"`
	Time       time.Time `json:"time"`
	Keys       int       `json:"keys"`
	Size       int64     `json:"size"`
	StoredSize int64     `json:"storedSize"`
	Member     string    `json:"member"`
	Version    string    `json:"serverVersion"`
	Sealed     bool      `json:"encrypted"`
}

func (o *backupsOptions) run(ctx context.Context) (err error) {
	a, closeArchive, err := o.read(ctx, o.session, o.etcd, store.Keys{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeArchive()) }()
	timelines, damage := a.Timelines(ctx)
	if damage != nil && !errors.Is(damage, store.ErrDamaged) {
		return damage
	}
	var list []history
	for _, t := range timelines {
		h, err := readHistory(ctx, a, t)
		if err != nil {
			return err
		}
		list = append(list, h)
	}
	if len(list) == 0 && damage == nil {
		return fmt.Errorf("archive %s is empty: %w", a.Location(), store.ErrNotFound)
	}
	return errors.Join(o.print(list), damage)
}

func readHistory(ctx context.Context, a *store.Archive, t store.Timeline) (history, error) {
	c, err := a.Contents(ctx, t)
	if err != nil {
		return history{}, err
	}
	h := history{Timeline: t, Spans: c.Spans(), Segments: len(c.Segments), Bytes: c.Bytes, Uncommitted: c.Uncommitted, Strange: c.Strange, Bases: []baseRow{}}
	h.Gaps = gapsOf(h.Spans, c.Pruned)
	last, at := c.Latest()
	h.Last, h.LastTime = int64(last), at
	for _, b := range c.Bases {
		h.Bases = append(h.Bases, baseRow{
			int64(b.Info.Last), int64(b.Info.Floor), b.Time, b.Info.Keys, b.Info.Size, b.Info.StoredSize, b.Info.Member, b.Info.ServerVersion, b.Sealed,
		})
	}
	for _, err := range c.Damaged {
		h.Damaged = append(h.Damaged, err.Error())
	}
	h.Verified, err = a.LastVerified(ctx, t.ID)
	if errors.Is(err, store.ErrDamaged) {
		h.Damaged, err = append(h.Damaged, err.Error()), nil
	}
	return h, err
}

func gapsOf(spans []store.Span, pruned []store.Hole) (gaps []gap) {
	for i := 1; i < len(spans); i++ {
		g := gap{First: spans[i-1].Last + 1, Last: spans[i].First - 1}
		for _, hole := range pruned {
			if hole.First <= g.First && g.Last <= hole.Last {
				g.Pruned = true
			}
		}
		gaps = append(gaps, g)
	}
	return gaps
}

func (o *backupsOptions) print(list []history) error {
	if o.format.Structured() {
		items := render.List{Kind: "ArchiveTimelineList"}
		for _, h := range list {
			items.Items = append(items.Items, render.Object{Kind: "ArchiveTimeline", Name: string(h.ID), Value: h})
		}
		return o.format.Print(o.Out, items)
	}
	s := o.screen()
	for i, h := range list {
		if i > 0 {
			s.Line()
		}
		o.view(s, h)
	}
	return s.Flush()
}

// view is the answer (up to when), the picture, and what is wrong.
func (o *backupsOptions) view(s *render.Screen, h history) {
	state, text := s.State("ok", render.Good), ""
	switch {
	case len(h.Damaged) > 0:
		state = s.State("damaged", render.Bad)
	case h.Last == 0:
		state = s.State("empty", render.Warn)
	case len(h.Gaps) > 0:
		state = s.State("gaps", render.Warn)
	}
	if h.Last > 0 {
		text = fmt.Sprintf(": can be restored up to revision %d, %s (%s ago)", h.Last, render.Time(h.LastTime), render.Duration(o.now().Sub(h.LastTime).Round(time.Second)))
	}
	s.Say(2, state, render.Cell{Text: text, Tone: render.Strong})
	fact(s, "timeline", "%s, opened as %s", h.ID, h.Reason)
	if h.Parent != "" {
		fact(s, "parent", "%s, which ends at revision %d: %s", h.Parent, h.After, h.Detail)
	}
	fact(s, "holds", "%s, %s, %s", countText(len(h.Bases), "base"), countText(h.Segments, "segment"), render.Bytes(h.Bytes))
	fact(s, "read back", "%s", verifiedText(h.Verified))
	for _, damage := range h.Damaged {
		fact(s, "damaged", "%s", damage)
	}
	if len(h.Uncommitted) > 0 {
		fact(s, "unfinished", "%s: bases that never became whole, or are being written", strings.Join(h.Uncommitted, ", "))
	}
	picture(s, h)
	if s.Wide {
		s.Line()
		s.Table(basesTable(h))
	}
}

func verifiedText(v *store.Verified) string {
	switch {
	case v == nil:
		return "never: kubectl etcd verify"
	case v.Faults > 0:
		return fmt.Sprintf("%s, with %d faults", render.Time(v.At), v.Faults)
	case v.Deep:
		return fmt.Sprintf("%s: restored and compared, to revision %d", render.Time(v.At), v.Last)
	case v.Opened:
		return fmt.Sprintf("%s: decrypted, to revision %d", render.Time(v.At), v.Last)
	}
	return fmt.Sprintf("%s: as stored, not decrypted, to revision %d", render.Time(v.At), v.Last)
}

// picture is a line for each run of moments, and for each gap between.
func picture(s *render.Screen, h history) {
	for i, span := range h.Spans {
		if i > 0 {
			g := h.Gaps[i-1]
			why := "not captured"
			if g.Pruned {
				why = "pruned"
			}
			s.Say(4, render.Cell{Text: "  "}, s.State(fmt.Sprintf("gap       %d to %d: %s", g.First, g.Last, why), render.Warn))
		}
		from := fmt.Sprintf("%d", span.First)
		if !span.From.IsZero() {
			from += " (" + render.Time(span.From) + ")"
		}
		s.Say(4, render.Cell{Text: "  "}, s.State(fmt.Sprintf("every moment from revision %s to %d (%s)", from, span.Last, render.Time(span.To)), render.Good))
	}
}

func basesTable(h history) render.Table {
	table := render.Table{Columns: []render.Column{
		{Title: "BASE", Right: true}, {Title: "BACK TO", Right: true}, {Title: "TIME"}, {Title: "KEYS", Right: true, Hide: 2},
		{Title: "SIZE", Right: true, Hide: 1}, {Title: "STORED", Right: true}, {Title: "MEMBER", Hide: 3}, {Title: "ETCD", Hide: 4},
	}}
	for _, b := range h.Bases {
		table.Rows = append(table.Rows, []render.Cell{
			{Text: fmt.Sprint(b.Revision)}, {Text: fmt.Sprint(max(b.Floor, 1))}, {Text: render.Time(b.Time)}, {Text: fmt.Sprint(b.Keys)},
			{Text: render.Bytes(b.Size)}, {Text: render.Bytes(b.StoredSize)}, {Text: b.Member}, {Text: dash(b.Version)},
		})
	}
	return table
}

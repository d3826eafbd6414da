package cmd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

const pruneExample = `  # What would go?
  kubectl etcd prune --archive archive --keep-within 48h --keep-daily 14 --dry-run

  # Let it go
  kubectl etcd prune --archive archive --keep-within 48h --keep-daily 14 --yes`

const pruneLong = `Takes out of an archive what no rule keeps. --keep-within and --keep-last keep every moment,
the others a base of each period. The newest base of each timeline stays, with all that
follows it, and so does what is younger than a day. What stays is read back first, as it is
stored. What is missing afterwards is noted in the archive: it is no damage.`

// pruneOptions are those of "kubectl etcd prune".
type pruneOptions struct {
	*session
	archiveFlags
	keep   keepFlags
	etcd   string
	dryRun bool
	yes    bool
	now    func() time.Time
}

// newPruneCommand builds "kubectl etcd prune".
func newPruneCommand(s *session) *cobra.Command {
	o := &pruneOptions{session: s, now: time.Now}
	c := &cobra.Command{
		Use: "prune", Short: "Take out of an archive what no rule keeps",
		Long: pruneLong, Example: pruneExample, GroupID: groupBackup, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.take(o.getenv)
			if err := o.keep.complete(); err != nil {
				return err
			}
			if o.keep.rules.IsZero() {
				return usagef("say what is kept: --keep-within 48h, --keep-daily 14, …")
			}
			return o.run(c.Context())
		},
	}
	o.addPlace(c.Flags())
	o.keep.add(c.Flags())
	c.Flags().StringVar(&o.etcd, "etcd", "", "which etcd of the cluster: main, events, …")
	c.Flags().BoolVar(&o.dryRun, "dry-run", false, "print what would go")
	c.Flags().BoolVar(&o.yes, "yes", false, "do not ask")
	return c
}

func (o *pruneOptions) run(ctx context.Context) (err error) {
	a, closeArchive, err := o.read(ctx, o.session, o.etcd, store.Keys{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeArchive()) }()
	plans, err := o.plan(ctx, a)
	if err != nil {
		return err
	}
	if err := o.print(plans); err != nil || o.dryRun || len(plans) == 0 {
		return err
	}
	if err := o.agreed(ctx, fmt.Sprintf("delete this from %s?", a.Location()), o.yes); err != nil {
		return err
	}
	for _, p := range plans {
		if err := o.keep.checkKept(ctx, a, p); err != nil {
			return fmt.Errorf("nothing was deleted, for what has to stay is not sound: %w", err)
		}
	}
	for _, p := range plans {
		if err := a.Prune(ctx, p); err != nil {
			return err
		}
		o.notice("deleted %d objects, %s", len(p.Names), render.Bytes(p.Bytes))
	}
	return nil
}

func (o *pruneOptions) plan(ctx context.Context, a *store.Archive) (plans []*store.Pruning, err error) {
	timelines, err := a.Timelines(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range timelines {
		c, err := a.Contents(ctx, t)
		if err != nil {
			return nil, err
		}
		if p := c.PlanPruning(o.keep.rules, o.now()); !p.Empty() {
			plans = append(plans, p)
		}
	}
	return plans, nil
}

func (o *pruneOptions) print(plans []*store.Pruning) error {
	if o.format.Structured() {
		items := render.List{Kind: "ArchivePruningList"}
		for _, p := range plans {
			items.Items = append(items.Items, render.Object{Kind: "ArchivePruning", Name: string(p.Timeline), Value: p})
		}
		return o.format.Print(o.Out, items)
	}
	s := o.screen()
	if len(plans) == 0 {
		s.Say(2, s.State("ok", render.Good), render.Cell{Text: ": nothing to prune", Tone: render.Strong})
	}
	for _, p := range plans {
		s.Say(2, render.Cell{Text: fmt.Sprintf("timeline %s: %s, %s and %s go, %s", p.Timeline, countText(len(p.Bases), "base"),
			countText(len(p.Segments), "segment"), countText(len(p.Idle)+len(p.Data), "other object"), render.Bytes(p.Bytes)), Tone: render.Strong})
		for _, b := range p.Kept {
			fact(s, "kept", "base of %s, revision %d", render.Time(b.Time), b.Info.Last)
		}
		for _, b := range p.Bases {
			fact(s, "goes", "base of %s, revision %d, %s", render.Time(b.Time), b.Info.Last, render.Bytes(b.Info.StoredSize))
		}
	}
	return s.Flush()
}

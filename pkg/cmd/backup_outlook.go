package cmd

import (
	"context"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
)

// outlookSample is how long --dry-run looks at the changes.
const outlookSample = 10 * time.Second

// outlook measures what a continuous backup would mean for this etcd.
func (o *backupOptions) outlook(ctx context.Context, r *reach, sources []backup.Source) error {
	progress := render.NewProgress(o.ErrOut, render.Detect(o.ErrOut, o.getenv, o.colors), "base")
	defer progress.Done()
	progress.Say("a base is streamed to nowhere, then the changes are looked at for " + outlookSample.String())
	out, err := backup.Measure(ctx, backup.ArchiveOptions{
		Sources: sources, Every: o.every, Flush: o.flush, Now: o.now,
		Snapshot: backup.Options{From: o.from, AbortAtQuota: o.quotaShare, Timeout: o.timeout},
		OnNotice: func(n backup.Notice) {
			if n.Progress != nil {
				showBackupEvent(progress, *n.Progress)
			}
		},
	}, outlookSample)
	if err != nil {
		return r.explainBackup(ctx, err)
	}
	progress.Done()
	if o.format.Structured() {
		return o.format.Print(o.Out, render.Object{Kind: "BackupOutlook", Name: r.cluster.Name, Value: out})
	}
	s := o.screen()
	viewOutlook(s, out, o.every, o.flush)
	return s.Flush()
}

func viewOutlook(s *render.Screen, out *backup.Outlook, every, flush time.Duration) {
	s.Line(render.Cell{Text: "plan: a base every " + every.String() + ", the changes every " + flush.String(), Tone: render.Strong})
	fact(s, "base", "%s from %s in %s, about %s compressed", render.Bytes(out.BaseSize), out.Member, render.Duration(out.Base), render.Bytes(out.BaseStored))
	fact(s, "meanwhile", "linearizable reads p99 %s, and %s without; the database may grow by %s", render.Duration(out.ReadsDuring), render.Duration(out.ReadsBefore), render.Bytes(out.Growth))
	fact(s, "changes", "%.1f revisions and %.1f events a second, over %s", out.RevisionsPerSecond, out.EventsPerSecond, out.Sampled)
	fact(s, "a day", "%s of bases and %s of changes, before anything is pruned", render.Bytes(out.BasesPerDay), render.Bytes(out.SegmentsPerDay))
	fact(s, "loss", "at worst %s, and the time of one put", out.WorstLoss)
	s.Line(render.Cell{Text: "nothing was written; without --dry-run it is done", Tone: render.Dim})
}

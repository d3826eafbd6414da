package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/nameless"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
)

// restoreSource is what is restored: a snapshot's file, or one that was made of an archive,
// or of a snapshot's past.
type restoreSource struct {
	snapshot *restore.Snapshot // nil: only the archive's plan was asked for
	label    string            // in place of the path of a scratch file
	scratch  *os.File          // without a name; nil: there is none
	archive  *archiveSource
	made     *made
	salvaged *restore.Salvaged
	loss     *restore.LossReport
}

// completeSource checks what says what is restored.
func (o *restoreOptions) completeSource() error {
	given := o.location != ""
	if len(o.trusted) > 0 && (o.fromFile != "" || o.fromDataDir != "") {
		return usagef("--trusted-writer is for an archive: nobody signs a snapshot's file or a data directory")
	}
	if o.fromFile == "" {
		if o.given() > 0 || given {
			o.take(o.getenv)
		}
	}
	switch {
	case o.fromDataDir != "" && (o.fromFile != "" || given):
		return usagef("--from-data-dir, --from-file and --archive exclude each other")
	case o.fromDataDir != "" && (o.latest || o.toTime != ""):
		return usagef("--latest and --to-time are for an archive: a data directory knows revisions, --to-revision")
	case o.fromDataDir != "":
		o.location = ""
		return nil
	case o.fromFile != "" && given:
		return usagef("--from-file and --archive exclude each other")
	case o.fromFile != "" && (o.latest || o.toTime != ""):
		return usagef("--latest and --to-time are for an archive: of a snapshot's past only revisions are known, --to-revision")
	case o.fromFile == "" && o.location == "" && o.given() > 0:
		return usagef("a moment of what? --archive LOCATION, or --from-file FILE with --to-revision")
	case o.location != "" && o.fromFile == "":
		return o.completeMoment(o.now())
	}
	return nil
}

// open makes what is restored. Of an archive, --dry-run only plans.
func (o *restoreOptions) open(ctx context.Context) (_ *restoreSource, err error) {
	s := &restoreSource{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.done())
		}
	}()
	if o.fromFile != "" && o.toRevision == 0 {
		s.snapshot, err = restore.Open(ctx, o.fromFile)
		return s, err
	}
	target := o.outDir + o.dataDir // one of them is empty
	if o.fromFile != "" {
		return s, o.rewind(ctx, s, target)
	}
	if o.fromDataDir != "" {
		return s, o.salvage(ctx, s, target)
	}
	etcdName := o.name
	if s.archive, err = o.openSource(ctx, o.session, etcdName, o.when); err != nil {
		return s, err
	}
	if s.loss, err = s.archive.loss(ctx); err != nil {
		if ctx.Err() != nil {
			return s, err
		}
		// It is no reason not to restore what is sound before it.
		o.notice("warning: what is undone can't be told: %v", err)
		err = nil
	}
	if o.dryRun {
		return s, nil
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
		return s, fmt.Errorf("make the target's folder: %w", err)
	}
	if err := s.makeScratch(target); err != nil {
		return s, err
	}
	if s.made, err = s.archive.write(ctx, s.scratch, func(step string) { o.notice("%s", step) }); err != nil {
		return s, err
	}
	s.label = fmt.Sprintf("%s, revision %d", s.archive.archive.Location(), s.made.Moment.Revision)
	s.snapshot, err = restore.OpenFile(ctx, s.scratch)
	return s, err
}

// makeScratch makes a file without a name on the target's own disk.
func (s *restoreSource) makeScratch(target string) (err error) {
	if s.scratch, err = nameless.Create(filepath.Dir(target)); err != nil {
		return fmt.Errorf("make a scratch file: %w", err)
	}
	return nil
}

// rewind makes the earlier revision of a snapshot's file.
func (o *restoreOptions) rewind(ctx context.Context, s *restoreSource, target string) error {
	whole, err := restore.Open(ctx, o.fromFile)
	if err != nil {
		return err
	}
	if o.toRevision > whole.Contents.Revision {
		return fmt.Errorf("%w: %s ends at revision %d", restore.ErrNotCaptured, o.fromFile, whole.Contents.Revision)
	}
	if err := s.makeScratch(target); err != nil {
		return err
	}
	moment, err := restore.WriteMoment(ctx, whole, o.toRevision, nothingMore, s.scratch)
	if err != nil {
		return err
	}
	s.made = &made{Moment: moment, Proof: &restore.Proof{Reason: "a snapshot alone carries none"}}
	s.label = fmt.Sprintf("%s, revision %d", o.fromFile, o.toRevision)
	s.snapshot, err = restore.OpenFile(ctx, s.scratch)
	return err
}

// salvage makes what a surviving data directory holds. Its file has a name as long as etcd's
// own code writes it.
func (o *restoreOptions) salvage(ctx context.Context, s *restoreSource, target string) error {
	path, err := scratchBeside(target)
	if err != nil {
		return err
	}
	if s.salvaged, err = restore.Salvage(ctx, o.fromDataDir, o.toRevision, path); err != nil {
		return err
	}
	if s.scratch, err = nameless.Adopt(path); err != nil {
		return err
	}
	s.label = fmt.Sprintf("%s, revision %d", o.fromDataDir, s.salvaged.Revision)
	s.snapshot, err = restore.OpenFile(ctx, s.scratch)
	return err
}

// highest is the highest revision that any history of the archive has.
func (s *restoreSource) highest() int64 {
	if s.archive == nil {
		return 0
	}
	return s.archive.highest
}

// newest is the last revision of the archive's timeline; 0: there is no archive.
func (s *restoreSource) newest() int64 {
	if s.archive == nil {
		return 0
	}
	return int64(s.archive.plan.Newest)
}

// done lets go of what was only needed on the way.
func (s *restoreSource) done() (err error) {
	if s.scratch != nil {
		err = nameless.Close(s.scratch)
	}
	if s.archive != nil {
		err = errors.Join(err, s.archive.close())
	}
	return err
}

// archivePlan is what --dry-run prints of a restore out of an archive.
type archivePlan struct {
	Archive  string    `json:"archive"`
	Timeline string    `json:"timeline"`
	Revision int64     `json:"revision"`
	Base     int64     `json:"base"`
	Segments int       `json:"segments"`
	Bytes    int64     `json:"bytes"`
	Newest   int64     `json:"newestRevision"`
	Until    time.Time `json:"newestTime"`

	Undone *restore.LossReport `json:"undone"`
}

func (o *restoreOptions) printArchivePlan(s *restoreSource) error {
	p := s.archive.plan
	if o.format.Structured() {
		return o.format.Print(o.Out, render.Object{Kind: "ArchiveRestorePlan", Name: string(p.Timeline.ID), Value: archivePlan{
			s.archive.archive.Location(), string(p.Timeline.ID), int64(p.Revision), int64(p.Chain.Base.Info.Last), len(p.Chain.Segments),
			p.Bytes, int64(p.Newest), p.NewestTime, s.loss,
		}})
	}
	screen := o.screen()
	screen.Line(render.Cell{Text: fmt.Sprintf("plan: restore revision %d", p.Revision), Tone: render.Strong})
	viewMoment(screen, s.archive, o.now())
	viewLoss(screen, s.loss, p.Revision, p.Newest)
	screen.Line(render.Cell{Text: "nothing was written; without --dry-run it is done", Tone: render.Dim})
	return screen.Flush()
}

// nothingMore are the changes after a snapshot that stands alone.
func nothingMore() (segment.Record, error) { return nil, io.EOF }

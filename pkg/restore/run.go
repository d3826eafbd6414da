package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/durable"
)

// Report is what Run did.
type Report struct {
	Plan     Plan          `json:"plan"`
	Built    []Built       `json:"built"`
	HashKV   uint32        `json:"hashKV"` // of the built data, before the bump
	Proven   bool          `json:"proven"` // HashKV of the result equals the snapshot's
	Duration time.Duration `json:"duration"`
}

// Built is one finished data directory.
type Built struct {
	Target
	Command []string `json:"command"` // the etcd command line that uses it, for a look or a single start
}

// Run carries out the plan. On an error, or when ctx ends, nothing of it is left.
//
// Every member is built in a directory of its own beside its target, from one copy of
// the snapshot whose sha256 is checked while it is made; what was built is read back
// and its HashKV compared with the snapshot's; then all are renamed into place.
// onStep, which may be nil, is told what begins.
func Run(ctx context.Context, plan *Plan, onStep func(string)) (report *Report, err error) {
	started := time.Now()
	b := &builder{plan: plan, onStep: onStep}
	if onStep == nil {
		b.onStep = func(string) {}
	}
	defer func() { err = errors.Join(err, b.cleanUp(err == nil)) }()
	for _, step := range []func(context.Context) error{b.prepare, b.skeletons, b.copyDatabase, b.prove, b.publish} {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	report = &Report{Plan: *plan, HashKV: plan.Snapshot.Contents.HashKV, Proven: b.proven}
	for _, target := range plan.Build {
		report.Built = append(report.Built, Built{Target: target, Command: command(plan, target)})
	}
	report.Duration = time.Since(started)
	return report, nil
}

// builder is a run under way.
type builder struct {
	plan    *Plan
	onStep  func(string)
	works   []work
	made    []string // directories above the targets that were not there before
	scratch string
	proven  bool
}

// work is the directory in which a member is built: it holds "member".
type work struct {
	target Target
	dir    string
	inside bool // dir is in the target, which is there and empty, not beside it
	placed bool
}

func (w work) member() string { return filepath.Join(w.dir, "member") }

func (w work) database() string { return filepath.Join(w.member(), "snap", "db") }

// prepare makes the working directories, after looking again whether the targets are
// vacant and whether there is room.
func (b *builder) prepare(context.Context) error {
	if err := checkSpace(b.plan); err != nil {
		return err
	}
	for _, target := range b.plan.Build {
		if err := b.makeWork(target); err != nil {
			return fmt.Errorf("restore member %s: %w", target.Name, err)
		}
	}
	return nil
}

func (b *builder) makeWork(target Target) error {
	if err := vacant(target.Dir); err != nil {
		return err
	}
	w, suffix := work{target: target}, ".restore-"+strings.TrimPrefix(b.plan.Token, "kubectl-etcd-")
	if _, err := os.Stat(target.Dir); err == nil {
		w.inside, w.dir = true, filepath.Join(target.Dir, suffix)
	} else {
		w.dir = filepath.Join(filepath.Dir(target.Dir), "."+filepath.Base(target.Dir)+suffix)
	}
	made, err := makeParents(filepath.Dir(w.dir))
	b.made = append(b.made, made...)
	if err != nil {
		return err
	}
	if err := os.Mkdir(w.dir, 0o700); err != nil {
		return err
	}
	b.works = append(b.works, w)
	return nil
}

// copyDatabase puts the database into every member: the first copy is verified and
// edited, the others are copies of it, for all members have the same.
func (b *builder) copyDatabase(ctx context.Context) error {
	b.onStep("copy and verify the snapshot")
	first := b.works[0].database()
	if b.plan.ScratchDir != "" {
		b.scratch = filepath.Join(b.plan.ScratchDir, ".restore-"+newToken()+".db")
		first = b.scratch
	}
	identity, err := readIdentity(b.works[0].database())
	if err != nil {
		return err
	}
	for _, w := range b.works {
		if err := os.Remove(w.database()); err != nil {
			return err
		}
	}
	if err := NewFile(first, func(f *os.File) error { return copySnapshot(ctx, b.plan.Snapshot, f) }); err != nil {
		return fmt.Errorf("copy the snapshot: %w", err)
	}
	if err := edit(first, b.plan, identity); err != nil {
		return fmt.Errorf("prepare the database: %w", err)
	}
	for _, w := range b.works {
		if w.database() == first {
			continue
		}
		b.onStep("copy the database to " + w.target.Name)
		if err := NewFile(w.database(), func(f *os.File) error { return copyFile(ctx, first, f) }); err != nil {
			return fmt.Errorf("copy the database to %s: %w", w.target.Name, err)
		}
	}
	return nil
}

// publish makes everything private and durable, then renames: all members or none.
func (b *builder) publish(ctx context.Context) error {
	b.onStep("put the data directories in place")
	for _, w := range b.works {
		if err := closeToOthers(w.dir); err != nil {
			return err
		}
		if err := durable.SyncTree(w.dir); err != nil {
			return err
		}
	}
	for i := range b.works {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := b.works[i].place(); err != nil {
			return fmt.Errorf("put %s in place: %w", b.works[i].target.Dir, err)
		}
	}
	for _, w := range b.works {
		if err := durable.SyncDir(filepath.Dir(w.target.Dir)); err != nil {
			return err
		}
	}
	return nil
}

// place renames. On a directory that is not empty by now the rename fails.
func (w *work) place() error {
	from, to := w.dir, w.target.Dir
	if w.inside {
		from, to = w.member(), filepath.Join(w.target.Dir, "member")
	}
	if _, err := os.Lstat(to); err == nil {
		return ErrExists
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	w.placed = true
	if !w.inside {
		return nil
	}
	if err := os.Remove(w.dir); err != nil {
		return err
	}
	return durable.SyncDir(w.target.Dir)
}

// cleanUp removes the working files, and unless done also everything that was put in
// place or made above it.
func (b *builder) cleanUp(done bool) error {
	var errs []error
	if b.scratch != "" {
		errs = append(errs, removeIfThere(b.scratch))
	}
	if done {
		return errors.Join(errs...)
	}
	for _, w := range b.works {
		errs = append(errs, os.RemoveAll(w.dir))
		switch {
		case w.placed && w.inside:
			errs = append(errs, os.RemoveAll(filepath.Join(w.target.Dir, "member")))
		case w.placed:
			errs = append(errs, os.RemoveAll(w.target.Dir))
		}
	}
	for i := len(b.made) - 1; i >= 0; i-- {
		errs = append(errs, removeIfThere(b.made[i]))
	}
	return errors.Join(errs...)
}

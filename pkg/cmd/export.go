package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/durable"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
)

const exportExample = `  # A plain etcd snapshot of the newest moment
  kubectl etcd export --archive archive --identity archive-key.txt --latest -f snapshot.db

  # Of a quarter of an hour ago
  kubectl etcd export --archive archive --identity archive-key.txt --to-time -15m -f snapshot.db`

const exportLong = `Writes a plain etcd snapshot of any moment that an archive holds, which etcdutl accepts, and
says how far it is proven to be what the cluster had. The file appears whole or not at all.
It holds every Secret of the cluster in the clear.`

// exportOptions are those of "kubectl etcd export".
type exportOptions struct {
	*session
	archiveFlags
	momentFlags
	etcd string
	file string
	now  func() time.Time
}

// newExportCommand builds "kubectl etcd export".
func newExportCommand(s *session) *cobra.Command {
	o := &exportOptions{session: s, now: time.Now}
	c := &cobra.Command{
		Use: "export", Short: "Write a plain etcd snapshot of any captured moment",
		Long: exportLong, Example: exportExample, GroupID: groupBackup, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.take(o.getenv)
			if o.file == "" {
				return usagef("-f FILE is missing: where shall the snapshot go?")
			}
			if err := o.completeMoment(o.now()); err != nil {
				return err
			}
			return o.run(c.Context())
		},
	}
	o.addReader(c.Flags())
	o.addMoment(c.Flags())
	c.Flags().StringVar(&o.etcd, "etcd", "", "which etcd of the cluster: main, events, …")
	c.Flags().StringVarP(&o.file, "file", "f", "", "the file to write; it must not exist")
	return c
}

func (o *exportOptions) run(ctx context.Context) (err error) {
	if _, err := os.Lstat(o.file); err == nil {
		return fmt.Errorf("%s: %w", o.file, os.ErrExist)
	}
	source, err := o.openSource(ctx, o.session, o.etcd, o.when)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.close()) }()
	scratch, err := scratchBeside(o.file)
	if err != nil {
		return err
	}
	var m *made
	err = restore.NewFile(scratch, func(file *os.File) (err error) {
		m, err = source.write(ctx, file, func(step string) { o.notice("%s", step) })
		return err
	})
	if err != nil {
		return err
	}
	if err := publish(scratch, o.file); err != nil {
		return errors.Join(err, os.Remove(scratch))
	}
	return o.print(source, m)
}

// publish gives a finished file its name, if nothing has it.
func publish(from, to string) error {
	if err := os.Link(from, to); err != nil {
		return fmt.Errorf("name the snapshot: %w", err)
	}
	if err := os.Remove(from); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(to))
}

func (o *exportOptions) print(source *archiveSource, m *made) error {
	if o.format.Structured() {
		return o.format.Print(o.Out, render.Object{Kind: "Export", Name: filepath.Base(o.file), Value: m})
	}
	s := o.screen()
	s.Say(2, s.State("ok", render.Good), render.Cell{Text: ": snapshot of revision " + fmt.Sprint(m.Moment.Revision) + " in " + o.file, Tone: render.Strong})
	viewMoment(s, source, o.now())
	viewMade(s, m)
	s.Line()
	s.Line(render.Cell{Text: "next: "}, render.Cell{Text: restoreCommand(o.file), Tone: render.Strong})
	return s.Flush()
}

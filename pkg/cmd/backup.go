package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
)

const backupExample = `  # A verified snapshot in this folder, named etcd-<cluster>-<UTC time>.db
  kubectl etcd backup --cacert ca.crt --cert client.crt --key client.key

  # Into a file of your own choice
  kubectl etcd backup -f snapshot.db --cacert ca.crt --cert client.crt --key client.key

  # Without a certificate at hand: a node's, read into memory
  kubectl etcd backup -f snapshot.db --helper

  # On a control plane node, as root, when no API server is left
  kubectl etcd backup --on-node -f snapshot.db

  # Every change from now on into an archive, a base every 30 minutes, until stopped
  kubectl etcd backup --follow --archive archive --recipient age1… --keep-within 48h --keep-daily 14

  # One more base into an archive
  kubectl etcd backup --archive archive --recipient age1…

  # Without the API server, and on into something else
  kubectl etcd backup -f - --endpoints https://10.0.0.1:2379 --cacert ca.crt --cert client.crt --key client.key | gzip > snapshot.db.gz`

const backupLong = `Writes one plain etcd snapshot, byte for byte what etcd streamed, from the follower with
the least to do. Its sha256 is checked on the way; the file appears whole or not at all, and
etcdutl of 3.5, 3.6 and 3.7 restores it as well. A member that fails on the way is given up
for another.

While a snapshot streams etcd can't reuse freed pages: it is stopped before the member's
database reaches --abort-at-quota of its quota.

Without a certificate at hand, --relay lets short-lived pods use the nodes' own, which stay
there, and --helper reads one node's into memory; at a terminal it is asked for.

Into an archive (--archive) goes a base, which is a snapshot under zstd and age, and with
--follow every change after it, so that every moment can be restored: kubectl etcd restore
--archive. An archive is encrypted to --recipient; who writes it needs no secret key.

A member without quorum gives a snapshot, too: what it had applied. The report says so, and
that writes which the other members acknowledged may be missing.`

// backupOptions are those of "kubectl etcd backup".
type backupOptions struct {
	target
	file         string
	from         string
	abortAtQuota string
	overwrite    bool
	archiving

	quotaShare float64
	now        func() time.Time
}

// newBackupCommand builds "kubectl etcd backup".
func newBackupCommand(s *session) *cobra.Command {
	return (&backupOptions{target: newTarget(s), now: time.Now}).command()
}

func (o *backupOptions) command() *cobra.Command {
	c := &cobra.Command{
		Use:     "backup [CLUSTER]",
		Short:   "Write one plain etcd snapshot, verified while it streams",
		Long:    backupLong,
		Example: backupExample,
		GroupID: groupBackup,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.complete(args); err != nil {
				return err
			}
			return o.run(c.Context())
		},
	}
	c.Flags().StringVarP(&o.file, "file", "f", "", "the file to write; - is standard output (default etcd-<cluster>-<UTC time>.db, here)")
	c.Flags().StringVar(&o.from, "from", "", "take it from this member, and from no other: its name, or its pod's or node's")
	c.Flags().StringVar(&o.abortAtQuota, "abort-at-quota", "90%", "stop when the member's database has grown to this share of its quota")
	c.Flags().BoolVar(&o.overwrite, "overwrite", false, "replace the file if it exists, once the new one is whole")
	o.addArchiveFlags(c.Flags())
	c.Flags().StringVar(&o.signKey, "sign-key", "", "with --archive: sign with this file's key, which kubectl etcd keygen --signing makes (or "+signKeyEnv+")")
	o.addFlags(c.Flags())
	return c
}

// addArchiveFlags adds those of a backup into an archive.
func (o *backupOptions) addArchiveFlags(flags *pflag.FlagSet) {
	o.addWriter(flags)
	flags.BoolVar(&o.follow, "follow", false, "go on until stopped: a base every --every, all changes every --flush")
	flags.DurationVar(&o.every, "every", 30*time.Minute, "with --follow: how often a base is taken")
	flags.DurationVar(&o.flush, "flush", 10*time.Second, "with --follow: how often changes are put; at most so much is lost")
	flags.BoolVar(&o.dryRun, "dry-run", false, "with --archive: measure what a continuous backup would mean here; nothing is written")
	flags.StringVar(&o.scratchDir, "scratch-dir", "", "folder for what is read back and what waits for the archive, encrypted and without a name (default the user's cache)")
	flags.StringVar(&o.spoolMax, "spool-max", "1GiB", "with --follow: how much may wait for the archive before it is given up")
	flags.StringVar(&o.rate, "rate", "0", "bytes of a base in a second, as 20MB; 0: as fast as it goes")
	flags.StringVar(&o.metrics, "metrics", "", "with --follow: serve Prometheus metrics on this address, as 127.0.0.1:9979")
	o.keep.add(flags)
	flags.StringVar(&o.uid, "cluster-uid", "", "with --endpoints or --on-node: the UID of the namespace kube-system, which tells clusters apart")
	flags.StringVar(&o.archiveEtcd, "archive-etcd", "", "the etcd's name in the archive (default main, events, …)")
	flags.BoolVar(&o.keep.all, "keep-all", false, "with --follow: never prune")
}

func (o *backupOptions) complete(args []string) (err error) {
	if err := o.target.complete(args); err != nil {
		return err
	}
	if o.quotaShare, err = parseShare(o.abortAtQuota); err != nil {
		return usagef("--abort-at-quota %w", err)
	}
	if err := o.completeArchive(); err != nil {
		return err
	}
	if o.toStdout() && o.format.Structured() {
		return usagef("-f - and -o %s both want standard output", o.output)
	}
	if o.toStdout() && render.Detect(o.Out, o.getenv, o.colors).TTY {
		return usagef("-f - would write the database to this terminal: redirect it, or name a file")
	}
	return nil
}

// parseShare reads "90%" or "0.9".
func parseShare(text string) (float64, error) {
	number, percent := strings.CutSuffix(text, "%")
	share, err := strconv.ParseFloat(number, 64)
	if percent {
		share /= 100
	}
	if err != nil || !(share > 0 && share <= 1) {
		return 0, fmt.Errorf("%q is not a share like 90%%", text)
	}
	return share, nil
}

func (o *backupOptions) toStdout() bool { return o.file == "-" }

func (o *backupOptions) run(ctx context.Context) (err error) {
	r, err := o.one(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for _, note := range r.notes {
		o.notice("note: %s", note)
	}
	sources, err := r.backupSources()
	if err != nil {
		return err
	}
	if o.from, err = r.resolveFrom(ctx, o.from, o.timeout); err != nil {
		return err
	}
	if o.toArchive() {
		return o.runArchive(ctx, r, sources)
	}
	report, err := o.save(ctx, r, sources)
	if err != nil {
		return r.explainBackup(ctx, err)
	}
	return o.print(report)
}

// explainBackup names the missing right where that is why no member gave a snapshot: a
// full disk stays a full disk, whatever was refused before.
func (r *reach) explainBackup(ctx context.Context, err error) error {
	if !errors.Is(err, backup.ErrNoMember) {
		return err
	}
	if r.way == wayNode {
		err = r.explainOnNode(err)
	}
	return cmp.Or(r.refused.explain(ctx), unfit(err))
}

// unfit gives a snapshot that came whole, but was found bad, its own hint: those of
// restore are about a file that somebody has.
func unfit(err error) error {
	if !errors.Is(err, restore.ErrDamaged) && !errors.Is(err, restore.ErrNotSnapshot) {
		return err
	}
	return withHint(err, "nothing was kept. It came as the member sent it, so that member's own database is in doubt: take it from another with --from, and look at all: kubectl etcd status")
}

// backupSources are the members that could be opened; none is an error.
func (r *reach) backupSources() ([]backup.Source, error) {
	var (
		sources []backup.Source
		errs    []error
	)
	for i, source := range r.sources {
		if source.Err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", source.Name, source.Err))
			continue
		}
		sources = append(sources, backup.Source{Name: source.Name, Client: r.clients[i], Quota: source.Quota})
	}
	if len(sources) == 0 {
		return nil, fmt.Errorf("no member can be reached: %w", errors.Join(errs...))
	}
	return sources, nil
}

func (o *backupOptions) save(ctx context.Context, r *reach, sources []backup.Source) (*backup.Report, error) {
	progress := render.NewProgress(o.ErrOut, render.Detect(o.ErrOut, o.getenv, o.colors), "snapshot")
	defer progress.Done()
	options := o.engineOptions(progress)
	if o.toStdout() {
		return backup.WriteTo(ctx, sources, o.Out, options)
	}
	options.Path = o.file
	if options.Path == "" {
		options.Path = defaultBackupName(r.cluster.Name, o.now())
	}
	path, err := filepath.Abs(options.Path)
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", options.Path, err)
	}
	o.notice("snapshot of %s into %s", r.cluster.Name, path)
	return backup.SaveFile(ctx, sources, options)
}

// engineOptions are what the flags say, but for the file.
func (o *backupOptions) engineOptions(progress *render.Progress) backup.Options {
	return backup.Options{
		From: o.from, AbortAtQuota: o.quotaShare, Overwrite: o.overwrite, Timeout: o.timeout,
		Inspect: restore.Inspect, OnEvent: func(e backup.Event) { showBackupEvent(progress, e) },
	}
}

// defaultBackupName is a name that Windows takes, too: no colons.
func defaultBackupName(cluster string, now time.Time) string {
	safe := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' {
			return r
		}
		return '-'
	}, cluster)
	return fmt.Sprintf("etcd-%s-%s.db", safe, now.UTC().Format("20060102T150405Z"))
}

func showBackupEvent(progress *render.Progress, e backup.Event) {
	switch {
	case e.Retry != nil:
		progress.Say(fmt.Sprintf("%s: %v; trying another member from the start", e.Source, e.Retry))
	case e.Note != "":
		progress.Say(e.Note)
	default:
		progress.Set(e.Bytes, e.Total)
	}
}

// print shows the report; beside a snapshot on stdout it goes to stderr.
func (o *backupOptions) print(report *backup.Report) error {
	if o.format.Structured() {
		return o.format.Print(o.Out, render.Object{Kind: "Backup", Name: filepath.Base(report.Path), Value: report})
	}
	w := o.Out
	if o.toStdout() {
		w = o.ErrOut
	}
	screen := o.screenOn(w)
	viewBackup(screen, report)
	return screen.Flush()
}

package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/capture"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

const tailExample = `  # What changes, as it happens
  kubectl etcd tail --cacert ca.crt --cert client.crt --key client.key

  # Who deleted it, and which revision is just before? Out of an archive
  kubectl etcd tail --archive archive --identity archive-key.txt --from -2h --deletes --resource deployments -n shop

  # Kubernetes' Events of yesterday, which Kubernetes itself has forgotten
  kubectl etcd tail --archive archive --identity archive-key.txt --from -30h --to -20h --resource events

  # The changes alone into an archive that has a base
  kubectl etcd tail --into archive --recipient age1… --cacert ca.crt --cert client.crt --key client.key`

const tailLong = `Shows changes of etcd: live, or with --archive those that were captured. Each line has the
revision, the time up to which it had happened, what was done, to which object, and the revision before:
kubectl etcd restore --to-revision with that goes back to just before it. Values are not shown.

With --into the changes go into an archive, as with backup --follow, but no base is taken:
there has to be one.`

// tailOptions are those of "kubectl etcd tail".
type tailOptions struct {
	target
	archiveFlags
	into      string
	from, to  string
	resources []string
	object    string
	deletes   bool
	flush     time.Duration
	scratch   string

	now func() time.Time
}

// newTailCommand builds "kubectl etcd tail".
func newTailCommand(s *session) *cobra.Command {
	o := &tailOptions{target: newTarget(s), now: time.Now}
	c := &cobra.Command{
		Use: "tail [CLUSTER]", Short: "Show changes as they happen, or out of an archive",
		Long: tailLong, Example: tailExample, GroupID: groupLook, Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.complete(args); err != nil {
				return err
			}
			return o.run(c.Context())
		},
	}
	flags := c.Flags()
	o.addReader(flags)
	flags.StringVar(&o.into, "into", "", "put the changes into this archive")
	flags.StringArrayVar(&o.recipients, "recipient", nil, "with --into: encrypt to this public key; again for several (or "+recipientEnv+")")
	flags.BoolVar(&o.noEncryption, "no-encryption", false, "with --into: write unencrypted, Secrets and all")
	flags.StringVar(&o.signKey, "sign-key", "", "with --into: sign with this file's key (or "+signKeyEnv+")")
	flags.StringVar(&o.from, "from", "", "with --archive: from this time on, as 2026-07-25T14:30:00Z or -2h, or from this revision")
	flags.StringVar(&o.to, "to", "", "with --archive: up to this time, or revision")
	flags.StringSliceVar(&o.resources, "resource", nil, "only these resources, as pods,certificates.cert-manager.io")
	flags.StringVar(&o.object, "name", "", "only objects of this name; * and ? stand for others")
	flags.BoolVar(&o.deletes, "deletes", false, "only what was deleted")
	flags.DurationVar(&o.flush, "flush", 10*time.Second, "with --into: how often changes are put")
	flags.StringVar(&o.scratch, "scratch-dir", "", "with --into: folder for what waits for the archive, encrypted (default the user's cache)")
	o.addFlags(flags)
	return c
}

func (o *tailOptions) complete(args []string) error {
	given := o.location != ""
	switch {
	case o.into != "" && given:
		return usagef("--archive reads, --into writes: not both")
	case !given && (o.from != "" || o.to != ""):
		return usagef("--from and --to are for --archive: a live tail begins now")
	}
	if err := o.linesOnly("tail"); err != nil {
		return err
	}
	if _, err := path.Match(o.object, ""); err != nil {
		return usagef("--name %q is no pattern", o.object)
	}
	o.take(o.getenv)
	if o.into != "" {
		o.location = o.into
	} else if !given {
		o.location = "" // the environment's archive is not meant by a live tail
	}
	if given {
		return nil
	}
	return o.target.complete(args)
}

func (o *tailOptions) run(ctx context.Context) error {
	switch {
	case o.into != "":
		return o.capture(ctx)
	case o.location != "":
		return o.read(ctx)
	}
	return o.live(ctx)
}

// capture puts changes into an archive that has a base.
func (o *tailOptions) capture(ctx context.Context) error {
	b := &backupOptions{target: o.target, now: o.now}
	b.archiveFlags, b.follow, b.flush, b.scratchDir = o.archiveFlags, true, o.flush, o.scratch
	b.spoolBytes, b.keep.all = 1<<30, true
	var err error
	if b.writer, err = o.writerKeys(o.session); err != nil {
		return err
	}
	r, err := o.one(ctx)
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // the connections are only read from
	sources, err := r.backupSources()
	if err != nil {
		return err
	}
	return b.runArchive(ctx, r, sources)
}

var errLive = errors.New("read through etcd")

// live follows etcd itself.
func (o *tailOptions) live(ctx context.Context) error {
	r, err := o.one(ctx)
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // the connections are only read from
	sources, err := r.backupSources()
	if err != nil {
		return err
	}
	var from []capture.Source
	for _, s := range sources {
		from = append(from, capture.Source{Name: s.Name, Client: s.Client})
	}
	rand.Shuffle(len(from), func(i, j int) { from[i], from[j] = from[j], from[i] })
	asked := o.now()
	head, _, err := capture.Head(ctx, from, o.timeout)
	if err != nil {
		return fmt.Errorf("%w: %w", errLive, err)
	}
	o.notice("from revision %d on, until Ctrl-C", head+1)
	o.endless = true
	return capture.Follow(ctx, capture.Point{Revision: head, Time: asked}, capture.Options{
		Sources: from, Timeout: o.timeout, Logger: o.log,
		OnEvent: func(e capture.Event) {
			if e.Lost != nil {
				o.notice("lost %v; another member is tried", e.Lost)
			}
		},
	}, o.print)
}

// read shows what an archive holds.
func (o *tailOptions) read(ctx context.Context) (err error) {
	keys, err := o.readerKeys(o.session)
	if err != nil {
		return err
	}
	a, closeArchive, err := o.archiveFlags.read(ctx, o.session, o.name, keys)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeArchive()) }()
	c, _, err := o.history(ctx, a)
	if err != nil {
		return err
	}
	within, err := o.within()
	if err != nil {
		return err
	}
	reading := restore.ReadSegments(ctx, a, c.Timeline.ID, within.choose(c.Segments))
	defer func() { err = errors.Join(err, reading.Close()) }()
	for {
		record, err := reading.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if change, ok := record.(segment.Change); ok && within.has(change) {
			if err := o.print(change); err != nil {
				return err
			}
		}
	}
}

// bounds are those of what is shown; zero: none.
type bounds struct {
	from, to           time.Time
	fromRevision, last segment.Revision
}

func (o *tailOptions) within() (b bounds, err error) {
	if b.from, b.fromRevision, err = o.bound(o.from); err != nil {
		return b, err
	}
	b.to, b.last, err = o.bound(o.to)
	return b, err
}

// bound reads a revision, or a time.
func (o *tailOptions) bound(text string) (time.Time, segment.Revision, error) {
	if text == "" {
		return time.Time{}, 0, nil
	}
	var revision int64
	if n, err := fmt.Sscanf(text+"\n", "%d\n", &revision); err == nil && n == 1 && revision > 0 {
		return time.Time{}, segment.Revision(revision), nil
	}
	at, err := parseMoment(text, o.now())
	if err != nil {
		return at, 0, usagef("%q is neither a revision nor a time, as 2026-07-25T14:30:00Z or -2h", text)
	}
	return at, 0, nil
}

// choose leaves out the segments that hold nothing within.
func (b bounds) choose(segments []store.Segment) []store.Segment {
	return slices.DeleteFunc(slices.Clone(segments), func(s store.Segment) bool {
		return s.Last < b.fromRevision || b.last > 0 && s.First > b.last || !b.from.IsZero() && s.Time.Add(time.Millisecond).Before(b.from)
	})
}

func (b bounds) has(c segment.Change) bool {
	return c.Revision >= b.fromRevision && (b.last == 0 || c.Revision <= b.last) &&
		!c.Upper.Before(b.from) && (b.to.IsZero() || !c.Lower.After(b.to))
}

package cmd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

const verifyExample = `  # Read everything back, decrypt it, and check it
  kubectl etcd verify --archive archive --identity archive-key.txt

  # Restore it as well, and compare with every hash that the cluster gave
  kubectl etcd verify --archive archive --identity archive-key.txt --deep

  # What can be checked without a secret key
  kubectl etcd verify --archive archive`

const verifyLong = `Reads every object of an archive back: its checksums, that revisions follow one another, that
each key's versions do, that segments name the ones before them, that what two writers have of
a revision is the same. Without an identity only
what is stored is checked, not what is in it.

--deep restores each unbroken run of revisions to its end in --scratch-dir and compares it
with every hash that the cluster's members gave.`

// verifyOptions are those of "kubectl etcd verify".
type verifyOptions struct {
	*session
	archiveFlags
	etcd    string
	deep    bool
	scratch string
	now     func() time.Time
}

// newVerifyCommand builds "kubectl etcd verify".
func newVerifyCommand(s *session) *cobra.Command {
	o := &verifyOptions{session: s, now: time.Now}
	c := &cobra.Command{
		Use: "verify", Short: "Read an archive back, and prove what it holds",
		Long: verifyLong, Example: verifyExample, GroupID: groupBackup, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.take(o.getenv)
			return o.run(c.Context())
		},
	}
	o.addReader(c.Flags())
	c.Flags().StringVar(&o.etcd, "etcd", "", "which etcd of the cluster: main, events, …")
	c.Flags().BoolVar(&o.deep, "deep", false, "restore to --scratch-dir as well, and compare hashes")
	c.Flags().StringVar(&o.scratch, "scratch-dir", ".", "with --deep: folder for the restored database, which has no name there")
	return c
}

func (o *verifyOptions) run(ctx context.Context) (err error) {
	keys, err := o.readerKeys(o.session)
	if err != nil {
		return err
	}
	a, closeArchive, err := o.read(ctx, o.session, o.etcd, keys)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeArchive()) }()
	timelines, damage := a.Timelines(ctx)
	if damage != nil && !errors.Is(damage, store.ErrDamaged) {
		return damage
	}
	var list []*restore.Verification
	for _, t := range timelines {
		if o.timeline != "" && o.timeline != string(t.ID) {
			continue
		}
		v, err := o.verify(ctx, a, t)
		if err != nil {
			return err
		}
		list = append(list, v)
	}
	if o.timeline != "" && len(list) == 0 {
		return withHint(fmt.Errorf("archive %s has no timeline %s: %w", a.Location(), o.timeline, store.ErrNotFound), "those that there are: kubectl etcd backups")
	}
	return errors.Join(o.print(list), damage, faulty(list))
}

func (o *verifyOptions) verify(ctx context.Context, a *store.Archive, t store.Timeline) (*restore.Verification, error) {
	c, err := a.Contents(ctx, t)
	if err != nil {
		return nil, err
	}
	sealed := len(o.identities) == 0 && encrypted(c)
	if sealed && o.deep {
		return nil, usagef("--deep opens the archive: give a secret key with --identity")
	}
	v, err := restore.Verify(ctx, a, c, restore.VerifyOptions{
		Sealed: sealed, Deep: o.deep, ScratchDir: o.scratch, OnStep: func(step string) { o.log.Info(step) },
	})
	if err != nil {
		return nil, err
	}
	last, _ := c.Latest()
	note := store.Verified{At: o.now().UTC(), Opened: v.Opened, Deep: v.Deep, Last: last, Faults: len(v.Faults)}
	if err := a.NoteVerified(ctx, t.ID, note); err != nil {
		o.notice("note: that it was verified can't be noted in the archive: %v", err)
	}
	return v, nil
}

// encrypted tells whether anything of it is.
func encrypted(c *store.Contents) bool {
	for _, b := range c.Bases {
		if b.Sealed {
			return true
		}
	}
	for _, s := range c.Segments {
		if s.Sealed {
			return true
		}
	}
	return false
}

// faulty is what the command ends with.
func faulty(list []*restore.Verification) error {
	count := 0
	for _, v := range list {
		count += len(v.Faults)
	}
	if count == 0 {
		return nil
	}
	return exitWith(exitDamaged)
}

func (o *verifyOptions) print(list []*restore.Verification) error {
	if o.format.Structured() {
		items := render.List{Kind: "ArchiveVerificationList"}
		for _, v := range list {
			items.Items = append(items.Items, render.Object{Kind: "ArchiveVerification", Name: string(v.Timeline), Value: v})
		}
		return o.format.Print(o.Out, items)
	}
	s := o.screen()
	for i, v := range list {
		if i > 0 {
			s.Line()
		}
		viewVerification(s, v)
	}
	return s.Flush()
}

func viewVerification(s *render.Screen, v *restore.Verification) {
	how := "decrypted and read"
	if !v.Opened {
		how = "read as stored, not decrypted"
	}
	if len(v.Faults) > 0 {
		s.Say(2, s.State("damaged", render.Bad), render.Cell{Text: fmt.Sprintf(": %s in timeline %s", countText(len(v.Faults), "fault"), v.Timeline), Tone: render.Strong})
	} else {
		s.Say(2, s.State("ok", render.Good), render.Cell{Text: fmt.Sprintf(": timeline %s is whole, %s", v.Timeline, how), Tone: render.Strong})
	}
	for _, f := range v.Faults {
		s.Item(f.Object+": "+f.Error, render.Bad)
	}
	fact(s, "read", "%s, %s, %s", countText(v.Bases, "base"), countText(v.Segments, "segment"), render.Bytes(v.Bytes))
	if v.Opened {
		fact(s, "revisions", "%d in segments, each one above the one before", v.Changes)
	}
	if len(v.Faults) == 0 {
		viewOrigin(s, v.Origin)
	}
	for _, span := range v.Spans {
		fact(s, "restores", "%d to %d", span.First, span.Last)
	}
	if len(v.Spans) == 0 {
		fact(s, "restores", "nothing: no base is whole")
	}
	if v.Deep {
		for _, p := range v.Proofs {
			viewProof(s, &p, p.Revision)
		}
		if len(v.Proofs) == 0 {
			fact(s, "hashes", "none to compare with: the cluster was not compacted while it was followed")
		}
	}
}

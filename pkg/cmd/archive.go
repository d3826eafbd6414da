package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"filippo.io/age"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

// The environment's twins of the archive's flags.
const (
	archiveEnv   = "KUBECTL_ETCD_ARCHIVE"
	recipientEnv = "KUBECTL_ETCD_RECIPIENT"
	identityEnv  = "KUBECTL_ETCD_IDENTITY"
	signKeyEnv   = "KUBECTL_ETCD_SIGN_KEY"
	trustedEnv   = "KUBECTL_ETCD_TRUSTED_WRITER"
)

// archiveFlags say where an archive is, how it is encrypted, and who signs it.
type archiveFlags struct {
	location     string
	archiveName  string
	recipients   []string
	noEncryption bool
	signKey      string
	identities   []string
	trusted      []string
	timeline     string
}

func (f *archiveFlags) addPlace(flags *pflag.FlagSet) {
	flags.StringVar(&f.location, "archive", "", "the archive: a folder, s3://BUCKET/PREFIX, gs://… or azblob://… (or "+archiveEnv+")")
	flags.StringVar(&f.archiveName, "archive-name", "", "the cluster's name in the archive (default its kubeconfig's name and UID; to read: the only one there)")
}

func (f *archiveFlags) addWriter(flags *pflag.FlagSet) {
	f.addPlace(flags)
	flags.StringArrayVar(&f.recipients, "recipient", nil, "encrypt to this public key: age1…, ssh-ed25519 …, or a file of such; again for several (or "+recipientEnv+")")
	flags.BoolVar(&f.noEncryption, "no-encryption", false, "write the archive unencrypted, Secrets and all")
}

func (f *archiveFlags) addReader(flags *pflag.FlagSet) {
	f.addPlace(flags)
	flags.StringArrayVar(&f.identities, "identity", nil, "open the archive with this file of secret keys, age's or ssh's; again for several (or "+identityEnv+")")
	flags.StringArrayVar(&f.trusted, "trusted-writer", nil, "refuse what is not signed by this key: ssh-ed25519 …, or a file of such; again for several (or "+trustedEnv+")")
	flags.StringVar(&f.timeline, "timeline", "", "which of the archive's histories, where there are several")
}

// take fills in from the environment what no flag says.
func (f *archiveFlags) take(getenv func(string) string) {
	if f.location == "" {
		f.location = getenv(archiveEnv)
	}
	if len(f.recipients) == 0 && !f.noEncryption {
		f.recipients = splitList(getenv(recipientEnv))
	}
	if len(f.identities) == 0 {
		f.identities = splitList(getenv(identityEnv))
	}
	if f.signKey == "" {
		f.signKey = getenv(signKeyEnv)
	}
	if len(f.trusted) == 0 {
		f.trusted = splitList(getenv(trustedEnv))
	}
}

func splitList(text string) (list []string) {
	for _, part := range strings.Split(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}

// signerHint is for a writer's key that can't be used.
const signerHint = "kubectl etcd keygen --signing -f FILE makes a writer's key: --sign-key takes the file, --trusted-writer its public half"

// writerKeys are the public keys to encrypt to, and the secret one to sign with.
func (f *archiveFlags) writerKeys(s *session) (keys store.Keys, err error) {
	if keys.Recipients, err = f.writerRecipients(s); err != nil || f.signKey == "" {
		return keys, err
	}
	if keys.Signer, err = store.ReadSigner(f.signKey); err != nil {
		return keys, withHint(err, signerHint)
	}
	return keys, nil
}

// writerRecipients are none only for who said so: nobody else gets an unencrypted archive.
func (f *archiveFlags) writerRecipients(s *session) ([]age.Recipient, error) {
	if f.noEncryption {
		if len(f.recipients) > 0 {
			return nil, usagef("--no-encryption and --recipient exclude each other")
		}
		return nil, nil
	}
	if len(f.recipients) == 0 {
		return nil, withHint(usagef("an archive holds every Secret of the cluster: say whom it is encrypted to with --recipient, or --no-encryption"),
			"make a key, and keep it away from the archive: kubectl etcd keygen -f archive-key.txt")
	}
	recipients, err := store.ParseRecipients(f.recipients)
	if err != nil {
		return nil, &usageError{err}
	}
	if len(recipients) == 1 {
		s.notice("warning: there is only one recipient: if its key is lost, so is the archive; give a second one")
	}
	return recipients, nil
}

func (f *archiveFlags) readerKeys(s *session) (keys store.Keys, err error) {
	if keys.Trusted, err = store.ParseWriters(f.trusted); err != nil {
		return keys, withHint(&usageError{err}, signerHint)
	}
	keys.Identities, err = store.ReadIdentities(f.identities, s.askPassphrase)
	return keys, err
}

// askPassphrase asks at a terminal, unseen.
func (s *session) askPassphrase(file string) (string, error) {
	in, ok := s.In.(*os.File)
	if !ok || !render.Detect(s.ErrOut, s.getenv, s.colors).TTY {
		return "", errors.New("it is encrypted with a passphrase, and this is no terminal to ask for it")
	}
	_, _ = fmt.Fprintf(s.ErrOut, "passphrase of %s: ", render.Clean(file))
	word, err := term.ReadPassword(int(in.Fd()))
	_, _ = fmt.Fprintln(s.ErrOut)
	return string(word), err
}

// openBucket opens the place.
func (f *archiveFlags) openBucket(ctx context.Context, create bool) (*store.Bucket, error) {
	if f.location == "" {
		return nil, withHint(usagef("which archive? --archive is missing"), "a folder, s3://BUCKET/PREFIX, gs://… or azblob://…: --archive LOCATION, or export "+archiveEnv+"=LOCATION")
	}
	return store.OpenBucket(ctx, f.location, create)
}

// read opens an archive to read from: the one that is named, or the only one there.
func (f *archiveFlags) read(ctx context.Context, s *session, etcdName string, keys store.Keys) (_ *store.Archive, _ func() error, err error) {
	bucket, err := f.openBucket(ctx, false)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, bucket.Close())
		}
	}()
	id, err := f.which(ctx, bucket, etcdName)
	if err != nil {
		return nil, nil, err
	}
	a, err := store.NewArchive(bucket, id, keys)
	if err != nil {
		return nil, nil, &usageError{err}
	}
	s.notice("archive of %s in %s", id, bucket)
	return a, bucket.Close, nil
}

func (f *archiveFlags) which(ctx context.Context, bucket *store.Bucket, etcdName string) (store.ArchiveID, error) {
	all, err := store.Archives(ctx, bucket)
	if err != nil {
		return store.ArchiveID{}, err
	}
	var names []string
	matching := slices.DeleteFunc(slices.Clone(all), func(id store.ArchiveID) bool {
		return f.archiveName != "" && id.Name != f.archiveName || etcdName != "" && id.Etcd != etcdName
	})
	if f.archiveName == "" && etcdName == "" && len(matching) > 1 { // of one cluster, the main one
		name := matching[0].Name
		same := !slices.ContainsFunc(matching, func(id store.ArchiveID) bool { return id.Name != name })
		if main := (store.ArchiveID{Name: name, Etcd: "main"}); same && slices.Contains(matching, main) {
			return main, nil
		}
	}
	for _, id := range all {
		names = append(names, id.String())
	}
	switch len(matching) {
	case 0:
		if len(all) == 0 {
			return store.ArchiveID{}, fmt.Errorf("%s holds no archive: %w", bucket, store.ErrNotFound)
		}
		return store.ArchiveID{}, withHint(fmt.Errorf("%s holds no such archive: %w", bucket, store.ErrNotFound),
			"there are "+strings.Join(names, ", ")+": --archive-name NAME --etcd NAME")
	case 1:
		return matching[0], nil
	}
	return store.ArchiveID{}, withHint(usagef("there are %d archives in %s: %s", len(matching), bucket, strings.Join(names, ", ")),
		"choose one: --archive-name "+matching[0].Name+" --etcd "+matching[0].Etcd)
}

// history is the timeline that is meant, with what it holds. Of several nobody chooses but
// the caller.
func (f *archiveFlags) history(ctx context.Context, a *store.Archive) (*store.Contents, []*store.Contents, error) {
	timelines, err := a.Timelines(ctx)
	if err != nil {
		return nil, nil, err
	}
	var all []*store.Contents
	var chosen []*store.Contents
	for _, t := range timelines {
		c, err := a.Contents(ctx, t)
		if err != nil {
			return nil, nil, err
		}
		all = append(all, c)
		if f.timeline == "" && len(c.Bases) > 0 || f.timeline == string(t.ID) {
			chosen = append(chosen, c)
		}
	}
	switch {
	case len(chosen) == 1:
		return chosen[0], all, nil
	case f.timeline != "":
		return nil, all, withHint(fmt.Errorf("archive %s has no timeline %s: %w", a.Location(), f.timeline, store.ErrNotFound), "those that there are: kubectl etcd backups")
	case len(chosen) == 0:
		return nil, all, fmt.Errorf("archive %s holds nothing that can be restored: %w", a.Location(), store.ErrNoBase)
	}
	lines := []string{fmt.Sprintf("the archive has %d histories:", len(chosen))}
	for _, c := range chosen {
		last, at := c.Latest()
		keys := 0
		if n := len(c.Bases); n > 0 {
			keys = c.Bases[n-1].Info.Keys
		}
		lines = append(lines, fmt.Sprintf("  %s  up to revision %d at %s, %d keys at its last base (%s)", c.Timeline.ID, last, render.Time(at), keys, c.Timeline.Reason))
	}
	return nil, all, withHint(usagef("%s", strings.Join(lines, "\n")), "choose one: --timeline "+string(chosen[len(chosen)-1].Timeline.ID))
}

package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

// minEvery is the shortest pause between bases: each makes a member stream all that it has.
const minEvery = 5 * time.Minute

// archiving is what a backup into an archive has besides that into a file.
type archiving struct {
	archiveFlags
	follow      bool
	dryRun      bool
	every       time.Duration
	flush       time.Duration
	scratchDir  string
	spoolMax    string
	rate        string
	metrics     string
	uid         string
	archiveEtcd string
	keep        keepFlags

	spoolBytes, rateBytes int64
	writer                store.Keys
}

// toArchive tells whether the backup goes into an archive.
func (o *backupOptions) toArchive() bool { return o.file == "" && o.location != "" }

// completeArchive checks what goes with an archive.
func (o *backupOptions) completeArchive() (err error) {
	given, signs := o.location != "", o.signKey != ""
	if o.file == "" {
		o.take(o.getenv)
	}
	switch {
	case given && o.file != "":
		return usagef("-f and --archive exclude each other: a file, or an archive")
	case o.dryRun && o.location == "":
		return usagef("--dry-run is about an archive: say which with --archive")
	case o.follow && o.location == "":
		return usagef("--follow goes into an archive: say which with --archive")
	case signs && !o.toArchive():
		return usagef("--sign-key signs what goes into an archive: say which with --archive")
	case !o.toArchive():
		return nil
	case o.every < minEvery:
		return usagef("--every %s: a base makes a member stream all that it holds; at least %s", o.every, minEvery)
	case o.flush < time.Second:
		return usagef("--flush %s: at least 1s", o.flush)
	}
	if o.follow {
		if err := o.linesOnly("--follow"); err != nil {
			return err
		}
	}
	if o.spoolBytes, err = parseBytes(o.spoolMax); err != nil {
		return usagef("--spool-max: %w", err)
	}
	if o.rateBytes, err = parseBytes(o.rate); err != nil {
		return usagef("--rate: %w", err)
	}
	if err := o.keep.complete(); err != nil {
		return err
	}
	if o.dryRun {
		return nil
	}
	if o.follow && o.keep.rules.IsZero() && !o.keep.all {
		return withHint(usagef("--follow adds a base every %s for ever: say how long they are kept", o.every),
			"as: --keep-within 48h --keep-daily 14, or --keep-all")
	}
	o.writer, err = o.writerKeys(o.session)
	return err
}

// parseBytes reads "1GiB", "500MB", "4096".
func parseBytes(text string) (int64, error) {
	number := strings.TrimRight(strings.TrimSuffix(strings.TrimSpace(text), "B"), "KMGTikmgt")
	unit := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(text), number))
	factor, ok := map[string]float64{
		"": 1, "B": 1, "K": 1e3, "KB": 1e3, "M": 1e6, "MB": 1e6, "G": 1e9, "GB": 1e9, "T": 1e12, "TB": 1e12,
		"Ki": 1 << 10, "KiB": 1 << 10, "Mi": 1 << 20, "MiB": 1 << 20, "Gi": 1 << 30, "GiB": 1 << 30, "Ti": 1 << 40, "TiB": 1 << 40,
	}[unit]
	value, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !ok || !(value >= 0 && value*factor < math.MaxInt64) {
		return 0, fmt.Errorf("%q is no size like 1GiB", text)
	}
	return int64(value * factor), nil
}

// runArchive adds a base, or follows.
func (o *backupOptions) runArchive(ctx context.Context, r *reach, sources []backup.Source) (err error) {
	if o.dryRun {
		return o.outlook(ctx, r, sources)
	}
	options, closeArchive, err := o.archiveOptions(ctx, r, sources)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeArchive()) }()
	if o.follow {
		return o.followInto(ctx, options)
	}
	progress := render.NewProgress(o.ErrOut, render.Detect(o.ErrOut, o.getenv, o.colors), "base")
	defer progress.Done()
	options.OnNotice = func(n backup.Notice) {
		switch {
		case n.Progress != nil:
			showBackupEvent(progress, *n.Progress)
		case n.Timeline != nil:
			progress.Say(timelineText(n.Timeline))
		}
	}
	notice, err := backup.TakeBase(ctx, options)
	if err != nil {
		return r.explainBackup(ctx, err)
	}
	progress.Done()
	return o.printBase(options.Archive, notice)
}

// archiveOptions are the engine's, with the archive opened.
func (o *backupOptions) archiveOptions(ctx context.Context, r *reach, sources []backup.Source) (backup.ArchiveOptions, func() error, error) {
	id, uid, err := o.archiveIdentity(ctx, r)
	if err != nil {
		return backup.ArchiveOptions{}, nil, err
	}
	bucket, err := o.openBucket(ctx, true)
	if err != nil {
		return backup.ArchiveOptions{}, nil, err
	}
	archive, err := store.NewArchive(bucket, id, o.writer)
	if err != nil {
		return backup.ArchiveOptions{}, nil, errors.Join(&usageError{err}, bucket.Close())
	}
	dir, err := o.scratch()
	if err != nil {
		return backup.ArchiveOptions{}, nil, errors.Join(err, bucket.Close())
	}
	o.notice("archive of %s in %s", id, bucket)
	return backup.ArchiveOptions{
		Archive: archive, Sources: sources, KubeSystemUID: uid, Every: o.every, Flush: o.flush,
		ScratchDir: dir, SpoolMax: o.spoolBytes, Rate: o.rateBytes,
		Snapshot: backup.Options{From: o.from, AbortAtQuota: o.quotaShare, Timeout: o.timeout},
		Inspect:  inspectBase, Now: o.now, Random: rand.Uint32,
	}, bucket.Close, nil
}

// scratch is a folder of the user's own: what stands there is encrypted, and has no name.
func (o *archiving) scratch() (string, error) {
	dir := o.scratchDir
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", withHint(fmt.Errorf("find a folder for scratch files: %w", err), "name one: --scratch-dir DIR")
		}
		dir = filepath.Join(cache, binaryName)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the scratch folder: %w", err)
	}
	return dir, nil
}

func inspectBase(ctx context.Context, r io.ReaderAt, size int64, at segment.Revision) (*backup.BaseContents, error) {
	b, err := restore.InspectBase(ctx, r, size, at)
	return (*backup.BaseContents)(b), err
}

// archiveIdentity is the archive's name, and what tells this Kubernetes from others.
func (o *backupOptions) archiveIdentity(ctx context.Context, r *reach) (store.ArchiveID, string, error) {
	id := store.ArchiveID{Name: o.archiveName, Etcd: r.cluster.Name}
	if len(o.urls) > 0 {
		id.Etcd = "main"
	}
	if o.archiveEtcd != "" {
		id.Etcd = o.archiveEtcd
	}
	if len(o.urls) > 0 || o.onNode {
		if id.Name == "" {
			return id, "", usagef("without Kubernetes nobody knows the cluster's name: say it with --archive-name")
		}
		return id, o.uid, nil
	}
	uid, err := o.kubeSystemUID(ctx)
	switch {
	case err != nil && id.Name == "":
		return id, "", withHint(fmt.Errorf("read the namespace kube-system, whose UID tells clusters apart: %w", err), "name the archive yourself: --archive-name NAME")
	case err != nil:
		o.notice("note: the namespace kube-system can't be read: this cluster is told from others by etcd's ids alone")
		return id, "", nil
	case id.Name == "":
		id.Name = archiveFolder(o.kubeClusterName(), uid)
	}
	return id, uid, nil
}

func (s *session) kubeSystemUID(ctx context.Context) (string, error) {
	config, err := s.restConfig()
	if err != nil {
		return "", err
	}
	client, err := newKubeClient(config)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	namespace, err := client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	return string(namespace.UID), nil
}

// kubeClusterName is how the kubeconfig calls the cluster.
func (s *session) kubeClusterName() string {
	if name := *s.kube.ClusterName; name != "" {
		return name
	}
	raw, err := s.kube.ToRawKubeConfigLoader().RawConfig()
	if err != nil {
		return "cluster"
	}
	name := *s.kube.Context
	if name == "" {
		name = raw.CurrentContext
	}
	if context := raw.Contexts[name]; context != nil {
		return context.Cluster
	}
	return "cluster"
}

func archiveFolder(cluster, uid string) string {
	safe := strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' {
			return r
		}
		return '-'
	}, cluster), "-._")
	if safe == "" {
		safe = "cluster"
	}
	return safe[:min(len(safe), 100)] + "-" + uid[:min(len(uid), 8)]
}

func (o *backupOptions) printBase(a *store.Archive, b *backup.BaseNotice) error {
	if o.format.Structured() {
		return o.format.Print(o.Out, render.Object{Kind: "ArchiveBase", Name: b.Mark.Revision.String(), Value: b})
	}
	s := o.screen()
	verdict := s.State("ok", render.Good)
	if len(b.Warnings) > 0 {
		verdict = s.State("warning", render.Warn)
	}
	s.Say(2, verdict, render.Cell{Text: ": base in " + a.Location(), Tone: render.Strong})
	for _, warning := range b.Warnings {
		fact(s, "warning", "%s", warning)
	}
	fact(s, "revision", "%d; every one from %d on can be restored", b.Info.Last, max(b.Info.Floor, 1))
	fact(s, "keys", "%d, %d leases", b.Info.Keys, b.Info.Leases)
	fact(s, "size", "%s, stored as %s", render.Bytes(b.Info.Size), render.Bytes(b.Info.StoredSize))
	fact(s, "member", "%s, etcd %s", b.Info.Member, dash(b.Info.ServerVersion))
	fact(s, "timeline", "%s", b.Timeline)
	fact(s, "took", "%s", render.Duration(b.Info.Finished.Sub(b.Info.Started)))
	s.Line()
	s.Line(render.Cell{Text: "next: "}, render.Cell{Text: "kubectl etcd backups", Tone: render.Strong})
	return s.Flush()
}

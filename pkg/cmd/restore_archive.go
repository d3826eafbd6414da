package cmd

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

// momentFlags say which moment is meant.
type momentFlags struct {
	latest     bool
	toTime     string
	toRevision int64

	when restore.When
}

func (f *momentFlags) addMoment(flags *pflag.FlagSet) {
	flags.BoolVar(&f.latest, "latest", false, "the newest moment that was captured")
	flags.StringVar(&f.toTime, "to-time", "", "the last revision that had surely been made by then: 2026-07-25T14:30:00Z, with an offset, or -15m")
	flags.Int64Var(&f.toRevision, "to-revision", 0, "exactly this revision")
}

func (f *momentFlags) given() int {
	n := 0
	for _, one := range []bool{f.latest, f.toTime != "", f.toRevision != 0} {
		if one {
			n++
		}
	}
	return n
}

func (f *momentFlags) completeMoment(now time.Time) (err error) {
	if f.given() != 1 {
		return usagef("say which moment: --latest, --to-time TIME, or --to-revision N")
	}
	if f.toRevision < 0 {
		return usagef("--to-revision %d: revisions begin at 1", f.toRevision)
	}
	f.when = restore.When{Latest: f.latest, Revision: segment.Revision(f.toRevision)}
	if f.toTime != "" {
		f.when.Time, err = parseMoment(f.toTime, now)
	}
	return err
}

// parseMoment reads a time that says its offset, or one that is relative to now.
func parseMoment(text string, now time.Time) (time.Time, error) {
	if strings.HasPrefix(text, "-") {
		ago, err := parseDays(strings.TrimPrefix(text, "-"))
		if err != nil || ago < 0 {
			return time.Time{}, usagef("--to-time %q is no time like -15m", text)
		}
		return now.Add(-ago), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04Z07:00", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04Z07:00"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usagef("--to-time %q: give the offset as well, as %s, or a relative one, as -15m", text, now.UTC().Format(time.RFC3339))
}

// archiveSource is what a restore out of an archive found.
type archiveSource struct {
	archive *store.Archive
	close   func() error
	plan    *restore.ArchivePlan
	asked   time.Time // of --to-time; else zero
	highest int64     // of all timelines
}

// openSource finds the moment in the archive.
func (f *archiveFlags) openSource(ctx context.Context, s *session, etcdName string, when restore.When) (_ *archiveSource, err error) {
	keys, err := f.readerKeys(s)
	if err != nil {
		return nil, err
	}
	a, closeArchive, err := f.read(ctx, s, etcdName, keys)
	if err != nil {
		return nil, err
	}
	source := &archiveSource{archive: a, close: closeArchive, asked: when.Time}
	defer func() {
		if err != nil {
			err = errors.Join(err, closeArchive())
		}
	}()
	chosen, all, err := f.history(ctx, a)
	if err != nil {
		return nil, err
	}
	for _, c := range all {
		last, _ := c.Latest()
		source.highest = max(source.highest, int64(last))
	}
	if source.plan, err = restore.PlanArchive(ctx, a, chosen, when); err != nil {
		return nil, err
	}
	return source, nil
}

// lossLimit is how many objects are named that hold things outside the cluster.
const lossLimit = 50

// loss sums up what happened after the moment: what a restore to it undoes. Of a moment that a
// base is rewound to, the base tells the rest.
func (a *archiveSource) loss(ctx context.Context) (_ *restore.LossReport, err error) {
	var loss restore.Loss
	last := a.plan.Revision
	reading := restore.ReadSegments(ctx, a.archive, a.plan.Timeline.ID, a.plan.Rest)
	defer func() { err = errors.Join(err, reading.Close()) }()
	for {
		record, err := reading.Next()
		if errors.Is(err, io.EOF) {
			report := loss.Report(lossLimit)
			return &report, nil
		}
		if err != nil {
			return nil, err
		}
		change, ok := record.(segment.Change)
		if !ok || change.Revision <= last {
			continue
		}
		last = change.Revision
		if err := loss.Add(change); err != nil {
			return nil, err
		}
	}
}

func viewLoss(s *render.Screen, l *restore.LossReport, moment, newest segment.Revision) {
	if l == nil {
		fact(s, "undone", "not known: what was captured after it can't be read")
		return
	}
	switch {
	case l.Revisions == 0 && moment < newest:
		fact(s, "undone", "revisions %d to %d, which stand in bases only: what they did is not listed", moment+1, newest)
		return
	case l.Revisions == 0:
		fact(s, "undone", "nothing that was captured")
		return
	}
	fact(s, "undone", "revisions %d to %d", l.First, l.Last)
	if l.Last < int64(newest) {
		fact(s, "", "what came after %d, up to %d, is undone as well; it stands in bases only", l.Last, newest)
	}
	for _, r := range l.Resources {
		fact(s, "", "%-24s %d created, %d changed, %d deleted", r.Resource, r.Created, r.Changed, r.Deleted)
	}
	for _, o := range l.Outside {
		s.Say(4, render.Cell{Text: "  "}, s.State(fmt.Sprintf("%s was %s: %s", o.Object, o.Change, o.Why), render.Warn))
	}
	if l.More > 0 {
		fact(s, "", "and %d more objects that hold something outside the cluster", l.More)
	}
	if l.Unread > 0 {
		fact(s, "", "%d objects can't be read (encrypted, unknown): they may hold more", l.Unread)
	}
}

// made is a moment that was written, and how far it is proven.
type made struct {
	Moment *restore.Moment `json:"moment"`
	Proof  *restore.Proof  `json:"proof"`
	Origin *store.Origin   `json:"origin,omitempty"` // of an archive
}

// write makes the moment's snapshot in an empty file, and proves it.
func (a *archiveSource) write(ctx context.Context, file *os.File, say func(string)) (*made, error) {
	p := a.plan
	say(fmt.Sprintf("reading the base of revision %d, %s", p.Chain.Base.Info.Last, render.Bytes(p.Chain.Base.Info.StoredSize)))
	base, err := restore.FetchBase(ctx, a.archive, p.Timeline.ID, p.Chain.Base, file)
	if err != nil {
		return nil, err
	}
	reading := restore.ReadChain(ctx, a.archive, p.Timeline.ID, p.Chain)
	if n := len(p.Chain.Segments); n > 0 {
		say(fmt.Sprintf("applying %d segments up to revision %d", n, p.Revision))
	}
	moment, err := restore.TurnInto(ctx, base, int64(p.Revision), reading.Next)
	if err := errors.Join(err, reading.Close()); err != nil {
		return nil, err
	}
	proof, err := restore.Prove(ctx, file, moment, len(p.Chain.Base.Info.Identity.Members))
	if err != nil {
		return nil, err
	}
	origin := a.archive.Origin()
	return &made{moment, proof, &origin}, nil
}

// scratchBeside is a name for a file on the target's own disk.
func scratchBeside(target string) (string, error) {
	dir, err := filepath.Abs(filepath.Dir(target))
	if err != nil {
		return "", err
	}
	var b [4]byte
	_, _ = rand.Read(b[:]) // it never fails
	return filepath.Join(dir, ".kubectl-etcd-"+hex.EncodeToString(b[:])+".part"), nil
}

// viewMoment is what is said of a moment in an archive.
func viewMoment(s *render.Screen, a *archiveSource, now time.Time) {
	p := a.plan
	fact(s, "archive", "%s, timeline %s", a.archive.Location(), p.Timeline.ID)
	if !a.asked.IsZero() {
		fact(s, "asked for", "%s", momentText(a.asked, now))
	}
	fact(s, "moment", "revision %d", p.Revision)
	fact(s, "newest", "revision %d at %s", p.Newest, momentText(p.NewestTime, now))
	base := p.Chain.Base
	fact(s, "base", "revision %d of %s, from %s", base.Info.Last, render.Time(base.Time), base.Info.Member)
	if base.Info.Last > p.Revision {
		fact(s, "rewound", "from the base's revision %d: leases that were revoked since are not known", base.Info.Last)
	}
	fact(s, "reads", "%d objects, %s", 1+len(p.Chain.Segments), render.Bytes(p.Bytes))
}

// momentText is a time as it is written in the archive, as it was here, and how long ago.
func momentText(t, now time.Time) string {
	return fmt.Sprintf("%s (%s, %s ago)", render.Time(t), t.Local().Format("Mon 15:04:05 MST"), render.Duration(now.Sub(t).Round(time.Second)))
}

func viewMade(s *render.Screen, m *made) {
	if m.Moment.Lower.IsZero() {
		fact(s, "made at", "not known: it is the base's own past")
	} else {
		fact(s, "made at", "between %s and %s", timeText(m.Moment.Lower), timeText(m.Moment.Upper))
	}
	fact(s, "applied", "%s; %s taken out", countText(m.Moment.Applied, "event"), countText(m.Moment.Rewound, "record"))
	if n := len(m.Moment.StandIns); n > 0 {
		fact(s, "leases", "of %d only the id is known: they end in %s", n, time.Duration(restore.StandInTTL)*time.Second)
	}
	viewProof(s, m.Proof, segment.Revision(m.Moment.Revision))
	if m.Origin != nil {
		viewOrigin(s, *m.Origin)
	}
}

func viewOrigin(s *render.Screen, o store.Origin) {
	if !o.Proven {
		fact(s, "origin", "not proven: --trusted-writer refuses what that writer did not sign")
		return
	}
	fact(s, "origin", "written by %s", strings.Join(o.Writers, " or "))
}

func viewProof(s *render.Screen, p *restore.Proof, revision segment.Revision) {
	switch {
	case p.Revision == 0:
		fact(s, "proof", "no hash of the source's: %s. Complete by its revisions and checksums", p.Reason)
		return
	case p.Proven:
		fact(s, "proof", "HashKV %d at revision %d, as %d of %d members of the source had it", p.Hash, p.Revision, len(p.Members), p.Voters)
	default:
		fact(s, "proof", "HashKV %d at revision %d, but %s", p.Hash, p.Revision, p.Reason)
	}
	if revision > p.Revision {
		fact(s, "", "from there to %d by revisions without a gap, and checksums", revision)
	}
}

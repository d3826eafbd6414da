package restore

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/nameless"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

// Fault is something that is wrong in an archive.
type Fault struct {
	Object string `json:"object"`
	Error  string `json:"error"`
}

// Verification is what a look at all of a timeline's objects found.
type Verification struct {
	Timeline store.TimelineID `json:"timeline"`
	Opened   bool             `json:"opened"` // everything was decrypted
	Bases    int              `json:"bases"`
	Segments int              `json:"segments"`
	Changes  int64            `json:"revisions"`
	Bytes    int64            `json:"bytes"`
	// Spans are what can be restored of what was found whole.
	Spans  []store.Span `json:"spans"`
	Faults []Fault      `json:"faults,omitempty"`
	// Proofs are those of a deep look: one for each unbroken run of revisions.
	Proofs []Proof `json:"proofs,omitempty"`
	Deep   bool    `json:"deep"`
	// Origin is that of all of it; while there are faults it is not proven.
	Origin store.Origin `json:"origin"`
}

func (v *Verification) fault(object string, err error) {
	v.Faults = append(v.Faults, Fault{object, err.Error()})
}

// VerifyOptions say how much is looked at.
type VerifyOptions struct {
	// Sealed looks only at what can be seen without an identity.
	Sealed bool
	// Deep restores every unbroken run to its end, in ScratchDir, and compares each hash that
	// the source gave.
	Deep       bool
	ScratchDir string
	OnStep     func(string) // may be nil
}

// Verify reads everything of a timeline back. What is wrong stands among the faults; the
// error is the store's, or of ctx.
func Verify(ctx context.Context, a *store.Archive, c *store.Contents, o VerifyOptions) (*Verification, error) {
	if o.OnStep == nil {
		o.OnStep = func(string) {}
	}
	v := &verifier{archive: a, contents: c, options: o, chains: newChains(), overlap: overlap{}}
	v.out = &Verification{Timeline: c.Timeline.ID, Opened: !o.Sealed, Deep: o.Deep, Spans: c.Spans(), Bytes: c.Bytes}
	for _, err := range c.Damaged {
		v.out.fault(string(c.Timeline.ID), err)
	}
	v.unreachable()
	for _, step := range []func(context.Context) error{v.bases, v.segments, v.whole, v.deep} {
		if err := step(ctx); err != nil {
			return v.out, err
		}
	}
	if len(v.out.Faults) == 0 {
		v.out.Origin = a.Origin()
	}
	return v.out, nil
}

// unreachable finds segments that no base leads to though there is one before them: what lies
// between is missing.
func (v *verifier) unreachable() {
	for _, s := range v.contents.Segments {
		reached, before := false, false
		for _, span := range v.out.Spans {
			reached = reached || span.First <= s.Last && s.Last <= span.Last
		}
		for _, b := range v.contents.Bases {
			before = before || b.Info.Last < s.First
		}
		for _, hole := range v.contents.Pruned {
			reached = reached || hole.First <= s.Last && s.Last <= hole.Last
		}
		if before && !reached {
			v.out.fault(s.String(), fmt.Errorf("%w: nothing leads to it, segments before it are missing", store.ErrGap))
		}
	}
}

type verifier struct {
	archive  *store.Archive
	contents *store.Contents
	options  VerifyOptions
	out      *Verification
	chains   *chains
	overlap  overlap // of the segments that were read with those that come
	// badBases and badSegments have a fault.
	badBases    []store.Mark
	badSegments []store.Segment
}

// whole leaves out what has a fault.
func (v *verifier) whole(context.Context) error {
	v.contents = v.contents.Without(v.badBases, v.badSegments)
	v.out.Spans = v.contents.Spans()
	return nil
}

// judge takes damage for a fault, and hands on what is the store's own.
func (v *verifier) judge(object string, err error) error {
	for _, fault := range []error{store.ErrDamaged, store.ErrOrigin, store.ErrNotFound, store.ErrSealed, segment.ErrVersion, ErrDamaged, ErrNotSnapshot, ErrFork, ErrGap, ErrHash, ErrNotCaptured} {
		if errors.Is(err, fault) {
			v.out.fault(object, err)
			return nil
		}
	}
	return err
}

func (v *verifier) bases(ctx context.Context) error {
	for _, b := range v.contents.Bases {
		name, faults := fmt.Sprintf("base of revision %d", b.Info.Last), len(v.out.Faults)
		v.options.OnStep(name)
		if err := v.judge(name, v.base(ctx, b)); err != nil {
			return err
		}
		if len(v.out.Faults) > faults {
			v.badBases = append(v.badBases, b.Mark)
		}
		v.out.Bases++
	}
	return nil
}

func (v *verifier) base(ctx context.Context, b store.Base) error {
	if v.options.Sealed {
		return v.archive.CheckStored(ctx, v.contents.Timeline.ID, b)
	}
	r, err := v.archive.OpenBase(ctx, v.contents.Timeline.ID, b)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r)
	return errors.Join(err, r.Close())
}

func (v *verifier) segments(ctx context.Context) error {
	envelopes := map[segment.Revision][]*segment.Envelope{} // by the last revision
	for i, s := range v.contents.Segments {
		name, faults := s.String(), len(v.out.Faults)
		e, err := v.archive.Envelope(ctx, v.contents.Timeline.ID, s)
		if err == nil {
			err = follows(e, envelopes[s.First-1])
		}
		if err == nil && !v.options.Sealed {
			err = v.segment(ctx, s, v.contents.Segments[i+1:])
		} else if err == nil {
			v.sameEnd(e, envelopes[s.Last])
			err = v.archive.CheckSegment(ctx, v.contents.Timeline.ID, s)
		}
		if err := v.judge(name, err); err != nil {
			return err
		}
		if len(v.out.Faults) > faults {
			v.badSegments = append(v.badSegments, s)
		}
		if e != nil {
			envelopes[s.Last] = append(envelopes[s.Last], e)
		}
		v.out.Segments++
	}
	return nil
}

// follows: a segment names the envelope of the one before it. Where others end just before
// this one begins, that must be one of them.
func follows(e *segment.Envelope, before []*segment.Envelope) error {
	if e.Before.IsZero() || len(before) == 0 {
		return nil
	}
	for _, b := range before {
		if b.Digest() == e.Before {
			return nil
		}
	}
	return fmt.Errorf("%w: it follows another segment than the one that is there", store.ErrDamaged)
}

// sameEnd: segments that end with one revision have the same events of it.
func (v *verifier) sameEnd(e *segment.Envelope, others []*segment.Envelope) {
	if len(others) > 0 && others[0].Summary.LastChange != e.Summary.LastChange {
		v.out.fault(e.Name().String(), differ(e.Summary.Last))
	}
}

// segment reads a segment, and compares what one before it holds, too. Memory is some 80 bytes
// for a revision that it has in common with those that come.
func (v *verifier) segment(ctx context.Context, s store.Segment, next []store.Segment) error {
	r, err := v.archive.OpenSegment(ctx, v.contents.Timeline.ID, s)
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // only read
	v.overlap.forget(s.First)
	forked := false
	for {
		record, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		change, ok := record.(segment.Change)
		if !ok {
			continue
		}
		v.out.Changes++
		if err := v.overlap.compare(change); err != nil && !forked {
			forked = true // where it begins is enough
			v.out.fault(s.String(), err)
		}
		if len(next) > 0 && change.Revision >= next[0].First {
			v.overlap.keep(change)
		}
		if err := v.chains.admit(change); err != nil {
			return err
		}
	}
}

// chains follow each key's versions: each put counts one more than the one before. Memory is
// some 60 bytes for a key that changed.
type chains struct {
	seed maphash.Seed
	keys map[uint64]link
	last segment.Revision
}

type link struct{ version, create int64 }

func newChains() *chains { return &chains{seed: maphash.MakeSeed(), keys: map[uint64]link{}} }

func (c *chains) admit(change segment.Change) error {
	if change.Revision <= c.last {
		return nil // another writer's, of what was seen
	}
	if change.Revision != c.last+1 {
		clear(c.keys) // there is a gap, or a base in between
	}
	c.last = change.Revision
	for _, e := range change.Events {
		var kv mvccpb.KeyValue
		if err := proto.Unmarshal(e.Record, &kv); err != nil {
			return fmt.Errorf("%w: revision %d: %w", store.ErrDamaged, change.Revision, err)
		}
		id := maphash.Bytes(c.seed, kv.Key)
		if e.Tombstone {
			c.keys[id] = link{}
			continue
		}
		if len(kv.Key) == 0 && kv.ModRevision == 0 {
			continue // the mark of etcdutl's bump
		}
		was, known := c.keys[id]
		if known && (kv.Version != was.version+1 || was.version > 0 && kv.CreateRevision != was.create) {
			return fmt.Errorf("%w: revision %d has version %d of a key, after version %d", store.ErrDamaged, change.Revision, kv.Version, was.version)
		}
		c.keys[id] = link{kv.Version, kv.CreateRevision}
	}
	return nil
}

// deep restores each run to its end, and compares all hashes.
func (v *verifier) deep(ctx context.Context) error {
	if !v.options.Deep {
		return nil
	}
	for _, span := range v.out.Spans {
		if err := v.judge(fmt.Sprintf("revisions %d to %d", span.First, span.Last), v.run(ctx, span)); err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) run(ctx context.Context, span store.Span) error {
	chain, err := v.contents.OldestChain(span)
	if err != nil {
		return err
	}
	v.options.OnStep(fmt.Sprintf("restore revision %d from the base of %d", span.Last, chain.Base.Info.Last))
	file, err := nameless.Create(v.options.ScratchDir)
	if err != nil {
		return err
	}
	defer nameless.Close(file) //nolint:errcheck // nothing of it is needed any more
	base, err := FetchBase(ctx, v.archive, v.contents.Timeline.ID, chain.Base, file)
	if err != nil {
		return err
	}
	reading := ReadChain(ctx, v.archive, v.contents.Timeline.ID, chain)
	moment, err := TurnInto(ctx, base, int64(span.Last), reading.Next)
	if err = errors.Join(err, reading.Close()); err != nil {
		return err
	}
	voters := len(chain.Base.Info.Identity.Members)
	for _, group := range groupHashes(moment.Attestations) {
		proof, err := Prove(ctx, file, &Moment{Attestations: group}, voters)
		if err != nil {
			return err
		}
		if proof.Revision > 0 {
			v.out.Proofs = append(v.out.Proofs, *proof)
		}
	}
	return nil
}

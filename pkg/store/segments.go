package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
)

// SealBody encrypts a segment's body as it is written. Close ends it and leaves w open.
func (a *Archive) SealBody(w io.Writer) (io.WriteCloser, error) { return a.keys.seal(w) }

// PutSegment stores a segment whose body was written through SealBody, and signs its
// envelope if there is a key. One that is there already, of the same size, is the same: no
// other writer has its name. So an upload that broke off without an answer can be tried again.
func (a *Archive) PutSegment(ctx context.Context, timeline TimelineID, e *segment.Envelope, body io.Reader) error {
	s := Segment{Name: e.Name(), Sealed: a.keys.Encrypts()}
	key := a.key(timeline, s.object())
	a.signEnvelope(key, e)
	head, err := e.MarshalBinary()
	if err != nil {
		return err
	}
	err = a.bucket.put(ctx, key, func(w io.Writer) error {
		if _, err := w.Write(head); err != nil {
			return err
		}
		n, err := io.Copy(w, body)
		if err == nil && n != e.Body.Size {
			err = fmt.Errorf("its body has %d bytes, want %d", n, e.Body.Size)
		}
		return err
	})
	return a.unlessSame(ctx, key, int64(len(head))+e.Body.Size, err)
}

// PutIdle notes that there was no change after a revision by a time.
func (a *Archive) PutIdle(ctx context.Context, timeline TimelineID, m Mark) error {
	key := a.key(timeline, m.name("idle"))
	err := a.bucket.put(ctx, key, func(io.Writer) error { return nil })
	return a.unlessSame(ctx, key, 0, err)
}

// unlessSame takes an error for none where the object is there as it should be. An object
// store makes it appear whole, and may refuse a second put in its own words; of a folder only
// ErrExists tells that it came to its end.
func (a *Archive) unlessSame(ctx context.Context, key string, size int64, err error) error {
	if err == nil || ctx.Err() != nil || !isExists(err) && a.bucket.dir != "" {
		return err
	}
	attributes, attrErr := a.bucket.Attributes(ctx, key)
	if attrErr != nil || attributes.Size != size {
		return err
	}
	return nil
}

// Envelope reads a segment's envelope alone, for which no identity is needed, and compares
// it with the name. Errors are ErrOrigin, ErrDamaged, ErrNotFound and the store's.
func (a *Archive) Envelope(ctx context.Context, timeline TimelineID, s Segment) (_ *segment.Envelope, err error) {
	key := a.key(timeline, s.object())
	r, err := a.bucket.open(ctx, key, min(segment.MaxEnvelope, max(s.Size, 1)))
	if err != nil {
		return nil, err
	}
	defer func() { err = joinClose(err, r, key) }()
	return a.envelope(timeline, s, r)
}

func (a *Archive) envelope(timeline TimelineID, s Segment, r io.Reader) (*segment.Envelope, error) {
	e, err := segment.ReadEnvelope(r)
	if err == nil {
		err = agree(e, timeline, s)
	}
	key := a.key(timeline, s.object())
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, asDamage(err))
	}
	if err := a.vouch(key, e.Signed(), e.Signature); err != nil {
		return nil, err
	}
	return e, nil
}

// agree compares an envelope with where it was found.
func agree(e *segment.Envelope, timeline TimelineID, s Segment) error {
	head, err := e.MarshalBinary()
	switch {
	case err != nil:
		return err
	case e.Name() != s.Name:
		return damaged("it is that of %s", e.Name())
	case e.Timeline != string(timeline):
		return damaged("it is of the timeline %s", e.Timeline)
	case int64(len(head))+e.Body.Size != s.Size:
		return damaged("it has %d bytes, and should have %d", s.Size, int64(len(head))+e.Body.Size)
	}
	return nil
}

// SegmentReader reads a segment's records in their order.
type SegmentReader struct {
	Envelope *segment.Envelope

	key     string
	raw     io.ReadCloser
	stored  *tally
	checked io.Reader // the body as stored
	decoder *segment.Decoder
}

// OpenSegment opens a segment to read. Where only trusted writers' are, its body is in memory
// before any of it is given: who stops reading half-way must not have had what nobody signed.
// Errors are ErrOrigin, ErrSealed, ErrDamaged, ErrNotFound and the store's.
func (a *Archive) OpenSegment(ctx context.Context, timeline TimelineID, s Segment) (*SegmentReader, error) {
	key := a.key(timeline, s.object())
	raw, err := a.bucket.open(ctx, key, -1)
	if err != nil {
		return nil, err
	}
	r := &SegmentReader{key: key, raw: raw, stored: &tally{r: raw, sum: sha256.New()}}
	if r.Envelope, err = a.envelope(timeline, s, r.stored); err != nil {
		return nil, joinClose(err, raw, key)
	}
	r.checked = r.Envelope.CheckBody(r.stored)
	if a.asks() {
		body, err := io.ReadAll(r.checked)
		if err != nil {
			return nil, joinClose(r.wrap(err), raw, key)
		}
		r.checked = bytes.NewReader(body)
	}
	plain, err := a.keys.unseal(r.checked, s.Sealed)
	if err != nil {
		return nil, joinClose(fmt.Errorf("open %s: %w", key, err), raw, key)
	}
	r.decoder = segment.NewDecoder(plain)
	return r, nil
}

// Next gives the next record. io.EOF comes only when all of the segment is what its
// envelope tells. A record's bytes are good until the next call.
func (r *SegmentReader) Next() (segment.Record, error) {
	record, err := r.decoder.Next()
	switch {
	case err == nil:
		return record, nil
	case errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		if err := r.end(); err != nil {
			return nil, r.wrap(err)
		}
		return nil, io.EOF
	}
	return nil, r.wrap(err)
}

func (r *SegmentReader) end() error {
	if err := r.Envelope.Check(r.decoder.Summary()); err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, r.checked)
	if err == nil && n > 0 {
		err = damaged("%d bytes behind what is encrypted", n)
	}
	return err
}

// wrap calls damage what is not the store's own failure.
func (r *SegmentReader) wrap(err error) error {
	if r.stored.err != nil {
		return fmt.Errorf("get %s: %w", r.key, r.stored.err)
	}
	return fmt.Errorf("read %s: %w", r.key, asDamage(err))
}

// Close ends the reading.
func (r *SegmentReader) Close() error { return r.raw.Close() }

// asDamage: what the format calls damaged is damage of the archive, and so is what age says
// of bytes that it was given.
func asDamage(err error) error {
	if errors.Is(err, segment.ErrVersion) || errors.Is(err, ErrDamaged) {
		return err
	}
	return damaged("%w", err)
}

func isExists(err error) bool { return errors.Is(err, ErrExists) }

// CheckSegment reads a segment as it is stored, without opening it, and compares it with its
// envelope: what can be verified without an identity.
func (a *Archive) CheckSegment(ctx context.Context, timeline TimelineID, s Segment) (err error) {
	key := a.key(timeline, s.object())
	raw, err := a.bucket.open(ctx, key, -1)
	if err != nil {
		return err
	}
	defer func() { err = joinClose(err, raw, key) }()
	stored := &tally{r: raw, sum: sha256.New()}
	e, err := a.envelope(timeline, s, stored)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, e.CheckBody(stored)); err != nil {
		if stored.err != nil {
			return fmt.Errorf("get %s: %w", key, stored.err)
		}
		return fmt.Errorf("read %s: %w", key, asDamage(err))
	}
	return nil
}

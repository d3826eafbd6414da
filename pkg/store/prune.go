package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"gocloud.dev/blob"
)

// Prune carries a pruning out: first it is noted what will be missing, then a base ceases to
// count before its data goes, so that whatever interrupts it leaves a sound archive. What
// is gone already is no error.
func (a *Archive) Prune(ctx context.Context, p *Pruning) error {
	if p.Empty() {
		return nil
	}
	if err := a.replaceDocument(ctx, p.Timeline, prunedObject, p.Holes); err != nil {
		return fmt.Errorf("note what goes: %w", err)
	}
	for _, b := range p.Bases {
		for _, object := range []string{b.name("base") + infoSuffix, a.baseObject(b.Mark, b.Sealed)} {
			if err := a.remove(ctx, p.Timeline, object); err != nil {
				return err
			}
		}
	}
	objects := append([]string{}, p.Data...)
	for _, s := range p.Segments {
		objects = append(objects, s.object())
	}
	for _, m := range p.Idle {
		objects = append(objects, m.name("idle"))
	}
	for _, object := range objects {
		if err := a.remove(ctx, p.Timeline, object); err != nil {
			return err
		}
	}
	return nil
}

func (a *Archive) remove(ctx context.Context, timeline TimelineID, object string) error {
	err := notFound(a.bucket.Delete(ctx, a.key(timeline, object)))
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("delete %s: %w", a.key(timeline, object), err)
	}
	return nil
}

// replaceDocument puts a document in the place of the one that may be there.
func (a *Archive) replaceDocument(ctx context.Context, timeline TimelineID, object string, v any) error {
	b, err := encodeDocument(v, nil)
	if err != nil {
		return err
	}
	key := a.key(timeline, object)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := a.bucket.NewWriter(ctx, key, &blob.WriterOptions{ContentType: "application/json", BeforeWrite: ownerOnly})
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	if _, err := io.Copy(w, bytes.NewReader(b)); err != nil {
		cancel()
		_ = w.Close() // it says that it was cancelled
		return fmt.Errorf("put %s: %w", key, err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	return a.bucket.sync(key)
}

package backup

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
)

// maxSegment is the size of records at which a segment is sealed before its time.
const maxSegment = 16 << 20

// sealed is a segment's body that is complete.
type sealedBody struct {
	file    *spoolFile
	summary segment.Summary
}

// recorder writes records into bodies of segments.
type recorder struct {
	flush time.Duration
	spool *spool
	seal  func(io.Writer) (io.WriteCloser, error) // encrypts
	now   func() time.Time
	done  func(sealedBody) // is handed every body, in order

	mu      sync.Mutex
	open    *openBody
	notes   []segment.Record // that wait for the first change of a segment
	last    segment.Hash     // the last attestation
	quiet   segment.Progress // the last progress
	changed segment.Revision // the last change
	events  int64
}

// openBody is a body that fills.
type openBody struct {
	file    *spoolFile
	sealed  io.WriteCloser
	encoder *segment.Encoder
	since   time.Time
}

// take takes the next record. An error of segment.ErrTooLarge or ErrSpoolFull is final.
func (r *recorder) take(record segment.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch v := record.(type) {
	case segment.Change:
		return r.change(v)
	case segment.Progress:
		r.quiet = v
		if r.open == nil {
			return nil // the name of an idle note tells it
		}
	case segment.Hash:
		r.last = v
	}
	if r.open == nil {
		r.notes = append(r.notes, record)
		return nil
	}
	return r.open.encoder.Encode(record)
}

func (r *recorder) change(c segment.Change) error {
	if r.open == nil {
		if err := r.begin(); err != nil {
			return err
		}
	}
	if err := r.open.encoder.Encode(c); err != nil {
		return err
	}
	r.changed = c.Revision
	r.events += int64(len(c.Events))
	if r.open.encoder.Size() >= maxSegment {
		return r.finish()
	}
	return nil
}

func (r *recorder) begin() error {
	file, err := r.spool.create()
	if err != nil {
		return err
	}
	sealed, err := r.seal(file)
	if err != nil {
		file.close()
		return fmt.Errorf("encrypt: %w", err)
	}
	r.open = &openBody{file: file, sealed: sealed, encoder: segment.NewEncoder(sealed), since: r.now()}
	for _, note := range r.notes {
		if err := r.open.encoder.Encode(note); err != nil {
			return err
		}
	}
	r.notes = nil
	return nil
}

func (r *recorder) finish() error {
	open := r.open
	r.open = nil
	summary, err := open.encoder.Close()
	if err == nil {
		err = open.sealed.Close()
	}
	if err != nil {
		open.file.close()
		return fmt.Errorf("seal a segment: %w", err)
	}
	if summary.Attestation.IsZero() {
		summary.Attestation = r.last
	}
	r.done(sealedBody{open.file, summary})
	return nil
}

// due seals what is old enough; all: whatever there is.
func (r *recorder) due(all bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open == nil || !all && r.now().Sub(r.open.since) < r.flush {
		return nil
	}
	return r.finish()
}

// idle is the last progress, when no change came after it and none waits to be sealed.
func (r *recorder) idle() (segment.Progress, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.quiet, r.open == nil && r.quiet.Revision > 0 && r.quiet.Revision >= r.changed
}

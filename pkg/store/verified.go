package store

import (
	"context"
	"errors"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
)

const verifiedObject = "verified.json"

// Verified notes that a timeline was read back.
type Verified struct {
	At time.Time `json:"at"`
	// Opened: everything was decrypted; Deep: restored and compared with the source's hashes.
	Opened bool             `json:"opened"`
	Deep   bool             `json:"deep"`
	Last   segment.Revision `json:"last"` // up to here
	Faults int              `json:"faults,omitempty"`
}

// NoteVerified notes it in the timeline, in the place of what was noted before.
func (a *Archive) NoteVerified(ctx context.Context, t TimelineID, v Verified) error {
	return a.replaceDocument(ctx, t, verifiedObject, v)
}

// LastVerified is what was noted last; nil: nothing.
func (a *Archive) LastVerified(ctx context.Context, t TimelineID) (*Verified, error) {
	var v Verified
	_, err := a.getDocument(ctx, t, verifiedObject, &v)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return &v, err
}

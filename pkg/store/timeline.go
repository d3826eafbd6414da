package store

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
)

// Reason is why a timeline was opened.
type Reason string

// The reasons.
const (
	First Reason = "first" // there was none before it
	Fork  Reason = "fork"  // the cluster shows another history than the parent's
	Gap   Reason = "gap"   // what happened after the parent's end was compacted before it was captured
)

// Timeline is one unbroken history, as its timeline.json tells of it.
type Timeline struct {
	ID       TimelineID       `json:"id"`
	Opened   time.Time        `json:"opened"`
	Reason   Reason           `json:"reason"`
	Writer   segment.WriterID `json:"writer"`
	Identity Identity         `json:"identity"`
	// Parent is the timeline that went before, and After its last captured revision: of a
	// gap, nothing between that and the first base is captured.
	Parent TimelineID       `json:"parent,omitempty"`
	After  segment.Revision `json:"after,omitempty"`
	// Detail says in words what was seen.
	Detail string `json:"detail,omitempty"`
}

// Identity is segment.Identity as JSON has it.
type Identity struct {
	KubeSystemUID string   `json:"kubeSystemUID,omitempty"`
	Cluster       string   `json:"clusterID"`
	Members       []string `json:"memberIDs"`
}

// OpenTimeline puts a timeline's document.
func (a *Archive) OpenTimeline(ctx context.Context, t Timeline) error {
	return a.putDocument(ctx, t.ID, timelineObject, t, nil)
}

func (a *Archive) putDocument(ctx context.Context, timeline TimelineID, object string, v any, sign func([]byte) []byte) error {
	b, err := encodeDocument(v, sign)
	if err != nil {
		return err
	}
	return a.bucket.put(ctx, a.key(timeline, object), func(w io.Writer) error {
		_, err := io.Copy(w, bytes.NewReader(b))
		return err
	})
}

func (a *Archive) getDocument(ctx context.Context, timeline TimelineID, object string, v any) (d document, err error) {
	r, err := a.bucket.open(ctx, a.key(timeline, object), -1)
	if err != nil {
		return d, err
	}
	defer func() { err = joinClose(err, r, object) }()
	if d, err = readDocument(r, v); err != nil {
		return d, fmt.Errorf("read %s: %w", a.key(timeline, object), err)
	}
	return d, nil
}

// Timelines are the archive's, in the order they were opened. An archive that is not there
// has none. A folder without its document is of a writer that came no further, and holds
// nothing; a damaged one is an error, which comes with the others.
func (a *Archive) Timelines(ctx context.Context) (list []Timeline, err error) {
	folders, err := a.bucket.folders(ctx, a.id.String()+"/")
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var failed []error
	for _, folder := range folders {
		id, ok := parseTimelineID(folder)
		if !ok {
			continue
		}
		var t Timeline
		switch _, err := a.getDocument(ctx, id, timelineObject, &t); {
		case errors.Is(err, ErrNotFound):
		case err != nil:
			failed = append(failed, err)
		case t.ID != id:
			failed = append(failed, fmt.Errorf("read timeline %s: %w", id, damaged("it is that of %s", t.ID)))
		default:
			list = append(list, t)
		}
	}
	slices.SortFunc(list, func(a, b Timeline) int {
		return cmp.Or(a.Opened.Compare(b.Opened), cmp.Compare(a.ID, b.ID))
	})
	return list, errors.Join(failed...)
}

// Archives are those in a bucket.
func Archives(ctx context.Context, bucket *Bucket) (list []ArchiveID, err error) {
	names, err := bucket.folders(ctx, "")
	for _, name := range names {
		if !folderPattern.MatchString(name) {
			continue
		}
		etcds, err := bucket.folders(ctx, name+"/")
		if err != nil {
			return nil, err
		}
		for _, etcd := range etcds {
			if id := (ArchiveID{name, etcd}); id.Validate() == nil {
				list = append(list, id)
			}
		}
	}
	return list, err
}

// NewIdentity is a segment's identity as documents have it.
func NewIdentity(id segment.Identity) Identity {
	doc := Identity{KubeSystemUID: id.KubeSystemUID, Cluster: id.Cluster.String()}
	for _, m := range id.Members {
		doc.Members = append(doc.Members, m.String())
	}
	return doc
}

// Segment is the identity as a segment has it. What can't be read is 0.
func (id Identity) Segment() segment.Identity {
	parse := func(s string) segment.ID {
		n, err := strconv.ParseUint(s, 16, 64)
		if err != nil {
			return 0
		}
		return segment.ID(n)
	}
	s := segment.Identity{KubeSystemUID: id.KubeSystemUID, Cluster: parse(id.Cluster)}
	for _, m := range id.Members {
		s.Members = append(s.Members, parse(m))
	}
	return s
}

package restore

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/nameless"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
)

var (
	// ErrGap: revisions between those that were captured are missing.
	ErrGap = errors.New("revisions are missing")
	// ErrFork: base and changes are of different histories.
	ErrFork = errors.New("the changes are of another history than the base")
	// ErrNotCaptured: the moment is not between what the base and the changes hold.
	ErrNotCaptured = errors.New("that moment was not captured")
)

// Changes gives the records of one timeline in their order, and io.EOF at their end. They
// may begin before the end of the base that they go with.
type Changes func() (segment.Record, error)

// Moment is a snapshot of one moment, made of a base and of what changed since.
type Moment struct {
	Revision int64 `json:"revision"`
	Base     int64 `json:"base"`              // the base's revision
	Rewound  int64 `json:"rewound,omitempty"` // records of the base that were taken out
	Applied  int64 `json:"applied,omitempty"` // events that were put in
	// Lower and Upper are when Revision was committed, at the earliest and at the latest;
	// zero: it is the base's, or before that.
	Lower time.Time `json:"lower,omitzero"`
	Upper time.Time `json:"upper,omitzero"`
	// StandIns are leases of which only the id is known: they got StandInTTL.
	StandIns []segment.LeaseID `json:"standIns,omitempty"`
	// Attestations are the hashes that the source gave up to Revision, in their order.
	Attestations []segment.Hash `json:"-"`
}

// batchBytes is how much is put into the database in one transaction.
const batchBytes = 2 << 20

// WriteMoment writes the snapshot of the source at a revision into an empty file: the base,
// with later records taken out, or with all changes up to there put in, as the very records
// that the source's backend had. Revision 0 is the last one captured. The file is a plain
// etcd snapshot, sha256 and all.
//
// Memory is a few MiB, and 60 bytes for each key with a lease. Errors are ErrGap, ErrFork,
// ErrNotCaptured, those of changes and of the file.
func WriteMoment(ctx context.Context, base *Snapshot, revision int64, changes Changes, file *os.File) (*Moment, error) {
	if err := base.reaches(revision); err != nil {
		return nil, err
	}
	if err := copySnapshot(ctx, *base, file); err != nil {
		return nil, fmt.Errorf("copy the base: %w", err)
	}
	return windTo(ctx, base, revision, changes, file)
}

// TurnInto is WriteMoment that makes the moment of the file that a base was fetched into, which
// is no copy of anything any more then: there is one database on the disk, not two.
func TurnInto(ctx context.Context, base *Snapshot, revision int64, changes Changes) (*Moment, error) {
	if err := base.reaches(revision); err != nil {
		return nil, err
	}
	if err := base.file.Truncate(base.Size - sealSize); err != nil {
		return nil, fmt.Errorf("open the base: %w", err)
	}
	return windTo(ctx, base, revision, changes, base.file)
}

// windTo brings the base's database in a file to a revision.
func windTo(ctx context.Context, base *Snapshot, revision int64, changes Changes, file *os.File) (*Moment, error) {
	m := &Moment{Revision: revision, Base: base.Contents.Revision}
	if err := m.write(ctx, file, base.floor(), changes); err != nil {
		return nil, fmt.Errorf("write revision %d: %w", revision, err)
	}
	return m, seal(ctx, file)
}

// floor is the first revision that a base can be rewound to.
func (s *Snapshot) floor() int64 { return max(s.Contents.CompactRevision, 1) }

// reaches refuses a revision before a base's floor.
func (s *Snapshot) reaches(revision int64) error {
	if revision != 0 && revision < s.floor() {
		return fmt.Errorf("%w: revision %d is before %d, to which the base goes back", ErrNotCaptured, revision, s.floor())
	}
	return nil
}

func (m *Moment) write(ctx context.Context, file *os.File, floor int64, changes Changes) error {
	db, err := bolt.Open(file.Name(), 0o600, &bolt.Options{
		NoSync: true, NoGrowSync: true, NoFreelistSync: true, FreelistType: bolt.FreelistMapType,
		// Not by its name, which it may have no more; bbolt closes what it opened.
		OpenFile: func(string, int, os.FileMode) (*os.File, error) { return nameless.Again(file) },
	})
	if err != nil {
		return err
	}
	w := &wind{Moment: m, db: db, floor: floor, last: m.Base}
	return errors.Join(w.run(ctx, changes), db.Close())
}

// wind is a moment in the making.
type wind struct {
	*Moment
	db      *bolt.DB
	floor   int64             // of the base
	last    int64             // revision that is in
	compact int64             // the source's last compaction; 0: none since the base
	listed  []segment.LeaseID // all leases that the source had, when it was asked last; nil: it was not
	granted map[int64]bool    // told of since then

	tx      *bolt.Tx
	pending int // bytes in it
}

func (w *wind) run(ctx context.Context, changes Changes) error {
	var err error
	if w.Revision != 0 && w.Revision < w.Base {
		err = w.rewind(ctx)
	} else {
		err = w.forward(ctx, changes)
	}
	if err != nil {
		return err
	}
	return w.db.Update(func(tx *bolt.Tx) error {
		if w.compact > w.floor {
			if err := tx.Bucket([]byte(metaBucket)).Put([]byte(scheduledCompactKey), revisionBytes(w.compact)); err != nil {
				return err
			}
		}
		return w.standIn(ctx, tx)
	})
}

// rewind takes out every record after the moment. A base holds all since its compaction.
func (w *wind) rewind(ctx context.Context) error {
	after := revisionBytes(w.Revision + 1)
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := w.db.Update(func(tx *bolt.Tx) error {
			bucket, size := tx.Bucket([]byte(keyBucket)), 0
			cursor := bucket.Cursor()
			key, value := cursor.Seek(after)
			for ; key != nil && size < batchBytes; key, value = cursor.Seek(after) {
				size += len(key) + len(value)
				w.Rewound++
				if err := cursor.Delete(); err != nil {
					return err
				}
			}
			more = key != nil
			return nil
		})
		if err != nil {
			return err
		}
	}
	w.last = w.Revision
	return nil
}

// forward puts in what changed, up to the moment.
func (w *wind) forward(ctx context.Context, changes Changes) error {
	defer w.rollback()
	for {
		record, err := changes()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		done, err := w.take(record)
		if err != nil {
			return err
		}
		if done {
			break
		}
	}
	if w.Revision != 0 && w.last < w.Revision {
		return fmt.Errorf("%w: the changes end at revision %d", ErrNotCaptured, w.last)
	}
	w.Revision = w.last
	return w.commit()
}

// take takes one record; done: the rest is after the moment.
func (w *wind) take(record segment.Record) (done bool, err error) {
	switch r := record.(type) {
	case segment.Change:
		if w.Revision != 0 && int64(r.Revision) > w.Revision {
			return true, nil
		}
		return false, w.change(r)
	case segment.Lease:
		return false, w.putLease(int64(r.ID), r.TTL)
	case segment.Leases:
		w.keepLeases(r.IDs)
	case segment.Compact:
		if c := int64(r.Revision); c <= w.last {
			w.compact = max(w.compact, c)
		}
	case segment.Progress:
		if int64(r.Revision) > w.last {
			return false, fmt.Errorf("%w: the source had reached revision %d, and the changes only %d", ErrGap, r.Revision, w.last)
		}
	case segment.Hash:
		w.Attestations = append(w.Attestations, r)
	}
	return false, nil
}

// change puts a revision in, or compares it with the base's where that has it.
func (w *wind) change(c segment.Change) error {
	revision := int64(c.Revision)
	switch {
	case revision <= w.Base:
		return w.compare(c)
	case revision != w.last+1:
		return fmt.Errorf("%w: after revision %d comes %d", ErrGap, w.last, revision)
	}
	bucket, err := w.bucket(keyBucket)
	if err != nil {
		return err
	}
	for sub, event := range c.Events {
		key := segment.AppendBackendKey(nil, c.Revision, sub, event.Tombstone)
		if err := bucket.Put(key, event.Record); err != nil {
			return err
		}
		w.pending += len(key) + len(event.Record)
		w.Applied++
	}
	w.last, w.Lower, w.Upper = revision, c.Lower, c.Upper
	return w.commitIfLarge()
}

// compare refuses changes of another history. What the base has compacted can't be told.
func (w *wind) compare(c segment.Change) error {
	if int64(c.Revision) <= w.floor {
		return nil
	}
	bucket, err := w.bucket(keyBucket)
	if err != nil {
		return err
	}
	for sub, event := range c.Events {
		have := bucket.Get(segment.AppendBackendKey(nil, c.Revision, sub, event.Tombstone))
		if have == nil || string(have) != string(event.Record) {
			return fmt.Errorf("%w: they differ at revision %d", ErrFork, c.Revision)
		}
	}
	if bucket.Get(segment.AppendBackendKey(nil, c.Revision, len(c.Events), false)) != nil {
		return fmt.Errorf("%w: they differ at revision %d", ErrFork, c.Revision)
	}
	return nil
}

// bucket is a bucket of the transaction that is open, or of a new one.
func (w *wind) bucket(name string) (*bolt.Bucket, error) {
	if w.tx == nil {
		tx, err := w.db.Begin(true)
		if err != nil {
			return nil, err
		}
		w.tx = tx
	}
	bucket, err := w.tx.CreateBucketIfNotExists([]byte(name))
	if err != nil {
		return nil, err
	}
	bucket.FillPercent = 1 // what is put in ascends
	return bucket, nil
}

func (w *wind) commitIfLarge() error {
	if w.pending < batchBytes {
		return nil
	}
	return w.commit()
}

func (w *wind) commit() error {
	if w.tx == nil {
		return nil
	}
	tx := w.tx
	w.tx, w.pending = nil, 0
	return tx.Commit()
}

func (w *wind) rollback() {
	if w.tx != nil {
		_ = w.tx.Rollback() // an error is on its way already
		w.tx = nil
	}
}

// seal appends the sha256 that ends every snapshot, and makes the file durable.
func seal(ctx context.Context, file *os.File) error {
	size, err := fileSize(file)
	if err != nil {
		return err
	}
	h := sha256.New()
	if err := copyContext(ctx, h, io.NewSectionReader(file, 0, size)); err != nil {
		return err
	}
	if _, err := file.WriteAt(h.Sum(nil), size); err != nil {
		return err
	}
	return file.Sync()
}

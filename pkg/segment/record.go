package segment

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Record is one entry of a segment: Change, Lease, Leases, Progress, Compact or Hash. All
// but Change are notes.
type Record interface {
	// Validate refuses what no etcd does.
	Validate() error
	// append encodes it, with its kind, after what c tells.
	append(b []byte, c *cursor) []byte
}

// Change is all that one revision did.
type Change struct {
	Revision Revision
	// Lower and Upper are when it was committed, at the earliest and at the latest, by
	// the writer's clock: between the last answer that did not know it yet and the one
	// that brought it.
	Lower, Upper time.Time
	// Events are in the order of their sub revisions, the first of which is 0: etcd counts
	// them without gaps, so an event's place is its sub revision. At least one.
	Events []Event
}

// Event is what a revision did to one key.
type Event struct {
	// Tombstone: the key was deleted.
	Tombstone bool
	// Record is a marshalled mvccpb.KeyValue, as etcd's backend stores it: of a tombstone
	// the key alone. The mark that etcdutl's revision bump leaves is empty.
	Record []byte
}

// Lease tells what a lease was granted. Events name only its id.
type Lease struct {
	ID  LeaseID
	TTL int64 // seconds, as granted; 0: it was gone before it could be asked for
}

// Leases are all leases that there were at this place, ascending.
type Leases struct{ IDs []LeaseID }

// Progress tells that by Time all changes up to Revision had been seen.
type Progress struct {
	Revision Revision
	Time     time.Time
}

// Compact tells that the source was compacted at Revision.
type Compact struct{ Revision Revision }

// Hash is what a member of the source answered to HashKV: an attestation that a restore
// can be measured by.
type Hash struct {
	Member   ID
	Revision Revision
	// CompactRevision is where the hash begins; -1: the source was never compacted.
	CompactRevision Revision
	Hash            uint32 // crc32c
}

// IsZero tells that there is none.
func (h Hash) IsZero() bool { return h == Hash{} }

// Validate refuses what no etcd does.
func (c Change) Validate() error {
	if err := c.validate(); err != nil {
		return fmt.Errorf("revision %d: %w", c.Revision, err)
	}
	return nil
}

func (c Change) validate() error {
	if c.Revision < 1 {
		return errors.New("not above 0")
	}
	if err := errors.Join(validateTime(c.Lower), validateTime(c.Upper)); err != nil {
		return err
	}
	if c.Lower.After(c.Upper) {
		return fmt.Errorf("committed between %s and %s", stamp(c.Lower), stamp(c.Upper))
	}
	if len(c.Events) == 0 {
		return errors.New("no event")
	}
	for sub, event := range c.Events {
		if len(event.Record) == 0 && !event.Tombstone && len(c.Events) == 1 {
			return nil // etcdutl's mark
		}
		if err := event.validate(c.Revision); err != nil {
			return fmt.Errorf("event %d: %w", sub, err)
		}
	}
	return nil
}

func (e Event) validate(at Revision) error {
	kv, err := parseKeyValue(e.Record)
	if err != nil {
		return err
	}
	if e.Tombstone {
		return kv.validateTombstone()
	}
	return kv.validate(at)
}

// Validate refuses what no etcd grants.
func (l Lease) Validate() error {
	if l.ID == 0 || l.TTL < 0 {
		return fmt.Errorf("lease %s has a TTL of %d seconds", l.ID, l.TTL)
	}
	return nil
}

// Validate refuses ids that do not ascend.
func (l Leases) Validate() error {
	for i, id := range l.IDs {
		if id == 0 || i > 0 && id <= l.IDs[i-1] {
			return fmt.Errorf("leases do not ascend at %s", id)
		}
	}
	return nil
}

// Validate refuses a revision or a time that can't be.
func (p Progress) Validate() error {
	if p.Revision < 1 {
		return fmt.Errorf("progress of revision %d", p.Revision)
	}
	return validateTime(p.Time)
}

// Validate refuses a revision that can't be.
func (c Compact) Validate() error {
	if c.Revision < 1 {
		return fmt.Errorf("compaction at revision %d", c.Revision)
	}
	return nil
}

// Validate refuses revisions that can't be.
func (h Hash) Validate() error {
	if h.Member == 0 || h.Revision < 1 || h.CompactRevision < -1 || h.CompactRevision > h.Revision {
		return fmt.Errorf("hash of member %s at revision %d, compacted at %d", h.Member, h.Revision, h.CompactRevision)
	}
	return nil
}

// validateTime wants what 63 bits of nanoseconds since 1970 tell, and not their 0.
func validateTime(t time.Time) error {
	if s := t.Unix(); s < 0 || s >= math.MaxInt64/int64(time.Second) || t.UnixNano() == 0 {
		return fmt.Errorf("time %s can't be", stamp(t))
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

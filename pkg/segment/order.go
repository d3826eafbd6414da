package segment

import (
	"fmt"
	"time"
)

// order is what must hold from record to record. Encoder and Decoder both keep to it.
type order struct {
	last     Revision  // the last change's; 0: none yet
	lower    time.Time // the last change's
	time     time.Time // the last that any record told
	progress Revision  // the last that was told
}

// admit refuses a record that can't follow those before it, and then stays as it was.
func (o *order) admit(record Record) error {
	if err := record.Validate(); err != nil {
		return err
	}
	switch r := record.(type) {
	case Change:
		return o.admitChange(r)
	case Progress:
		return o.admitProgress(r)
	}
	return nil
}

func (o *order) admitChange(c Change) error {
	switch {
	case o.last != 0 && c.Revision != o.last+1:
		return fmt.Errorf("revision %d follows %d", c.Revision, o.last)
	case c.Revision <= o.progress:
		return fmt.Errorf("revision %d follows a progress of %d", c.Revision, o.progress)
	case c.Upper.Before(o.time):
		return fmt.Errorf("revision %d: time goes back from %s to %s", c.Revision, stamp(o.time), stamp(c.Upper))
	case c.Lower.Before(o.lower):
		return fmt.Errorf("revision %d: time goes back from %s to %s", c.Revision, stamp(o.lower), stamp(c.Lower))
	}
	o.last, o.lower, o.time = c.Revision, c.Lower, c.Upper
	return nil
}

// admitProgress refuses progress beyond the last change: the changes between are missing.
func (o *order) admitProgress(p Progress) error {
	switch {
	case o.last != 0 && p.Revision > o.last:
		return fmt.Errorf("progress of revision %d follows revision %d", p.Revision, o.last)
	case p.Time.Before(o.time):
		return fmt.Errorf("progress of revision %d: time goes back from %s to %s", p.Revision, stamp(o.time), stamp(p.Time))
	}
	o.progress, o.time = p.Revision, p.Time
	return nil
}

package segment

import (
	"encoding/binary"
	"errors"
	"time"
)

// kind is the first byte of an encoded record.
type kind byte

const (
	kindChange   kind = 1
	kindLease    kind = 2
	kindLeases   kind = 3
	kindProgress kind = 4
	kindCompact  kind = 5
	kindHash     kind = 6
)

// cursor is what the next change of a block is counted from: the change before it, or
// zeros at the block's start, so that a block can be read alone.
type cursor struct {
	revision Revision
	upper    int64 // nanoseconds since 1970
}

// minEvent is the least that an event takes: its length, and a key of one byte with tag
// and length. An empty record, etcdutl's mark, stands alone and needs not count.
const minEvent = 4

func (c Change) append(b []byte, at *cursor) []byte {
	upper := c.Upper.UnixNano()
	b = append(b, byte(kindChange))
	b = binary.AppendUvarint(b, uint64(c.Revision-at.revision))
	b = binary.AppendUvarint(b, uint64(upper-at.upper))
	b = binary.AppendUvarint(b, uint64(upper-c.Lower.UnixNano()))
	b = binary.AppendUvarint(b, uint64(len(c.Events)))
	for _, event := range c.Events {
		b = event.append(b)
	}
	*at = cursor{c.Revision, upper}
	return b
}

func (e Event) append(b []byte) []byte {
	head := uint64(len(e.Record)) << 1
	if e.Tombstone {
		head |= 1
	}
	return append(binary.AppendUvarint(b, head), e.Record...)
}

// size is about what append appends, and never less.
func (c Change) size() int {
	size := 1 + 4*binary.MaxVarintLen64
	for _, event := range c.Events {
		size += binary.MaxVarintLen32 + len(event.Record)
	}
	return size
}

func (l Lease) append(b []byte, _ *cursor) []byte {
	b = binary.AppendVarint(append(b, byte(kindLease)), int64(l.ID))
	return binary.AppendUvarint(b, uint64(l.TTL))
}

func (l Leases) append(b []byte, _ *cursor) []byte {
	b = binary.AppendUvarint(append(b, byte(kindLeases)), uint64(len(l.IDs)))
	var before LeaseID
	for i, id := range l.IDs {
		if i == 0 {
			b = binary.AppendVarint(b, int64(id))
		} else {
			b = binary.AppendUvarint(b, uint64(id)-uint64(before))
		}
		before = id
	}
	return b
}

func (p Progress) append(b []byte, _ *cursor) []byte {
	b = binary.AppendUvarint(append(b, byte(kindProgress)), uint64(p.Revision))
	return binary.AppendUvarint(b, uint64(p.Time.UnixNano()))
}

func (c Compact) append(b []byte, _ *cursor) []byte {
	return binary.AppendUvarint(append(b, byte(kindCompact)), uint64(c.Revision))
}

func (h Hash) append(b []byte, _ *cursor) []byte {
	b = binary.AppendUvarint(append(b, byte(kindHash)), uint64(h.Member))
	b = binary.AppendUvarint(b, uint64(h.Revision))
	b = binary.AppendVarint(b, int64(h.CompactRevision))
	return binary.BigEndian.AppendUint32(b, h.Hash)
}

// records takes records off a block's plain bytes.
type records struct {
	scanner
	at     cursor
	events []Event // room for those of the block: its changes share it
}

var errMalformed = errors.New("malformed record")

// next takes one record, which is not validated yet. Its bytes are the block's.
func (r *records) next() (Record, error) {
	var record Record
	switch kind(r.uvarint()) {
	case kindChange:
		record = r.change()
	case kindLease:
		record = Lease{LeaseID(r.varint()), int64(r.uvarint())}
	case kindLeases:
		record = r.leases()
	case kindProgress:
		record = Progress{Revision(r.uvarint()), moment(int64(r.uvarint()))}
	case kindCompact:
		record = Compact{Revision(r.uvarint())}
	case kindHash:
		record = r.hash()
	default:
		r.fail()
	}
	if r.failed {
		return nil, errMalformed
	}
	return record, nil
}

func (r *records) change() Change {
	r.at.revision += Revision(r.uvarint())
	r.at.upper += int64(r.uvarint())
	lower := r.at.upper - int64(r.uvarint())
	c := Change{Revision: r.at.revision, Lower: moment(lower), Upper: moment(r.at.upper)}
	c.Events = r.changed(r.uvarint())
	return c
}

// changed takes n events. It takes memory as they come, not as they are claimed.
func (r *records) changed(n uint64) []Event {
	events := r.room(int(min(n, maxRoom)))
	for range n {
		head := r.uvarint()
		record := r.bytes(head >> 1)
		if r.failed || n > 1 && len(record) < minEvent-1 {
			r.fail()
			return nil
		}
		events = append(events, Event{Tombstone: head&1 != 0, Record: record})
	}
	return events
}

// room is for n events.
func (r *records) room(n int) []Event {
	if n > cap(r.events)-len(r.events) {
		return make([]Event, 0, n)
	}
	begin := len(r.events)
	r.events = r.events[:begin+n]
	return r.events[begin : begin : begin+n]
}

// maxRoom is how many events get their memory at once.
const maxRoom = BlockSize / 16

func (r *records) leases() Leases {
	n := r.count(1)
	if n == 0 {
		return Leases{}
	}
	ids := make([]LeaseID, n)
	ids[0] = LeaseID(r.varint())
	for i := range n - 1 {
		ids[i+1] = LeaseID(uint64(ids[i]) + r.uvarint())
	}
	return Leases{ids}
}

func (r *records) hash() Hash {
	h := Hash{Member: ID(r.uvarint()), Revision: Revision(r.uvarint()), CompactRevision: Revision(r.varint())}
	if sum := r.bytes(4); sum != nil {
		h.Hash = binary.BigEndian.Uint32(sum)
	}
	return h
}

func moment(nanoseconds int64) time.Time { return time.Unix(0, nanoseconds).UTC() }

package segment

import (
	"crypto/sha256"
	"encoding/binary"
)

// Digest is the SHA-256 of a change in its canonical form: two writers that saw the same
// revision have the same. Times are not in it.
func (c Change) Digest() Digest {
	h := sha256.New()
	b := c.appendHead(nil, "kubectl-etcd change 1\n")
	h.Write(b)
	for _, event := range c.Events {
		b = append(b[:0], tombstoneByte(event))
		h.Write(binary.BigEndian.AppendUint64(b, uint64(len(event.Record))))
		h.Write(event.Record)
	}
	return Digest(h.Sum(nil))
}

// DigestWithoutValues tells changes apart by keys, revisions, versions, leases and the
// values' lengths, and so can be published: it gives no value away, and a key only to
// whoever guesses the whole change. The change must be valid.
func (c Change) DigestWithoutValues() Digest {
	h := sha256.New()
	b := c.appendHead(nil, "kubectl-etcd change without values 1\n")
	h.Write(b)
	for _, event := range c.Events {
		b = event.appendOutline(b[:0])
		h.Write(b)
	}
	return Digest(h.Sum(nil))
}

// appendHead begins a canonical form, which name sets apart from the others.
func (c Change) appendHead(b []byte, name string) []byte {
	b = append(b, name...)
	b = binary.BigEndian.AppendUint64(b, uint64(c.Revision))
	return binary.BigEndian.AppendUint64(b, uint64(len(c.Events)))
}

// appendOutline appends an event without its value, 73 bytes.
func (e Event) appendOutline(b []byte) []byte {
	kv, err := parseKeyValue(e.Record)
	if err != nil {
		panic("segment: internal error: digest of an invalid change")
	}
	key := sha256.Sum256(kv.key)
	b = append(append(b, tombstoneByte(e)), key[:]...)
	for _, v := range []int64{kv.create, kv.modified, kv.version, kv.lease, int64(len(kv.value))} {
		b = binary.BigEndian.AppendUint64(b, uint64(v))
	}
	return b
}

func tombstoneByte(e Event) byte {
	if e.Tombstone {
		return 1
	}
	return 0
}

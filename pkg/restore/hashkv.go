package restore

import (
	"context"
	"hash/crc32"
	"hash/maphash"
)

// liveSet finds which record of each key is the live latest one at a revision, from
// records in order. It holds no key: per live key 24 bytes in a map, 30 to 60 with the
// map's slack, and one bit per record.
//
// The keys are told apart by 128 bits of seeded hash: two of a billion keys collide
// with a probability of 10^-21.
type liveSet struct {
	at      int64
	seeds   [2]maphash.Seed
	live    map[keyID]uint64   // → ordinal of the latest record
	buried  map[keyID]struct{} // deleted exactly at the revision
	records uint64             // seen so far, also those above the revision
}

type keyID [2]uint64

func newLiveSet(at int64) *liveSet {
	return &liveSet{
		at: at, seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		live: map[keyID]uint64{}, buried: map[keyID]struct{}{},
	}
}

func (s *liveSet) see(r revisionKey, key []byte) {
	ordinal := s.records
	s.records++
	if r.main > s.at {
		return
	}
	id := s.id(key)
	if !r.tombstone {
		s.live[id] = ordinal
		return
	}
	delete(s.live, id)
	if r.main == s.at {
		s.buried[id] = struct{}{}
	}
}

func (s *liveSet) id(key []byte) keyID {
	return keyID{maphash.Bytes(s.seeds[0], key), maphash.Bytes(s.seeds[1], key)}
}

// keys counts the live ones. The empty key, etcdutl's mark of a revision bump, is none.
func (s *liveSet) keys() int64 {
	n := int64(len(s.live))
	if _, ok := s.live[s.id(nil)]; ok {
		n--
	}
	return n
}

// kept is the set of records that etcd keeps when it compacts at the revision, by
// ordinal, and how many. A key deleted at that very revision is not among them, even
// when the same revision put it again (keyIndex.keep in mvcc/key_index.go stops at the
// first generation that ends there).
func (s *liveSet) kept() (bitmap, int) {
	kept, n := newBitmap(s.records), 0
	for id, ordinal := range s.live {
		if _, ok := s.buried[id]; !ok {
			kept.set(ordinal)
			n++
		}
	}
	return kept, n
}

// hashKV computes what a live member's HashKV answers at a revision (kvHasher in
// mvcc/hash.go): crc32c over the bucket's name, the records above the compaction up
// to the revision, and of the others those that a compaction would keep. A tombstone
// at the compaction is left out: older servers drop it, newer ones don't.
//
// A server asked for the very revision of its last compaction answers from a cache, with
// the hash by the compaction before: its CompactRevision tells. Revision 0 is not cached.
func (d *database) hashKV(ctx context.Context, set *liveSet, compact int64) (uint32, error) {
	kept, n := set.kept()
	h := crc32.New(castagnoli)
	h.Write([]byte(keyBucket))
	var ordinal uint64
	err := d.file.walk(ctx, d.buckets[keyBucket], func(e entry) error {
		i := ordinal
		ordinal++
		if i >= set.records {
			return damaged("it changed while it was read")
		}
		r, err := parseRevision(e.key)
		if err != nil {
			return err
		}
		switch {
		case r.main > set.at, r.main == compact && r.tombstone:
			return nil
		case r.main <= compact && n > 0 && !kept.has(i):
			return nil
		}
		h.Write(e.key)
		h.Write(e.value)
		return nil
	})
	return h.Sum32(), err
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

package restore

import (
	"context"
	"encoding/binary"
	"hash/maphash"
	"slices"

	bolt "go.etcd.io/bbolt"
	"go.etcd.io/etcd/server/v3/lease/leasepb"
	"google.golang.org/protobuf/proto"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
)

// leaseBucket holds the leases, by id in eight bytes, big endian (server/storage/schema/lease.go).
const leaseBucket = "lease"

// StandInTTL is what a lease gets of which only the id is known, in seconds: without any a
// key would stay for ever.
const StandInTTL = 3600

func leaseKey(id int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(id)) }

// putLease grants a lease as the source did. One whose TTL nobody learned gets a stand-in
// later, if a key needs it.
func (w *wind) putLease(id, ttl int64) error {
	if ttl <= 0 {
		return nil
	}
	bucket, err := w.bucket(leaseBucket)
	if err != nil {
		return err
	}
	value, err := proto.Marshal(&leasepb.Lease{ID: id, TTL: ttl})
	if err != nil {
		return err
	}
	w.pending += len(value)
	if w.granted != nil {
		w.granted[id] = true
	}
	if err := bucket.Put(leaseKey(id), value); err != nil {
		return err
	}
	return w.commitIfLarge()
}

// keepLeases notes which leases the source had at a moment near this one. The others go in
// the end, but for those that keys have: the list may be older, or younger, than its place
// among the changes.
func (w *wind) keepLeases(ids []segment.LeaseID) {
	if w.listed = ids; ids == nil {
		w.listed = []segment.LeaseID{}
	}
	w.granted = map[int64]bool{}
}

// dropLeases takes out those that the last list did not have, that no key has, and that
// were not told of since.
func (w *wind) dropLeases(bucket *bolt.Bucket, live []int64) error {
	if w.listed == nil {
		return nil
	}
	var gone [][]byte
	err := bucket.ForEach(func(key, _ []byte) error {
		id := int64(binary.BigEndian.Uint64(key))
		_, there := slices.BinarySearch(w.listed, segment.LeaseID(id))
		_, used := slices.BinarySearch(live, id)
		if !there && !used && !w.granted[id] {
			gone = append(gone, slices.Clone(key))
		}
		return nil
	})
	for _, key := range gone {
		if err == nil {
			err = bucket.Delete(key)
		}
	}
	return err
}

// standIn grants the leases that live keys have and nobody granted.
func (w *wind) standIn(ctx context.Context, tx *bolt.Tx) error {
	leases, err := liveLeases(ctx, tx.Bucket([]byte(keyBucket)))
	if err != nil {
		return err
	}
	bucket, err := tx.CreateBucketIfNotExists([]byte(leaseBucket))
	if err != nil {
		return err
	}
	for _, id := range leases {
		if bucket.Get(leaseKey(id)) != nil {
			continue
		}
		value, err := proto.Marshal(&leasepb.Lease{ID: id, TTL: StandInTTL})
		if err == nil {
			err = bucket.Put(leaseKey(id), value)
		}
		if err != nil {
			return err
		}
		w.StandIns = append(w.StandIns, segment.LeaseID(id))
	}
	return w.dropLeases(bucket, leases)
}

// liveLeases are the leases of the keys that are live after all records, ascending.
func liveLeases(ctx context.Context, records *bolt.Bucket) ([]int64, error) {
	seed, leased := maphash.MakeSeed(), map[uint64]int64{}
	err := records.ForEach(func(name, value []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		revision, err := parseRevision(name)
		if err != nil {
			return err
		}
		key, lease, ok := readRecord(value)
		if !ok {
			return damaged("the record of revision %d can't be read", revision.main)
		}
		id := maphash.Bytes(seed, key)
		delete(leased, id)
		if !revision.tombstone && lease != 0 {
			leased[id] = lease
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var ids []int64
	for _, id := range leased {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

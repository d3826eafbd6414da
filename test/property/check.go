package property

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"filippo.io/age"
	bolt "go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/server/v3/lease/leasepb"
	"google.golang.org/protobuf/proto"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

// check restores every moment that the server told of.
func (r *run) check() {
	a := r.archive(store.Keys{Identities: []age.Identity{r.identity}})
	timelines, err := a.Timelines(r.t.Context())
	if err != nil || len(timelines) == 0 {
		r.t.Fatalf("timelines %v, %v", timelines, err)
	}
	restored := 0
	for _, t := range timelines {
		c, err := a.Contents(r.t.Context(), t)
		if err != nil {
			r.t.Fatal(err)
		}
		v, err := restore.Verify(r.t.Context(), a, c, restore.VerifyOptions{})
		if err != nil || len(v.Faults) > 0 {
			r.t.Errorf("timeline %s does not verify: %+v, %v", t.ID, v.Faults, err)
		}
		for _, truth := range r.truths {
			if r.checkOne(a, c, truth) {
				restored++
			}
		}
	}
	// What was compacted away while nobody looked is not in the archive; the rest is.
	if restored < len(r.truths)*2/3 {
		r.t.Errorf("only %d of %d moments can be restored", restored, len(r.truths))
	}
	r.t.Logf("%d moments, %d restored and compared, %d with the server's hash, %d timelines", len(r.truths), restored, r.proven, len(timelines))
}

// checkOne tells whether a timeline has the moment; if so it must be right.
func (r *run) checkOne(a *store.Archive, c *store.Contents, want truth) bool {
	plan, err := restore.PlanArchive(r.t.Context(), a, c, restore.When{Revision: segment.Revision(want.revision)})
	if errors.Is(err, store.ErrNoBase) || errors.Is(err, store.ErrGap) {
		return false
	}
	if err != nil {
		r.t.Fatal(err)
	}
	path := filepath.Join(r.dir, "moment.db")
	file, err := os.Create(path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer os.Remove(path) //nolint:errcheck // in a folder of the test's own
	defer file.Close()    //nolint:errcheck // it is read by its name as well
	base, err := restore.FetchBase(r.t.Context(), a, c.Timeline.ID, plan.Chain.Base, file)
	if err != nil {
		r.t.Fatal(err)
	}
	reading := restore.ReadChain(r.t.Context(), a, c.Timeline.ID, plan.Chain)
	defer reading.Close() //nolint:errcheck // only read
	moment, err := restore.TurnInto(r.t.Context(), base, want.revision, reading.Next)
	if err != nil {
		r.t.Errorf("revision %d from base %d with %d segments: %v", want.revision, plan.Chain.Base.Info.Last, len(plan.Chain.Segments), err)
		return true
	}
	r.compare(path, moment, want)
	if _, err := restore.Prove(r.t.Context(), file, moment, len(r.clients)); err != nil {
		r.t.Errorf("revision %d: %v", want.revision, err)
	}
	return true
}

func (r *run) compare(path string, moment *restore.Moment, want truth) {
	if !want.hash.IsZero() {
		switch err := restore.Attested(r.t.Context(), path, want.hash); {
		case err == nil:
			r.proven++
		case !errors.Is(err, restore.ErrUnproven):
			r.t.Errorf("revision %d (base %d): %v", want.revision, moment.Base, err)
		}
	}
	keys, leases, err := read(path)
	if err != nil {
		r.t.Errorf("revision %d: %v", want.revision, err)
		return
	}
	for key, state := range want.keys {
		if keys[key] != state {
			r.t.Errorf("revision %d (base %d): %s is %.80v, and was %.80v", want.revision, moment.Base, key, keys[key], state)
		}
	}
	for key := range keys {
		if _, there := want.keys[key]; !there {
			r.t.Errorf("revision %d (base %d): %s is there, and was not", want.revision, moment.Base, key)
		}
	}
	r.compareLeases(leases, moment, want)
}

// compareLeases: a lease of a key has the TTL that it was granted, or a stand-in, which only
// one may have that ended before it could be asked for, or before the base was taken.
func (r *run) compareLeases(leases map[int64]int64, moment *restore.Moment, want truth) {
	for key, state := range want.keys {
		if state.lease == 0 {
			continue
		}
		ttl, there := leases[state.lease]
		standIn := slices.Contains(moment.StandIns, segment.LeaseID(state.lease))
		switch {
		case !there:
			r.t.Errorf("revision %d: the lease of %s is missing: it would stay for ever", want.revision, key)
		case standIn && !r.ended[state.lease]:
			r.t.Errorf("revision %d (base %d): the lease of %s lives, and has a stand-in", want.revision, moment.Base, key)
		case !standIn && ttl != r.granted[state.lease]:
			r.t.Errorf("revision %d: the lease of %s has a TTL of %d, and was granted %d", want.revision, key, ttl, r.granted[state.lease])
		}
	}
}

// read is what the database holds, by bbolt's own reader: the live keys, the leases.
func read(path string) (map[string]keyState, map[int64]int64, error) {
	db, err := bolt.Open(path, 0o400, &bolt.Options{ReadOnly: true})
	if err != nil {
		return nil, nil, err
	}
	defer db.Close() //nolint:errcheck // only read
	keys, leases := map[string]keyState{}, map[int64]int64{}
	err = db.View(func(tx *bolt.Tx) error {
		err := tx.Bucket([]byte("key")).ForEach(func(k, v []byte) error {
			var kv mvccpb.KeyValue
			if err := proto.Unmarshal(v, &kv); err != nil {
				return err
			}
			if len(k) == 18 {
				delete(keys, string(kv.Key))
				return nil
			}
			if got := int64(binary.BigEndian.Uint64(k)); got != kv.ModRevision {
				return fmt.Errorf("the record of revision %d says that it is of %d", got, kv.ModRevision)
			}
			keys[string(kv.Key)] = keyState{string(kv.Value), kv.CreateRevision, kv.ModRevision, kv.Version, kv.Lease}
			return nil
		})
		if err != nil {
			return err
		}
		return tx.Bucket([]byte("lease")).ForEach(func(k, v []byte) error {
			var lease leasepb.Lease
			if err := proto.Unmarshal(v, &lease); err != nil {
				return err
			}
			leases[lease.ID] = lease.TTL
			return nil
		})
	})
	return keys, leases, err
}

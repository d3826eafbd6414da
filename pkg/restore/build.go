package restore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"

	bolt "go.etcd.io/bbolt"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.etcd.io/etcd/server/v3/verify"
	"go.uber.org/zap"
)

// identity is what a member's backend holds about the cluster it belongs to: bucket →
// key → value. It is the same for all members.
type identity map[string]map[string][]byte

// identityBuckets are those that etcdutl fills.
var identityBuckets = []string{metaBucket, memberBucket, removedBucket}

// skeletons lets etcdutl restore an empty database for every member: that gives the
// WAL, the raft snapshot and the membership. The real database is put in afterwards,
// so that etcdutl does not copy and hash it for each member.
func (b *builder) skeletons(context.Context) error {
	b.onStep("make the members' logs")
	for _, w := range b.works {
		seed := w.dir + ".seed"
		err := writeSeed(seed)
		if err == nil {
			err = snapshot.NewV3(zap.NewNop()).Restore(snapshot.RestoreConfig{
				SnapshotPath: seed, SkipHashCheck: true,
				Name: w.target.Name, PeerURLs: w.target.PeerURLs,
				InitialCluster: initialCluster(b.plan.Members), InitialClusterToken: b.plan.Token,
				OutputDataDir: w.dir,
			})
		}
		if err := errors.Join(err, removeIfThere(seed)); err != nil {
			return fmt.Errorf("make the log of %s: %w", w.target.Name, err)
		}
	}
	return nil
}

// writeSeed makes the least database that etcdutl restores.
func writeSeed(path string) error {
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range slices.Concat(identityBuckets, []string{keyBucket, clusterBucket}) {
			if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
				return err
			}
		}
		return nil
	})
	return errors.Join(err, db.Close())
}

// readIdentity takes from etcdutl's database what it has put there.
func readIdentity(path string) (identity, error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	found := identity{}
	err = db.View(func(tx *bolt.Tx) error {
		for _, name := range identityBuckets {
			found[name] = map[string][]byte{}
			err := tx.Bucket([]byte(name)).ForEach(func(k, v []byte) error {
				found[name][string(k)] = slices.Clone(v)
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && len(found[memberBucket]) == 0 {
		err = errors.New("etcdutl wrote no members")
	}
	return found, errors.Join(err, db.Close())
}

// edit makes the copy of a snapshot the database of the new cluster, in one transaction.
// Its pages were checked when the snapshot was opened.
func edit(path string, plan *Plan, id identity) error {
	db, err := bolt.Open(path, 0o600, &bolt.Options{
		NoSync: true, NoGrowSync: true, NoFreelistSync: true, FreelistType: bolt.FreelistMapType,
	})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		if err := setIdentity(tx, id, plan.TargetVersion); err != nil {
			return err
		}
		if plan.TargetVersion != "" {
			if err := setVersion(tx, plan.TargetVersion); err != nil {
				return err
			}
		}
		if plan.ClearAlarms {
			if err := empty(tx, alarmBucket); err != nil {
				return err
			}
		}
		if plan.Bump == 0 {
			return nil
		}
		return bump(tx, plan.NewRevision)
	})
	return errors.Join(err, db.Close())
}

// setIdentity replaces the old cluster's members, and where its log stood.
func setIdentity(tx *bolt.Tx, id identity, target string) error {
	for _, name := range []string{memberBucket, removedBucket} {
		if err := empty(tx, name); err != nil {
			return err
		}
	}
	for name, values := range id {
		b, err := tx.CreateBucketIfNotExists([]byte(name))
		if err != nil {
			return err
		}
		for key, value := range values {
			if err := b.Put([]byte(key), value); err != nil {
				return err
			}
		}
	}
	return setConfState(tx, id, target)
}

// setConfState replaces the old cluster's voters where 3.5 and later keep them
// (server/storage/schema/confstate.go); 3.4 knows no such key.
func setConfState(tx *bolt.Tx, id identity, target string) error {
	meta := tx.Bucket([]byte(metaBucket))
	if meta.Get([]byte(confStateKey)) == nil {
		return nil
	}
	if target == "3.4" {
		return meta.Delete([]byte(confStateKey))
	}
	var state struct {
		Voters    []uint64 `json:"voters"`
		AutoLeave bool     `json:"auto_leave"`
	}
	for key := range id[memberBucket] {
		voter, err := strconv.ParseUint(key, 16, 64)
		if err != nil {
			return fmt.Errorf("read member ID: %w", err)
		}
		state.Voters = append(state.Voters, voter)
	}
	slices.Sort(state.Voters)
	value, err := json.Marshal(state)
	if err != nil {
		return err
	}
	return meta.Put([]byte(confStateKey), value)
}

func empty(tx *bolt.Tx, name string) error {
	if tx.Bucket([]byte(name)) == nil {
		return nil
	}
	if err := tx.DeleteBucket([]byte(name)); err != nil {
		return err
	}
	_, err := tx.CreateBucket([]byte(name))
	return err
}

// bump does what `etcdutl snapshot restore --bump-revision --mark-compacted` does: an
// empty record makes revision the head, and everything up to it is due for compaction.
func bump(tx *bolt.Tx, revision int64) error {
	if err := tx.Bucket([]byte(keyBucket)).Put(revisionBytes(revision), nil); err != nil {
		return err
	}
	return tx.Bucket([]byte(metaBucket)).Put([]byte(scheduledCompactKey), revisionBytes(revision))
}

// prove reads back what was built. Each member's records up to the snapshot's revision
// must have the HashKV that the snapshot has, with the bump's record as the only one
// above, and the log must agree with the database.
func (b *builder) prove(ctx context.Context) error {
	for _, w := range b.works {
		b.onStep("read back and prove " + w.target.Name)
		if err := verifyLog(w.dir); err != nil {
			return fmt.Errorf("verify %s: %w", w.target.Name, err)
		}
		if err := proveDatabase(ctx, w.database(), b.plan); err != nil {
			return fmt.Errorf("prove %s: %w", w.target.Name, err)
		}
	}
	b.proven = true
	return nil
}

// verifyLog is etcd's own check that WAL and database fit. It panics on some errors.
func verifyLog(dir string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	return verify.Verify(verify.Config{DataDir: dir, ExactIndex: true, Logger: zap.NewNop()})
}

func proveDatabase(ctx context.Context, path string, plan *Plan) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // only read
	info, err := file.Stat()
	if err != nil {
		return err
	}
	d, err := openDatabase(ctx, file, info.Size())
	if err != nil {
		return err
	}
	if d.revision != plan.NewRevision {
		return fmt.Errorf("its revision is %d, and should be %d", d.revision, plan.NewRevision)
	}
	want := plan.Snapshot.Contents
	d.revision = want.Revision // the scan is to see what was live before the bump
	found, err := d.scan(ctx)
	if err != nil {
		return err
	}
	hash, err := d.hashKV(ctx, found.set, want.CompactRevision)
	if err != nil {
		return err
	}
	records := want.Records
	if plan.Bump > 0 {
		records++
	}
	if hash != want.HashKV || int64(found.set.records) != records {
		return fmt.Errorf("its HashKV is %d with %d records, and should be %d with %d", hash, found.set.records, want.HashKV, records)
	}
	return nil
}

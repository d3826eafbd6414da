package restore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// The set must stay small beside the keys: a big cluster has millions.
func TestLiveSetMemory(t *testing.T) {
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	for _, n := range []int{100_000, 230_000, 400_000} {
		before, set := heap(), newLiveSet(int64(2*n))
		key := make([]byte, 200)
		for i := range n {
			binary.BigEndian.PutUint64(key, uint64(i))
			set.see(revisionKey{main: int64(i + 2)}, key)
		}
		perKey := (heap() - before) / int64(n)
		t.Logf("%d keys: %d bytes each", n, perKey)
		if perKey > 64 {
			t.Errorf("%d keys take %d bytes each", n, perKey)
		}
		if set.keys() != int64(n) {
			t.Errorf("%d keys counted of %d", set.keys(), n)
		}
	}
}

func TestLiveSetKeeps(t *testing.T) {
	put := func(main, sub int64) revisionKey { return revisionKey{main: main, sub: sub} }
	deleted := func(main, sub int64) revisionKey { return revisionKey{main: main, sub: sub, tombstone: true} }
	type record struct {
		revisionKey
		key string
	}
	for _, tc := range []struct {
		name    string
		records []record
		keys    int64
		kept    []bool
	}{
		{"overwritten", []record{{put(2, 0), "a"}, {put(3, 0), "b"}, {put(4, 0), "a"}}, 2, []bool{false, true, true}},
		{"deleted", []record{{put(2, 0), "a"}, {deleted(3, 0), "a"}}, 0, []bool{false, false}},
		{"put again", []record{{put(2, 0), "a"}, {deleted(3, 0), "a"}, {put(4, 0), "a"}}, 1, []bool{false, false, true}},
		{"above the revision", []record{{put(2, 0), "a"}, {put(11, 0), "a"}, {deleted(12, 0), "a"}}, 1, []bool{true, false, false}},
		{"deleted and put at the revision", []record{{put(2, 0), "a"}, {deleted(10, 0), "a"}, {put(10, 1), "a"}}, 1, []bool{false, false, false}},
		{"etcdutl's bump", []record{{put(2, 0), "a"}, {put(10, 0), ""}}, 1, []bool{true, true}},
	} {
		set := newLiveSet(10)
		for _, r := range tc.records {
			set.see(r.revisionKey, []byte(r.key))
		}
		kept, n := set.kept()
		for i, want := range tc.kept {
			if kept.has(uint64(i)) != want {
				t.Errorf("%s: record %d kept is %v", tc.name, i, !want)
			}
			if want {
				n--
			}
		}
		if n != 0 || set.keys() != tc.keys {
			t.Errorf("%s: %d keys, want %d; count of kept is off by %d", tc.name, set.keys(), tc.keys, n)
		}
	}
}

// A compaction that is due but not done, with no key alive: etcd then leaves nothing
// out but a tombstone at the compaction (kvHasher asks len(keep) > 0).
func TestHashKVWithNothingToKeep(t *testing.T) {
	records := map[string]string{
		string(revisionBytes(2)):       "\x0a\x01k",
		string(revisionBytes(3)) + "t": "\x0a\x01k",
		string(revisionBytes(4)):       "\x0a\x01l",
		string(revisionBytes(5)) + "t": "\x0a\x01l",
	}
	path := filepath.Join(t.TempDir(), "db")
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		meta, err := tx.CreateBucket([]byte(metaBucket))
		if err != nil {
			return err
		}
		keys, err := tx.CreateBucket([]byte(keyBucket))
		for key, value := range records {
			err = errors.Join(err, keys.Put([]byte(key), []byte(value)))
		}
		return errors.Join(err, meta.Put([]byte(scheduledCompactKey), revisionBytes(5)))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data = sealed(data)
	got, err := read(t.Context(), bytes.NewReader(data), int64(len(data)), checkSHA256)
	if err != nil {
		t.Fatal(err)
	}
	want := crc32.New(castagnoli)
	want.Write([]byte(keyBucket))
	for _, key := range slices.Sorted(maps.Keys(records))[:3] {
		want.Write([]byte(key + records[key]))
	}
	if got.Contents.HashKV != want.Sum32() || got.Contents.CompactRevision != 5 || got.Contents.Keys != 0 {
		t.Errorf("%+v, want HashKV %d", got.Contents, want.Sum32())
	}
}

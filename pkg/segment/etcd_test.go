package segment

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/protobuf/proto"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
)

// TestEtcd holds the format against etcd itself: what its watch told of all kinds of work,
// through a segment, is what its backend holds, byte by byte.
func TestEtcd(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{Plain: true, Configure: func(c *embed.Config) { c.MaxTxnOps = 1000 }})
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{cluster.Members[0].ClientURL}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	last := work(ctx, t, client)
	changes := watched(ctx, t, client, last)
	cluster.Members[0].Stop()

	body := encodeChanges(t, changes)
	stored := backend(t, filepath.Join(cluster.Members[0].Dir, "member", "snap", "db"))
	decoder := NewDecoder(bytes.NewReader(body))
	for {
		record, err := decoder.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for sub, event := range record.(Change).Events {
			key := string(AppendBackendKey(nil, record.(Change).Revision, sub, event.Tombstone))
			if value, ok := stored[key]; !ok || !bytes.Equal(value, event.Record) {
				t.Errorf("%q: etcd holds %q, the segment %q", key, value, event.Record)
			}
			delete(stored, key)
		}
	}
	if len(stored) > 0 {
		t.Errorf("%d records of etcd are not in the segment: %q", len(stored), stored)
	}
}

// work does what changes keys in every way, and gives the last revision.
func work(ctx context.Context, t *testing.T, client *clientv3.Client) int64 {
	t.Helper()
	random := rand.New(rand.NewSource(1))
	lease, err := client.Grant(ctx, 600)
	if err != nil {
		t.Fatal(err)
	}
	key := func() string { return fmt.Sprintf("k%02d", random.Intn(40)) }
	for range 300 {
		value := string(make([]byte, random.Intn(300)))
		var op clientv3.Op
		switch random.Intn(6) {
		case 0:
			op = clientv3.OpDelete(key())
		case 1:
			op = clientv3.OpDelete(key(), clientv3.WithRange("k9"))
		case 2:
			op = clientv3.OpPut(key(), value, clientv3.WithLease(lease.ID))
		case 3: // siblings that put a key and then delete it
			k := key()
			op = clientv3.OpTxn(nil, []clientv3.Op{
				clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpPut(k, value), clientv3.OpPut("x"+k, "")}, nil),
				clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpDelete(k, clientv3.WithPrefix())}, nil),
			}, nil)
		default:
			op = clientv3.OpPut(key(), value)
		}
		if _, err := client.Do(ctx, op); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.Revoke(ctx, lease.ID); err != nil {
		t.Fatal(err)
	}
	done, err := client.Put(ctx, "last", "")
	if err != nil {
		t.Fatal(err)
	}
	return done.Header.Revision
}

// watched is what a watch of all keys tells from the first revision on, up to last.
func watched(ctx context.Context, t *testing.T, client *clientv3.Client, last int64) (changes []Change) {
	t.Helper()
	for response := range client.Watch(ctx, "", clientv3.WithPrefix(), clientv3.WithRev(1)) {
		if err := response.Err(); err != nil {
			t.Fatal(err)
		}
		for _, event := range response.Events {
			record, err := proto.Marshal(stripped(event))
			if err != nil {
				t.Fatal(err)
			}
			revision := Revision(event.Kv.ModRevision)
			if n := len(changes); n == 0 || changes[n-1].Revision != revision {
				changes = append(changes, Change{Revision: revision, Lower: at(0), Upper: at(1)})
			}
			c := &changes[len(changes)-1]
			c.Events = append(c.Events, Event{Tombstone: event.Type == mvccpb.Event_DELETE, Record: record})
		}
		if n := len(changes); n > 0 && changes[n-1].Revision >= Revision(last) {
			return changes
		}
	}
	t.Fatal("the watch ended before")
	return nil
}

// stripped is what etcd stores of an event: of a delete the key alone.
func stripped(event *clientv3.Event) *mvccpb.KeyValue {
	if event.Type == mvccpb.Event_DELETE {
		return &mvccpb.KeyValue{Key: event.Kv.Key}
	}
	return event.Kv
}

// backend is the bucket "key" of a database.
func backend(t *testing.T, path string) map[string][]byte {
	t.Helper()
	db, err := bolt.Open(path, 0o400, &bolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	stored := map[string][]byte{}
	err = db.View(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte("key")).ForEach(func(k, v []byte) error {
			stored[string(k)] = bytes.Clone(v)
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

// checkKeyValue holds our reading of a record against protobuf's: what we take, it takes,
// and reads the same.
func checkKeyValue(t *testing.T, record []byte) {
	t.Helper()
	kv, err := parseKeyValue(record)
	if err != nil {
		return
	}
	var want mvccpb.KeyValue
	if err := proto.Unmarshal(record, &want); err != nil {
		t.Fatalf("%q: we take it, protobuf says %v", record, err)
	}
	got := mvccpb.KeyValue{
		Key: kv.key, CreateRevision: kv.create, ModRevision: kv.modified, Version: kv.version, Value: kv.value, Lease: kv.lease,
	}
	want.ProtoReflect().SetUnknown(nil)
	if !proto.Equal(&got, &want) {
		t.Fatalf("%q: we read %v, protobuf %v", record, &got, &want)
	}
}

func TestKeyValue(t *testing.T) {
	for _, kv := range []keyValue{
		{},
		{key: []byte("a")},
		{key: []byte("a"), create: 1, modified: 1 << 62, version: 300, value: []byte("v"), lease: -1},
	} {
		record := marshal(kv)
		want, err := proto.Marshal(&mvccpb.KeyValue{
			Key: kv.key, CreateRevision: kv.create, ModRevision: kv.modified, Version: kv.version, Value: kv.value, Lease: kv.lease,
		})
		if err != nil || !bytes.Equal(record, want) {
			t.Errorf("the tests' marshal gives %q, protobuf %q (%v)", record, want, err)
		}
		if _, err := parseKeyValue(record); err != nil {
			t.Error(err)
		}
		checkKeyValue(t, record)
	}
	for _, bad := range []string{"\x0a", "\x0a\x05k", "\x00\x00", "\x0b", "\x10\x80", "\x0d123", "\x09123"} {
		if _, err := parseKeyValue([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	for _, later := range []string{"\x0a\x01k\x38\x01", "\x0a\x01k\x3a\x01x", "\x0a\x01k\x3d1234", "\x0a\x01k\x3912345678"} {
		kv, err := parseKeyValue([]byte(later))
		if err != nil || string(kv.key) != "k" {
			t.Errorf("a field of a later etcd: %+v, %v", kv, err)
		}
		checkKeyValue(t, []byte(later))
	}
}

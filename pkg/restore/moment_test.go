package restore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
)

// capture has what a source did from a revision on, as a segment's records.
type capture struct{ records []segment.Record }

// captureFrom watches a source from a revision to its head. Leases are asked for as they
// appear, as a capture does.
func captureFrom(t *testing.T, s *server, from int64) *capture {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	head, c, seen := s.revision(t), &capture{}, map[int64]bool{}
	for answer := range s.Watch(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithRev(from)) {
		if err := answer.Err(); err != nil {
			t.Fatal(err)
		}
		for _, event := range answer.Events {
			if id := event.Kv.Lease; id != 0 && !seen[id] {
				seen[id] = true
				if ttl, err := s.TimeToLive(ctx, clientv3.LeaseID(id)); err == nil && ttl.GrantedTTL > 0 {
					c.records = append(c.records, segment.Lease{ID: segment.LeaseID(id), TTL: ttl.GrantedTTL})
				}
			}
			c.add(t, event)
		}
		if answer.Events[len(answer.Events)-1].Kv.ModRevision >= head {
			break
		}
	}
	return c
}

func (c *capture) add(t *testing.T, event *clientv3.Event) {
	t.Helper()
	kv := event.Kv
	if event.Type == clientv3.EventTypeDelete {
		kv = &mvccpb.KeyValue{Key: kv.Key}
	}
	record, err := proto.Marshal(kv)
	if err != nil {
		t.Fatal(err)
	}
	revision := segment.Revision(event.Kv.ModRevision)
	got := segment.Event{Tombstone: event.Type == clientv3.EventTypeDelete, Record: record}
	if n := len(c.records); n > 0 {
		if last, ok := c.records[n-1].(segment.Change); ok && last.Revision == revision {
			last.Events = append(last.Events, got)
			c.records[n-1] = last
			return
		}
	}
	at := time.Unix(1_700_000_000+int64(revision), 0).UTC()
	c.records = append(c.records, segment.Change{Revision: revision, Lower: at, Upper: at, Events: []segment.Event{got}})
}

// changes gives the records as a decoder does, through a real segment.
func (c *capture) changes(t *testing.T) Changes {
	t.Helper()
	var body bytes.Buffer
	encoder := segment.NewEncoder(&body)
	for _, record := range c.records {
		if err := encoder.Encode(record); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := encoder.Close(); err != nil {
		t.Fatal(err)
	}
	return segment.NewDecoder(&body).Next
}

func base(t *testing.T, s *server) *Snapshot {
	t.Helper()
	snapshot, err := Open(t.Context(), s.save(t))
	if err != nil {
		t.Fatal(err)
	}
	return snapshot
}

// writeMoment is WriteMoment into a new file.
func writeMoment(ctx context.Context, base *Snapshot, revision int64, changes Changes, path string) (m *Moment, err error) {
	err = NewFile(path, func(file *os.File) (err error) {
		m, err = WriteMoment(ctx, base, revision, changes, file)
		return err
	})
	return m, err
}

func none() (segment.Record, error) { return nil, io.EOF }

// Every moment hashes as the source did at that revision, before the base and after it, and
// etcdutl finds nothing wrong.
func TestMomentIsTheSource(t *testing.T) {
	s := startSource(t)
	s.work(t, "/registry/a", 40)
	middle := base(t, s)
	s.work(t, "/registry/b", 40)
	s.nested(t, "/registry/nested")
	s.delete(t, "/registry/a", clientv3.WithPrefix())
	head := s.revision(t)
	c := captureFrom(t, s, 2)

	for _, at := range []int64{2, middle.Contents.Revision / 2, middle.Contents.Revision - 1, middle.Contents.Revision, middle.Contents.Revision + 1, (middle.Contents.Revision + head) / 2, head - 1, head, 0} {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "moment.db")
			m, err := writeMoment(t.Context(), middle, at, c.changes(t), path)
			if err != nil {
				t.Fatal(err)
			}
			want := at
			if at == 0 {
				want = head
			}
			got, err := Open(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			live := s.hashKV(t, want)
			if m.Revision != want || got.Contents.Revision != want || got.Contents.HashKV != live.Hash {
				t.Errorf("revision %d (%+v), HashKV %d; the source had %d", got.Contents.Revision, m, got.Contents.HashKV, live.Hash)
			}
			if (m.Rewound > 0) != (want < m.Base) || (m.Applied > 0) != (want > m.Base) {
				t.Errorf("it says %+v", m)
			}
		})
	}
}

// What the source compacted is due for compaction in the moment, too, and its hash from
// there on is the source's.
func TestMomentAfterACompaction(t *testing.T) {
	s := startSource(t)
	s.work(t, "a", 40)
	before := base(t, s)
	s.work(t, "b", 40)
	c := captureFrom(t, s, before.Contents.Revision)
	compacted := s.revision(t) - 10
	s.compact(t, compacted)
	live := s.hashKV(t, 0)
	c.records = append(c.records,
		segment.Compact{Revision: segment.Revision(compacted)},
		segment.Hash{Member: 1, Revision: segment.Revision(live.HashRevision), CompactRevision: segment.Revision(live.CompactRevision), Hash: live.Hash})

	path := filepath.Join(t.TempDir(), "moment.db")
	m, err := writeMoment(t.Context(), before, 0, c.changes(t), path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if got.Contents.CompactRevision != compacted || got.Contents.HashKV != live.Hash {
		t.Errorf("compacted at %d, HashKV %d; the source at %d, %d", got.Contents.CompactRevision, got.Contents.HashKV, compacted, live.Hash)
	}
	if len(m.Attestations) != 1 {
		t.Fatalf("attestations %v", m.Attestations)
	}
	if err := Attested(t.Context(), path, m.Attestations[0]); err != nil {
		t.Error(err)
	}
	wrong := m.Attestations[0]
	wrong.Hash++
	if err := Attested(t.Context(), path, wrong); !errors.Is(err, ErrHash) {
		t.Errorf("a wrong hash: %v", err)
	}
	wrong.Revision = segment.Revision(got.Contents.Revision + 1)
	if err := Attested(t.Context(), path, wrong); !errors.Is(err, ErrUnproven) {
		t.Errorf("a hash of later: %v", err)
	}
}

// A change anywhere in what was captured does not go unseen by the source's hash.
func TestAttestedSeesAChange(t *testing.T) {
	s := startSource(t)
	s.work(t, "a", 20)
	b := base(t, s)
	s.put(t, "key", "the value")
	c := captureFrom(t, s, b.Contents.Revision+1)
	live := s.hashKV(t, 0)
	hash := segment.Hash{Member: 1, Revision: segment.Revision(live.HashRevision), CompactRevision: -1, Hash: live.Hash}
	change := c.records[len(c.records)-1].(segment.Change)
	change.Events[0].Record = bytes.Replace(change.Events[0].Record, []byte("the value"), []byte("THE value"), 1)

	path := filepath.Join(t.TempDir(), "moment.db")
	if _, err := writeMoment(t.Context(), b, 0, c.changes(t), path); err != nil {
		t.Fatal(err)
	}
	if err := Attested(t.Context(), path, hash); !errors.Is(err, ErrHash) {
		t.Errorf("got %v", err)
	}
}

// Whatever does not fit is refused, and no file is left.
func TestMomentRefuses(t *testing.T) {
	s := startSource(t)
	s.work(t, "a", 30)
	s.compact(t, 10)
	b := base(t, s)
	last := b.Contents.Revision
	s.work(t, "b", 30)
	whole := captureFrom(t, s, last-3)
	without := func(revision int64) *capture {
		return &capture{slices.DeleteFunc(slices.Clone(whole.records), func(r segment.Record) bool {
			change, ok := r.(segment.Change)
			return ok && int64(change.Revision) == revision
		})}
	}
	other := &capture{slices.Clone(whole.records)}
	for i, record := range other.records {
		if change, ok := record.(segment.Change); ok && int64(change.Revision) == last {
			kv, err := proto.Marshal(&mvccpb.KeyValue{Key: []byte("other"), CreateRevision: last, ModRevision: last, Version: 1})
			if err != nil {
				t.Fatal(err)
			}
			change.Events = []segment.Event{{Record: kv}}
			other.records[i] = change
		}
	}
	list := func(c *capture) Changes { // a gap that no decoder would let through
		at := -1
		return func() (segment.Record, error) {
			if at++; at >= len(c.records) {
				return nil, io.EOF
			}
			return c.records[at], nil
		}
	}
	for _, test := range []struct {
		name     string
		revision int64
		changes  Changes
		want     error
	}{
		{"a revision is missing", 0, list(without(last + 5)), ErrGap},
		{"the first is missing", 0, list(without(last + 1)), ErrGap},
		{"progress tells of more", 0, func() (segment.Record, error) {
			return segment.Progress{Revision: segment.Revision(last + 1), Time: time.Now()}, nil
		}, ErrGap},
		{"another history", 0, list(other), ErrFork},
		{"before the base's floor", 9, none, ErrNotCaptured},
		{"after the last change", last + 1000, whole.changes(t), ErrNotCaptured},
		{"changes that break off", 0, func() (segment.Record, error) { return nil, segment.ErrDamaged }, segment.ErrDamaged},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			m, err := writeMoment(t.Context(), b, test.revision, test.changes, filepath.Join(dir, "moment.db"))
			if m != nil || !errors.Is(err, test.want) {
				t.Errorf("%+v, %v", m, err)
			}
			if left := entriesIn(t, dir); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
	t.Run("a file that is there", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "moment.db")
		write(t, path, []byte("mine"))
		if _, err := writeMoment(t.Context(), b, 0, none, path); !errors.Is(err, os.ErrExist) {
			t.Error(err)
		}
		if content, err := os.ReadFile(path); string(content) != "mine" {
			t.Errorf("it holds %q, %v", content, err)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		dir := t.TempDir()
		if _, err := writeMoment(canceled(), b, 0, none, filepath.Join(dir, "moment.db")); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if left := entriesIn(t, dir); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	})
}

func entriesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// A restored moment has the source's leases, with the TTL that was granted; one whose TTL
// nobody learned, of a live key, gets a stand-in.
func TestMomentHasTheLeases(t *testing.T) {
	s := startSource(t)
	grant := func(ttl int64) clientv3.LeaseID {
		lease, err := s.Grant(t.Context(), ttl)
		if err != nil {
			t.Fatal(err)
		}
		return lease.ID
	}
	early := grant(500)
	s.put(t, "early", "1", clientv3.WithLease(early))
	b := base(t, s)
	later, unknown, gone := grant(700), grant(900), grant(800)
	s.put(t, "later", "1", clientv3.WithLease(later))
	s.put(t, "unknown", "1", clientv3.WithLease(unknown))
	s.put(t, "gone", "1", clientv3.WithLease(gone))
	if _, err := s.Revoke(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	c := captureFrom(t, s, b.Contents.Revision+1)
	c.records = slices.DeleteFunc(c.records, func(r segment.Record) bool {
		lease, ok := r.(segment.Lease)
		return ok && lease.ID == segment.LeaseID(unknown)
	})

	path := filepath.Join(t.TempDir(), "moment.db")
	m, err := writeMoment(t.Context(), b, 0, c.changes(t), path)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.StandIns) != 1 || m.StandIns[0] != segment.LeaseID(unknown) {
		t.Errorf("stand-ins %v, want %x", m.StandIns, unknown)
	}
	_, servers := restored(t, path, Options{OutDir: filepath.Join(t.TempDir(), "out"), Bump: 0})
	var got []string
	for _, id := range []clientv3.LeaseID{early, later, unknown} {
		ttl, err := servers[0].TimeToLive(t.Context(), id, clientv3.WithAttachedKeys())
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%d %s", ttl.GrantedTTL, bytes.Join(ttl.Keys, []byte(","))))
	}
	if want := "500 early, 700 later, 3600 unknown"; strings.Join(got, ", ") != want {
		t.Errorf("leases %q, want %s", got, want)
	}
}

// Leases that the source had no more are taken out.
func TestMomentDropsLeases(t *testing.T) {
	s := startSource(t)
	lease, err := s.Grant(t.Context(), 500)
	if err != nil {
		t.Fatal(err)
	}
	s.put(t, "a", "1")
	b := base(t, s)
	s.put(t, "b", "1")
	c := captureFrom(t, s, b.Contents.Revision+1)
	c.records = append(c.records, segment.Leases{})
	path := filepath.Join(t.TempDir(), "moment.db")
	if _, err := writeMoment(t.Context(), b, 0, c.changes(t), path); err != nil {
		t.Fatal(err)
	}
	_, servers := restored(t, path, Options{OutDir: filepath.Join(t.TempDir(), "out"), Bump: 0})
	if ttl, err := servers[0].TimeToLive(t.Context(), lease.ID); err != nil || ttl.GrantedTTL != 0 {
		t.Errorf("lease %x: %+v, %v", lease.ID, ttl, err)
	}
}

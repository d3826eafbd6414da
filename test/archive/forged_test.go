package archive

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"filippo.io/age"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

// TestFlippedBeforeSealing: a byte of an event is another before any checksum was made, as bad
// memory does it. What follows the segment, or a hash that the members gave, finds it out;
// what nothing attests is told to be so.
func TestFlippedBeforeSealing(t *testing.T) {
	a, last, hash := attestedArchive(t)
	archive, list := a.timelines()
	segments := list[0].Segments
	if len(segments) < 4 {
		t.Fatalf("%d segments, want some", len(segments))
	}
	for _, s := range segments {
		path := a.path(t, s)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, flip := range []int{0, 3, 9} { // a byte so far from the record's end
			a.forge(t, archive, list[0].Timeline.ID, s, path, flip)
			moment, err := a.prove(t, last)
			switch {
			case err == nil && restore.Attested(t.Context(), moment, hash) != nil:
				t.Errorf("%s, flipped %d bytes from a record's end: WRONG DATA, and a proof", s, flip)
			case err != nil && !errors.Is(err, store.ErrDamaged) && !errors.Is(err, restore.ErrHash) && !errors.Is(err, errNoProof):
				t.Errorf("%s: %v", s, err)
			}
			write(t, path, whole)
		}
	}
}

var errNoProof = errors.New("no hash proves it up to there")

// prove restores the moment and demands a hash that goes to its end.
func (a *archived) prove(t *testing.T, revision int64) (string, error) {
	t.Helper()
	archive, list := a.timelines()
	file, moment, err := makeMoment(t, archive, list[0], revision)
	if err != nil {
		return "", err
	}
	proof, err := restore.Prove(t.Context(), file, moment, 1)
	if err == nil && int64(proof.Revision) < revision {
		err = errNoProof
	}
	return file.Name(), err
}

// attestedArchive has segments, and hashes of compactions among them.
func attestedArchive(t *testing.T) (a *archived, last int64, hash segment.Hash) {
	t.Helper()
	cluster := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
	client := cluster.Clients()[0]
	a = newArchived(t, t.TempDir())
	f := a.follow(cluster.Clients(), nil)
	f.base()
	w := truth{}
	time.Sleep(300 * time.Millisecond) // the first look at compactions learns where it stands
	for range 5 {
		last = w.puts(t, client, 4)
		f.reached(last)
		if _, err := client.Raw().Compact(t.Context(), last-1, clientv3.WithCompactPhysical()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(250 * time.Millisecond)
	}
	f.stop()
	return a, last, w[last]
}

func (a *archived) path(t *testing.T, s store.Segment) string {
	t.Helper()
	for _, path := range files(t, a.location) {
		if filepath.Base(path) == s.String()+".age" {
			return path
		}
	}
	t.Fatalf("no file of %s", s)
	return ""
}

// forge writes a segment anew with one byte of its last change another.
func (a *archived) forge(t *testing.T, archive *store.Archive, timeline store.TimelineID, s store.Segment, path string, flip int) {
	t.Helper()
	e, body := a.anew(t, archive, timeline, s, func(record segment.Record) segment.Record {
		change, ok := record.(segment.Change)
		if !ok {
			return record
		}
		flipped := bytes.Clone(change.Events[0].Record)
		flipped[max(len(flipped)-1-flip, 0)] ^= 1
		bad := change
		bad.Events = slices.Clone(change.Events)
		bad.Events[0].Record = flipped
		if bad.Validate() != nil { // no etcd can have done it, and the encoder refuses
			return record
		}
		return bad
	})
	put(t, path, e, body)
}

// anew is a segment with records changed, or left out where edit gives none, all checksums made
// again, encrypted again.
func (a *archived) anew(t *testing.T, archive *store.Archive, timeline store.TimelineID, s store.Segment, edit func(segment.Record) segment.Record) (segment.Envelope, []byte) {
	t.Helper()
	r, err := archive.OpenSegment(t.Context(), timeline, s)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var body bytes.Buffer
	sealed, err := age.Encrypt(&body, a.identity.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	encoder := segment.NewEncoder(sealed)
	for {
		record, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if record = edit(record); record == nil {
			continue
		}
		if err := encoder.Encode(record); err != nil {
			t.Fatal(err)
		}
	}
	summary, err := encoder.Close()
	if err = errors.Join(err, sealed.Close()); err != nil {
		t.Fatal(err)
	}
	e := *r.Envelope
	if summary.Attestation.IsZero() {
		summary.Attestation = e.Summary.Attestation
	}
	e.Summary = summary
	e.Body = segment.Body{Size: int64(body.Len()), SHA256: sha256.Sum256(body.Bytes())}
	return e, body.Bytes()
}

// put writes a segment's file.
func put(t *testing.T, path string, e segment.Envelope, body []byte) {
	t.Helper()
	head, err := e.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, append(head, body...))
}

// TestForkWithinASegment: another writer has a segment whose revisions all lie within one of
// the first's. It holds the same, or verify tells; a restore refuses where its envelope does.
func TestForkWithinASegment(t *testing.T) {
	a, s, w := longSegment(t, nil)
	last := s.Last - 1
	const flip, grow = true, false
	for _, test := range []struct {
		name       string
		last, at   segment.Revision // at 0: all is the same
		flip       bool             // else it is longer
		sealed     bool             // seen without an identity
		restorable bool
	}{
		{name: "the same", last: last, restorable: true},
		{name: "a value in the middle", last: last, at: s.First + 2, flip: flip, restorable: true},
		{name: "a length in the middle", last: last, at: s.First + 2, flip: grow, restorable: true},
		{name: "the last value", last: last, at: last, flip: flip, restorable: true},
		{name: "the last length", last: last, at: last, flip: grow},
		{name: "the last length, at the other's end", last: s.Last, at: s.Last, flip: grow, sealed: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			archive, list := a.timelines()
			e, body := a.anew(t, archive, list[0].Timeline.ID, s, func(record segment.Record) segment.Record {
				change, ok := record.(segment.Change)
				if !ok || change.Revision == s.First || change.Revision > test.last {
					return nil
				}
				if change.Revision == test.at {
					return other(t, change, test.flip)
				}
				return change
			})
			e.Writer, e.Before = e.Writer+1, segment.Digest{}
			path := filepath.Join(filepath.Dir(a.path(t, s)), e.Name().String()+".age")
			put(t, path, e, body)
			defer os.Remove(path) //nolint:errcheck // in a folder of the test's own
			for sealed, seen := range map[bool]bool{false: test.at > 0, true: test.sealed} {
				if faults := a.faults(t, sealed); len(faults) > 0 != seen {
					t.Errorf("verify (as stored: %t) finds %+v", sealed, faults)
				}
			}
			archive, list = a.timelines()
			for _, revision := range []segment.Revision{s.First, s.Last, s.Last + 1} {
				err := restoreOne(t, archive, list[0], int64(revision), w[int64(revision)])
				if fork := !test.restorable && revision > s.First; errors.Is(err, restore.ErrFork) != fork || err != nil && !fork {
					t.Errorf("revision %d: %v", revision, err)
				}
			}
		})
	}
}

// longSegment is an archive with a segment of many revisions, and another after it.
func longSegment(t *testing.T, signer ed25519.PrivateKey) (a *archived, long store.Segment, w truth) {
	t.Helper()
	cluster := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
	client := cluster.Clients()[0]
	a, w = newArchived(t, t.TempDir()), truth{}
	f := a.follow(cluster.Clients(), func(o *backup.ArchiveOptions) {
		o.Flush = 2 * time.Second
		o.Archive = a.open(store.Keys{Recipients: []age.Recipient{a.identity.Recipient()}, Signer: signer})
	})
	f.base()
	f.reached(w.puts(t, client, 20))
	f.reached(w.puts(t, client, 2))
	f.stop()
	_, list := a.timelines()
	for _, s := range list[0].Segments {
		if s.Last-s.First > long.Last-long.First {
			long = s
		}
	}
	if long.Last-long.First < 5 || w[int64(long.Last)+1].IsZero() {
		t.Fatalf("segments %v, want a long one and one after it", list[0].Segments)
	}
	return a, long, w
}

// other is a change with another value, as long as it was, or longer.
func other(t *testing.T, change segment.Change, flip bool) segment.Change {
	t.Helper()
	var kv mvccpb.KeyValue
	if err := proto.Unmarshal(change.Events[0].Record, &kv); err != nil {
		t.Fatal(err)
	}
	if flip {
		kv.Value[0] ^= 1
	} else {
		kv.Value = append(kv.Value, '+')
	}
	record, err := proto.Marshal(&kv)
	if err != nil {
		t.Fatal(err)
	}
	change.Events = []segment.Event{{Record: record}}
	return change
}

// faults are what verify finds in the only timeline.
func (a *archived) faults(t *testing.T, sealed bool) []restore.Fault {
	t.Helper()
	archive, list := a.timelines()
	v, err := restore.Verify(t.Context(), archive, list[0], restore.VerifyOptions{Sealed: sealed})
	if err != nil {
		t.Fatal(err)
	}
	return v.Faults
}

package archive

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"filippo.io/age"
	clientv3 "go.etcd.io/etcd/client/v3"

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
	plan, err := restore.PlanArchive(t.Context(), archive, list[0], restore.When{Revision: segment.Revision(revision)})
	if err != nil {
		return "", err
	}
	path := filepath.Join(t.TempDir(), "moment.db")
	base, err := restore.FetchBase(t.Context(), archive, list[0].Timeline.ID, plan.Chain.Base, path)
	if err != nil {
		return "", err
	}
	reading := restore.ReadSegments(t.Context(), archive, list[0].Timeline.ID, plan.Chain.Segments)
	defer reading.Close()
	moment, err := restore.TurnInto(t.Context(), base, revision, reading.Next)
	if err != nil {
		return "", err
	}
	proof, err := restore.Prove(t.Context(), path, moment, 1)
	if err == nil && int64(proof.Revision) < revision {
		err = errNoProof
	}
	return path, err
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

// forge writes a segment anew with one byte of its last change another, all checksums made
// again, encrypted again.
func (a *archived) forge(t *testing.T, archive *store.Archive, timeline store.TimelineID, s store.Segment, path string, flip int) {
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
		if change, ok := record.(segment.Change); ok {
			flipped := bytes.Clone(change.Events[0].Record)
			flipped[max(len(flipped)-1-flip, 0)] ^= 1
			bad := change
			bad.Events = slices.Clone(change.Events)
			bad.Events[0].Record = flipped
			if bad.Validate() == nil { // else no etcd can have done it, and the encoder refuses
				record = bad
			}
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
	head, err := e.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, append(head, body.Bytes()...))
}

package archive

import (
	"crypto/ed25519"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

// TestSigned: one writer signs, and one goes on that does not. Who trusts the first restores
// what that wrote, by revision and by time, and nothing that rests on the second.
func TestSigned(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
	client := cluster.Clients()[0]
	a := newArchived(t, t.TempDir())
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	w := truth{}
	f := a.follow(cluster.Clients(), func(o *backup.ArchiveOptions) {
		o.Archive = a.open(store.Keys{Recipients: []age.Recipient{a.identity.Recipient()}, Signer: key})
	})
	f.base()
	signed := w.puts(t, client, 10)
	f.reached(signed)
	during := time.Now()
	f.reached(w.puts(t, client, 5))
	f.stop()
	between := time.Now() // only what comes now tells that nothing did
	f = a.follow(cluster.Clients(), nil)
	unsigned := w.puts(t, client, 10)
	f.reached(unsigned)
	after := time.Now()
	f.reached(w.puts(t, client, 5))
	f.stop()

	trusting := a.open(store.Keys{Identities: []age.Identity{a.identity}, Trusted: []ed25519.PublicKey{public}})
	timelines, err := trusting.Timelines(t.Context())
	if err != nil || len(timelines) != 1 {
		t.Fatalf("%d timelines, %v, want one", len(timelines), err)
	}
	c, err := trusting.Contents(t.Context(), timelines[0])
	if err != nil {
		t.Fatal(err)
	}
	for revision, want := range map[int64]error{signed: nil, signed - 3: nil, unsigned - 9: store.ErrOrigin, unsigned: store.ErrOrigin} {
		if err := restoreOne(t, trusting, c, revision, w[revision]); !errors.Is(err, want) {
			t.Errorf("revision %d: %v, want %v", revision, err, want)
		}
	}
	for at, want := range map[time.Time]error{during: nil, between: store.ErrOrigin, after: store.ErrOrigin} {
		if plan, err := restore.PlanArchive(t.Context(), trusting, c, restore.When{Time: at}); !errors.Is(err, want) {
			t.Errorf("%s: %+v, %v, want %v", at, plan, err, want)
		}
	}
	v, err := restore.Verify(t.Context(), trusting, c, restore.VerifyOptions{})
	if err != nil || len(v.Faults) == 0 || v.Origin.Proven {
		t.Errorf("verified: %+v, %v, want faults", v, err)
	}
}

// TestStrangerBesideTheChain: who is not trusted, and plants other events beside what a restore
// reads, does not keep it from being restored.
func TestStrangerBesideTheChain(t *testing.T) {
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	a, s, w := longSegment(t, key)
	archive, list := a.timelines()
	last := s.Last - 1
	e, body := a.anew(t, archive, list[0].Timeline.ID, s, func(record segment.Record) segment.Record {
		change, ok := record.(segment.Change)
		switch {
		case !ok || change.Revision == s.First || change.Revision > last:
			return nil
		case change.Revision == last:
			return other(t, change, false)
		}
		return change
	})
	e.Writer, e.Before = e.Writer+1, segment.Digest{}
	put(t, filepath.Join(filepath.Dir(a.path(t, s)), e.Name().String()+".age"), e, body)

	archive, list = a.timelines()
	if err := restoreOne(t, archive, list[0], int64(s.Last), w[int64(s.Last)]); !errors.Is(err, restore.ErrFork) {
		t.Errorf("who trusts everybody: %v, want %v", err, restore.ErrFork)
	}
	trusting := a.open(store.Keys{Identities: []age.Identity{a.identity}, Trusted: []ed25519.PublicKey{public}})
	c, err := trusting.Contents(t.Context(), list[0].Timeline)
	if err == nil {
		err = restoreOne(t, trusting, c, int64(s.Last), w[int64(s.Last)])
	}
	if err != nil {
		t.Errorf("who trusts the writer: %v", err)
	}
}

package segment

import (
	"errors"
	"fmt"
	"io"
	"math/rand"
	"runtime"
	"runtime/debug"
	"testing"

	"golang.org/x/sync/errgroup"
)

// A million events, written and read at once, take no more memory than a few blocks do.
func TestMemory(t *testing.T) {
	const events, most = 1_000_000, 32 << 20
	// A collection at each few MiB of garbage: what is left is what is held.
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	started := heap()
	r, w := io.Pipe()
	var group errgroup.Group
	group.Go(func() error { return errors.Join(encodeMany(w, events), w.Close()) })
	d := NewDecoder(r)
	var peak uint64
	var err error
	for n := 0; err == nil; n++ {
		if _, err = d.Next(); n%1000 == 0 {
			peak = max(peak, heap())
		}
	}
	if !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if err := errors.Join(r.Close(), group.Wait()); err != nil {
		t.Fatal(err)
	}
	s := d.Summary()
	if s.Events != events || s.Size < 4*most {
		t.Errorf("%d events of %d MiB were read", s.Events, s.Size>>20)
	}
	held := peak - min(peak, started)
	t.Logf("%d events of %d MiB: at most %d MiB held", s.Events, s.Size>>20, held>>20)
	if held > most {
		t.Errorf("%d MiB held", held>>20)
	}
}

// encodeMany encodes revisions of one put and nine deletes.
func encodeMany(w io.Writer, events int) error {
	random := rand.New(rand.NewSource(1))
	value := make([]byte, 1000)
	changed := make([]Event, 10)
	for i := range changed[1:] {
		changed[i+1] = tombstone(fmt.Sprintf("/registry/events/default/some-pod.%016x", random.Uint64()))
	}
	e := NewEncoder(w)
	for revision := Revision(1); int(revision) <= events/len(changed); revision++ {
		random.Read(value[:100])
		changed[0] = putOf(keyValue{key: []byte("a"), create: 1, modified: int64(revision), version: int64(revision), value: value})
		if err := e.Encode(Change{Revision: revision, Lower: at(0), Upper: at(int64(revision)), Events: changed}); err != nil {
			return err
		}
	}
	_, err := e.Close()
	return err
}

func heap() uint64 {
	var now runtime.MemStats
	runtime.ReadMemStats(&now)
	return now.HeapAlloc
}

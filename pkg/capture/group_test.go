package capture

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
)

func event(revision int64, key string) *mvccpb.Event {
	return &mvccpb.Event{Kv: &mvccpb.KeyValue{Key: []byte(key), ModRevision: revision, CreateRevision: revision, Version: 1, Value: []byte("v"), Lease: 0x77}}
}

func response(head int64, fragment bool, events ...*mvccpb.Event) *pb.WatchResponse {
	return &pb.WatchResponse{Header: &pb.ResponseHeader{Revision: head}, Fragment: fragment, Events: events}
}

func second(n int64) time.Time { return time.Unix(1_700_000_000+n, 0) }

// taken is "revision: events, lower-upper" for each change that came.
func taken(t *testing.T, g *grouper, r *pb.WatchResponse, at time.Time) (list []string) {
	t.Helper()
	err := g.take(r, at, func(c segment.Change) error {
		list = append(list, fmt.Sprintf("%d: %d events, %d-%d", c.Revision, len(c.Events), c.Lower.Unix()-1_700_000_000, c.Upper.Unix()-1_700_000_000))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestGrouper(t *testing.T) {
	g := &grouper{clock: clock{now: second(0), known: []seen{{10, second(0)}}}}
	for _, step := range []struct {
		response *pb.WatchResponse
		at       time.Time
		asked    int64 // a progress, at this second
		want     string
	}{
		{response(11, false, event(11, "a"), event(11, "b")), second(1), 0, "[11: 2 events, 0-1]"},
		{response(11, false), second(5), 4, "[]"},                                                 // at 4 there was no more
		{response(12, false, event(12, "a")), second(6), 0, "[12: 1 events, 4-6]"},                // so it is younger
		{response(15, true, event(13, "a"), event(14, "a")), second(7), 0, "[13: 1 events, 4-7]"}, // 14 may go on
		{response(15, true, event(14, "b")), second(8), 0, "[]"},
		{response(15, false, event(14, "c"), event(15, "a")), second(9), 0, "[14: 3 events, 4-7 15: 1 events, 4-9]"},
		{response(16, false, event(16, "a")), second(3), 0, "[16: 1 events, 4-9]"}, // the clock was set back
		{response(17, false, event(17, "a")), second(20), 0, "[17: 1 events, 4-20]"},
		{response(17, false), second(22), 18, "[]"},
		{response(17, false), second(22), 21, "[]"}, // still
		{response(17, false), second(23), 19, "[]"}, // overtaken
		{response(18, false, event(18, "a")), second(24), 0, "[18: 1 events, 21-24]"},
	} {
		if got := fmt.Sprint(taken(t, g, step.response, step.at)); got != step.want {
			t.Errorf("at %s: %s, want %s", step.at, got, step.want)
		}
		if step.asked > 0 {
			g.clock.see(segment.Revision(step.response.Header.Revision), second(step.asked))
		}
	}
}

func TestEventIsWhatEtcdStores(t *testing.T) {
	put, err := newEvent(event(7, "key"))
	if err != nil || put.Tombstone || leaseOf(put) != 0x77 {
		t.Errorf("a put is %+v with lease %x, %v", put, leaseOf(put), err)
	}
	gone := event(8, "key")
	gone.Type = mvccpb.Event_DELETE
	deleted, err := newEvent(gone)
	if err != nil || !deleted.Tombstone || !bytes.Equal(deleted.Record, []byte("\x0a\x03key")) || leaseOf(deleted) != 0 {
		t.Errorf("a delete is %+v, %v: want the key alone", deleted, err)
	}
	for _, broken := range [][]byte{{0xff}, {0x30}, {0x0a, 0x20}, nil} {
		if lease := leaseOf(segment.Event{Record: broken}); lease != 0 {
			t.Errorf("%x has the lease %x", broken, lease)
		}
	}
}

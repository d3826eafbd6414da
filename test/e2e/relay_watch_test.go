//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/test/cluster"
)

const (
	watchedTxns   = 2_000
	watchedPerTxn = 100 // of at most 128
	watchedPrefix = "/e2e/watched/"
)

// TestRelayWatchMissesNothing: 200,000 events through one relay while the leadership moves,
// the member restarts and the relay has a successor: each comes once, in order.
func TestRelayWatchMissesNothing(t *testing.T) {
	r, options := startRelay(t, "node0", 40*time.Second)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	writer := member(t, "etcd-node1")
	status, err := writer.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() { written <- writeWatched(ctx, writer) }()
	disturbed := make(chan error, 1)
	go func() { disturbed <- disturb(ctx, t, writer) }()
	pods := map[string]bool{}
	watching := make(chan error, 1)
	seen := &witness{next: status.Revision + 1}
	client, streams := countedBehind(t, r, options)
	go func() { watching <- seen.watch(ctx, client) }()
	for running := 3; running > 0; {
		var err error
		select {
		case err = <-written:
			running--
		case err = <-disturbed:
			running--
		case err = <-watching:
			running--
		case <-time.After(2 * time.Second):
			for _, pod := range relayPods(t) {
				name, _, _ := strings.Cut(pod, " ")
				pods[name] = true
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d events over %d streams, relays %v", seen.events, streams.Load(), pods)
	if streams.Load() < 3 || len(pods) < 2 { // a restart, and a successor
		t.Error("the watch was not disturbed as it should have been")
	}
}

// writeWatched writes for about a minute.
func writeWatched(ctx context.Context, client *etcd.Client) error {
	pace := time.NewTicker(35 * time.Millisecond)
	defer pace.Stop()
	for txn := range watchedTxns {
		<-pace.C
		var ops []clientv3.Op
		for i := range watchedPerTxn {
			ops = append(ops, clientv3.OpPut(fmt.Sprintf("%s%03d", watchedPrefix, i), fmt.Sprint(txn)))
		}
		if err := commit(ctx, client, ops, txn); err != nil {
			return fmt.Errorf("write %d: %w", txn, err)
		}
	}
	return nil
}

// commit tries until it is done, and does it once: the first key's version tells.
func commit(ctx context.Context, client *etcd.Client, ops []clientv3.Op, txn int) error {
	before := clientv3.Compare(clientv3.Version(watchedPrefix+"000"), "=", txn)
	for {
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, err := client.Raw().Txn(try).If(before).Then(ops...).Commit()
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// disturb moves the leadership, then kills the member that is watched.
func disturb(ctx context.Context, t *testing.T, any *etcd.Client) error {
	time.Sleep(10 * time.Second)
	status, err := any.Status(ctx)
	if err != nil {
		return err
	}
	members, err := any.Members(ctx)
	if err != nil {
		return err
	}
	var leader string
	var heir etcd.ID
	for _, m := range members {
		if m.ID == status.Leader {
			leader = m.Name
		} else {
			heir = m.ID
		}
	}
	if _, err := member(t, "etcd-"+leader).Raw().MoveLeader(ctx, uint64(heir)); err != nil {
		return fmt.Errorf("move the leadership: %w", err)
	}
	time.Sleep(10 * time.Second)
	return node(t, "node0").Kill(ctx, cluster.Etcd)
}

// witness watches, again and again from where it was, and checks what it sees.
type witness struct {
	next   int64 // revision
	events int
}

func (w *witness) watch(ctx context.Context, client *etcd.Client) error {
	for {
		watch, cancel := context.WithCancel(ctx)
		for answer := range client.Raw().Watch(watch, watchedPrefix, clientv3.WithPrefix(), clientv3.WithRev(w.next)) {
			err := w.take(answer)
			if err != nil || w.events >= watchedTxns*watchedPerTxn {
				cancel()
				return err
			}
		}
		cancel()
		if ctx.Err() != nil {
			return fmt.Errorf("after %d events: %w", w.events, ctx.Err())
		}
		time.Sleep(500 * time.Millisecond)
	}
}

// take checks that the events are the very next.
func (w *witness) take(answer clientv3.WatchResponse) error {
	if answer.CompactRevision != 0 {
		return answer.Err()
	}
	for _, event := range answer.Events {
		key := fmt.Sprintf("%s%03d", watchedPrefix, w.events%watchedPerTxn)
		value := fmt.Sprint(w.events / watchedPerTxn)
		if string(event.Kv.Key) != key || string(event.Kv.Value) != value {
			return fmt.Errorf("event %d is %s=%s at %d, want %s=%s", w.events, event.Kv.Key, event.Kv.Value, event.Kv.ModRevision, key, value)
		}
		w.events++
		w.next = event.Kv.ModRevision + 1
	}
	return nil
}

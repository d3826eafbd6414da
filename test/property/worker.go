package property

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// worker does random things, one at a time.
type worker struct {
	*run
	leases     []clientv3.LeaseID
	users      int
	unexpected []error
}

func newWorker(r *run) *worker { return &worker{run: r} }

func (w *worker) client() *clientv3.Client { return w.clients[w.random.IntN(len(w.clients))].Raw() }

// step does one thing. What etcd refuses by its rules is part of the work.
func (w *worker) step() {
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	steps := []struct {
		weight int
		do     func(context.Context) error
	}{
		{40, w.put}, {12, w.delete}, {4, w.deleteRange}, {12, w.txn}, {6, w.nested},
		{5, w.grant}, {10, w.putWithLease}, {2, w.revoke}, {3, w.compact}, {1, w.large}, {1, w.largeTxn}, {1, w.alarm}, {1, w.user},
	}
	total := 0
	for _, s := range steps {
		total += s.weight
	}
	n := w.random.IntN(total)
	for _, s := range steps {
		if n -= s.weight; n >= 0 {
			continue
		}
		if err := s.do(ctx); err != nil && !allowed(err) {
			w.unexpected = append(w.unexpected, err)
		}
		return
	}
}

func allowed(err error) bool {
	for _, one := range []error{rpctypes.ErrDuplicateKey, rpctypes.ErrLeaseNotFound, rpctypes.ErrCompacted, rpctypes.ErrFutureRev} {
		if errors.Is(err, one) {
			return true
		}
	}
	return false
}

func (w *worker) key() string {
	return fmt.Sprintf("/registry/%s/%02d", []string{"pods", "events", "secrets"}[w.random.IntN(3)], w.random.IntN(25))
}

func (w *worker) value() string {
	return strings.Repeat(string(rune('a'+w.random.IntN(26))), w.random.IntN(300))
}

func (w *worker) put(ctx context.Context) error {
	_, err := w.client().Put(ctx, w.key(), w.value())
	return err
}

func (w *worker) delete(ctx context.Context) error {
	_, err := w.client().Delete(ctx, w.key())
	return err
}

func (w *worker) deleteRange(ctx context.Context) error {
	_, err := w.client().Delete(ctx, w.key()[:len("/registry/pods/0")], clientv3.WithPrefix())
	return err
}

func (w *worker) txn(ctx context.Context) error {
	var ops []clientv3.Op
	for range 1 + w.random.IntN(6) {
		if w.random.IntN(4) == 0 {
			ops = append(ops, clientv3.OpDelete(w.key()))
		} else {
			ops = append(ops, clientv3.OpPut(w.key(), w.value()))
		}
	}
	_, err := w.client().Txn(ctx).Then(ops...).Commit()
	return err
}

// nested puts and deletes one key in sibling transactions of one revision, which etcd allows.
func (w *worker) nested(ctx context.Context) error {
	key := w.key()
	_, err := w.client().Txn(ctx).Then(
		clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpPut(key, w.value())}, nil),
		clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpDelete(key)}, nil),
		clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpPut(w.key(), w.value())}, nil),
	).Commit()
	return err
}

func (w *worker) grant(ctx context.Context) error {
	ttl := []int64{3, 600, 3600, 86400}[w.random.IntN(4)]
	lease, err := w.client().Grant(ctx, ttl)
	if err != nil {
		return err
	}
	w.granted[int64(lease.ID)] = lease.TTL
	if ttl < 60 {
		w.ended[int64(lease.ID)] = true
	}
	w.leases = append(w.leases, lease.ID)
	return nil
}

func (w *worker) putWithLease(ctx context.Context) error {
	if len(w.leases) == 0 {
		return w.grant(ctx)
	}
	lease := w.leases[w.random.IntN(len(w.leases))]
	_, err := w.client().Put(ctx, w.key(), w.value(), clientv3.WithLease(lease))
	return err
}

func (w *worker) revoke(ctx context.Context) error {
	if len(w.leases) == 0 {
		return nil
	}
	lease := w.leases[w.random.IntN(len(w.leases))]
	w.ended[int64(lease)] = true
	_, err := w.client().Revoke(ctx, lease)
	return err
}

func (w *worker) compact(ctx context.Context) error {
	head, err := w.client().Get(ctx, "k")
	if err != nil {
		return err
	}
	at := head.Header.Revision - w.random.Int64N(40)
	if at < 1 {
		return nil
	}
	var options []clientv3.CompactOption
	if w.random.IntN(2) == 0 {
		options = append(options, clientv3.WithCompactPhysical())
	}
	_, err = w.client().Compact(ctx, at, options...)
	return err
}

// large is near the limit of a request, and does not compress.
func (w *worker) large(ctx context.Context) error {
	_, err := w.client().Put(ctx, w.key(), noise(w.random, 1<<20))
	return err
}

func (w *worker) largeTxn(ctx context.Context) error {
	var ops []clientv3.Op
	for i := range 100 {
		ops = append(ops, clientv3.OpPut(fmt.Sprintf("/registry/many/%03d", i), noise(w.random, 14<<10)))
	}
	_, err := w.client().Txn(ctx).Then(ops...).Commit()
	return err
}

func noise(random *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return string(b)
}

// alarm raises NOSPACE and takes it back: in between only deletes are allowed.
func (w *worker) alarm(ctx context.Context) error {
	m := pb.NewMaintenanceClient(w.client().ActiveConnection())
	status, err := m.Status(ctx, &pb.StatusRequest{})
	if err != nil {
		return err
	}
	request := &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, MemberID: status.Header.MemberId, Alarm: pb.AlarmType_NOSPACE}
	if _, err := m.Alarm(ctx, request); err != nil {
		return err
	}
	request = &pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, MemberID: status.Header.MemberId, Alarm: pb.AlarmType_NOSPACE}
	_, deleteErr := w.client().Delete(ctx, w.key())
	_, err = m.Alarm(ctx, request)
	return errors.Join(err, deleteErr)
}

// user changes etcd's own users, which no watch tells of.
func (w *worker) user(ctx context.Context) error {
	w.users++
	_, err := w.client().UserAdd(ctx, fmt.Sprintf("user%d", w.users), "x")
	return err
}

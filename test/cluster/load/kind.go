package load

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// kind is a kind of object that comes, changes and goes.
type kind struct {
	name   string // "configmap"
	prefix string
	create func(ctx context.Context, name string, r *rand.Rand) error
	patch  func(ctx context.Context, name string, body []byte) error
	remove func(ctx context.Context, name string, o metav1.DeleteOptions) error

	made int // ever

	mu    sync.Mutex
	alive []string // acknowledged, oldest first
}

// kinds are the kinds that are written, and how.
func kinds(client kubernetes.Interface, ns, prefix string) []*kind {
	configMaps := client.CoreV1().ConfigMaps(ns)
	secrets := client.CoreV1().Secrets(ns)
	pods := client.CoreV1().Pods(ns)
	events := client.CoreV1().Events(ns)
	merge := types.MergePatchType
	return []*kind{{
		name: "configmap", prefix: prefix,
		create: func(ctx context.Context, name string, r *rand.Rand) error {
			_, err := configMaps.Create(ctx, configMap(name, r), metav1.CreateOptions{})
			return err
		},
		patch: func(ctx context.Context, name string, body []byte) error {
			_, err := configMaps.Patch(ctx, name, merge, body, metav1.PatchOptions{})
			return err
		},
		remove: configMaps.Delete,
	}, {
		name: "secret", prefix: prefix,
		create: func(ctx context.Context, name string, r *rand.Rand) error {
			_, err := secrets.Create(ctx, secret(name, r), metav1.CreateOptions{})
			return err
		},
		patch: func(ctx context.Context, name string, body []byte) error {
			_, err := secrets.Patch(ctx, name, merge, body, metav1.PatchOptions{})
			return err
		},
		remove: secrets.Delete,
	}, {
		name: "pod", prefix: prefix,
		create: func(ctx context.Context, name string, r *rand.Rand) error {
			_, err := pods.Create(ctx, pod(name, r), metav1.CreateOptions{})
			return err
		},
		patch: func(ctx context.Context, name string, body []byte) error {
			_, err := pods.Patch(ctx, name, merge, body, metav1.PatchOptions{})
			return err
		},
		remove: pods.Delete,
	}, {
		name: "event", prefix: prefix, // an event lives an hour and goes by itself
		create: func(ctx context.Context, name string, r *rand.Rand) error {
			_, err := events.Create(ctx, event(ns, name, r), metav1.CreateOptions{})
			return err
		},
		patch: func(ctx context.Context, name string, body []byte) error {
			_, err := events.Patch(ctx, name, merge, body, metav1.PatchOptions{})
			return err
		},
		remove: events.Delete,
	}}
}

// next is one write of this kind: the oldest goes when there are more than live
// of them, else one comes or one changes.
func (k *kind) next(r *rand.Rand, live int) write {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.alive) > live {
		oldest := k.alive[0]
		k.alive = k.alive[1:]
		return write{"delete " + k.name, func(ctx context.Context) error {
			now := int64(0)
			return k.remove(ctx, oldest, metav1.DeleteOptions{GracePeriodSeconds: &now})
		}}
	}
	seed := r.Uint64()
	if len(k.alive) > 0 && r.IntN(3) == 0 {
		name := k.alive[r.IntN(len(k.alive))]
		body := fmt.Appendf(nil, `{"metadata":{"annotations":{"load.example.com/changed":"%x"}}}`, seed)
		return write{"patch " + k.name, func(ctx context.Context) error {
			err := k.patch(ctx, name, body)
			if apierrors.IsNotFound(err) {
				return nil // its turn to go came first
			}
			return err
		}}
	}
	k.made++
	name := fmt.Sprintf("%s-%06d", k.prefix, k.made)
	return write{"create " + k.name, func(ctx context.Context) error {
		if err := k.create(ctx, name, rand.New(rand.NewPCG(seed, 0))); err != nil {
			return err
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		k.alive = append(k.alive, name)
		return nil
	}}
}

// leaseCount is that of a small cluster: nodes, controllers, API servers.
const leaseCount = 8

// leases are made once and renewed from then on, each by one at a time, as its
// holder does it.
type leases struct {
	client kubernetes.Interface
	ns     string
	prefix string
	turn   int
	locks  [leaseCount]sync.Mutex
	made   [leaseCount]bool // guarded by the lock of the same index
}

func newLeases(client kubernetes.Interface, ns, prefix string) *leases {
	return &leases{client: client, ns: ns, prefix: prefix}
}

func (l *leases) renew() write {
	i := l.turn % leaseCount
	l.turn++
	return write{"renew lease", func(ctx context.Context) error {
		l.locks[i].Lock()
		defer l.locks[i].Unlock()
		name := fmt.Sprintf("%s-%d", l.prefix, i)
		api := l.client.CoordinationV1().Leases(l.ns)
		if !l.made[i] {
			_, err := api.Create(ctx, lease(name), metav1.CreateOptions{})
			l.made[i] = err == nil
			return err
		}
		current, err := api.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		current.Spec.RenewTime = now()
		_, err = api.Update(ctx, current, metav1.UpdateOptions{})
		return err
	}}
}

func lease(name string) *coordinationv1.Lease {
	seconds := int32(40)
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &name, LeaseDurationSeconds: &seconds, RenewTime: now()},
	}
}

func now() *metav1.MicroTime {
	t := metav1.NewMicroTime(time.Now())
	return &t
}

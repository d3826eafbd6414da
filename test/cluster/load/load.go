// Package load writes to a cluster as a living Kubernetes does: objects of real
// shapes come, change and go, leases are renewed, events pile up.
//
// Its one idea: all goes through the API, so that etcd holds only what an API
// server would put there.
package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Options say how to write.
type Options struct {
	Namespace string        // created when missing; empty: "load"
	Rate      float64       // writes per second; must be above 0
	Duration  time.Duration // zero: until ctx ends
	Live      int           // objects of a kind that are kept before the oldest goes; zero: 100
	Workers   int           // writes under way at once; zero: 8
	Seed      uint64        // the same seed writes the same sequence
}

// Report counts what was written.
type Report struct {
	Writes  map[string]int // by verb and kind, "create configmap"
	Failed  int            // writes that the API refused or did not answer
	Missed  int            // writes not begun in time because all workers were busy
	Elapsed time.Duration
	Last    error // the last failure
}

// Total is the number of writes that the API acknowledged.
func (r Report) Total() int {
	total := 0
	for _, n := range r.Writes {
		total += n
	}
	return total
}

// Rate is acknowledged writes per second.
func (r Report) Rate() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Total()) / r.Elapsed.Seconds()
}

// write is one thing to be written, and its name in the report.
type write struct {
	name string
	do   func(context.Context) error
}

// Run writes until Duration has passed or ctx ends, which is no error. A write
// that fails is counted, and the load goes on: a cluster under test is not
// always well.
func Run(ctx context.Context, config *rest.Config, o Options) (Report, error) {
	if o.Rate <= 0 {
		return Report{}, fmt.Errorf("write load: rate %g is not above 0", o.Rate)
	}
	o = o.withDefaults()
	config = rest.CopyConfig(config)
	config.QPS = -1 // the rate is ours to keep
	config.Timeout = 10 * time.Second
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return Report{}, fmt.Errorf("write load: %w", err)
	}
	if err := prepareNamespace(ctx, client, o.Namespace, accountTimeout); err != nil {
		return Report{}, fmt.Errorf("write load: %w", err)
	}
	if o.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.Duration)
		defer cancel()
	}
	return newWriter(client, o).run(ctx), nil
}

func (o Options) withDefaults() Options {
	if o.Namespace == "" {
		o.Namespace = "load"
	}
	if o.Live == 0 {
		o.Live = 100
	}
	if o.Workers == 0 {
		o.Workers = 8
	}
	return o
}

// accountTimeout covers a controller-manager that has lost its leader: the next one
// waits for the lease to run out (15 s), then fills its caches.
const accountTimeout = 2 * time.Minute

// prepareNamespace makes the namespace and waits until pods can be made in it: the API
// refuses them before the controller-manager has made the default service account.
func prepareNamespace(ctx context.Context, client kubernetes.Interface, name string, limit time.Duration) error {
	_, err := client.CoreV1().Namespaces().Create(ctx, namespace(name), metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create namespace %s: %w", name, err)
	}
	var last error
	err = wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, limit, true, func(ctx context.Context) (bool, error) {
		_, last = client.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("wait for the default service account of %s, which a controller-manager makes: %w", name, errors.Join(err, last))
	}
	return nil
}

// writer makes up writes and hands them to its workers.
type writer struct {
	o      Options
	rand   *rand.Rand
	kinds  []*kind
	leases *leases

	mu     sync.Mutex
	report Report
}

func newWriter(client kubernetes.Interface, o Options) *writer {
	// A run's names must not meet those of the run before.
	prefix := fmt.Sprintf("load-%x", time.Now().UnixNano())
	return &writer{
		o:      o,
		rand:   rand.New(rand.NewPCG(o.Seed, o.Seed)),
		kinds:  kinds(client, o.Namespace, prefix),
		leases: newLeases(client, o.Namespace, prefix),
		report: Report{Writes: map[string]int{}},
	}
}

func (w *writer) run(ctx context.Context) Report {
	began := time.Now()
	queue := make(chan write)
	var wg sync.WaitGroup
	for range w.o.Workers {
		wg.Go(func() {
			for one := range queue {
				w.count(ctx, one.name, one.do(ctx))
			}
		})
	}
	w.feed(ctx, queue)
	close(queue)
	wg.Wait()
	w.report.Elapsed = time.Since(began)
	return w.report
}

// feed hands out writes at the chosen rate. One that no worker takes before the
// next is due is dropped: the rate is kept, not caught up with.
func (w *writer) feed(ctx context.Context, queue chan<- write) {
	ticker := time.NewTicker(time.Duration(float64(time.Second) / w.o.Rate))
	defer ticker.Stop()
	for next := w.next(); ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		select {
		case queue <- next:
			next = w.next()
		default:
			w.mu.Lock()
			w.report.Missed++
			w.mu.Unlock()
		}
	}
}

// next makes up a write: leases are renewed most, as on a real cluster, where
// every node and controller does so all the time.
func (w *writer) next() write {
	if w.rand.IntN(10) < 3 {
		return w.leases.renew()
	}
	return w.kinds[w.rand.IntN(len(w.kinds))].next(w.rand, w.o.Live)
}

func (w *writer) count(ctx context.Context, name string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err == nil:
		w.report.Writes[name]++
	case ctx.Err() != nil && errors.Is(err, ctx.Err()): // cut short by the end, not refused
	default:
		w.report.Failed++
		w.report.Last = fmt.Errorf("%s: %w", name, err)
	}
}

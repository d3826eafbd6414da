//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"filippo.io/age"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
	"github.com/kubectl-etcd/kubectl-etcd/test/cluster/binaries"
)

// archiveBench compares the restore out of an archive with a client that replays the same
// events, and looks at what a capture costs the server.
type archiveBench struct {
	plugin  string
	dir     string
	keys    int    // of the base, 1 KiB each
	events  int    // after it
	profile string // a file for the restore's CPU profile; empty: none

	endpoint string
	client   *clientv3.Client
	identity *age.X25519Identity
	archive  string
	acked    sync.Map // revision → when it was acknowledged
}

func benchArchive(ctx context.Context, b *archiveBench) (err error) {
	dir, err := os.MkdirTemp("", "kubectl-etcd-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b.dir, b.archive = dir, filepath.Join(dir, "archive")
	if b.identity, err = age.GenerateX25519Identity(); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "key.txt"), []byte(b.identity.String()+"\n"), 0o600); err != nil {
		return err
	}
	stop, err := b.startEtcd(ctx)
	if err != nil {
		return err
	}
	defer stop()
	for _, step := range []func(context.Context) error{b.fill, b.capture, b.sizes, b.parts, b.restore} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (b *archiveBench) startEtcd(ctx context.Context) (func(), error) {
	bin, err := binaries.Etcd(ctx, os.Stderr, binaries.EtcdVersion)
	if err != nil {
		return nil, err
	}
	client, peer := freeURL(), freeURL()
	c := exec.CommandContext(ctx, filepath.Join(bin, "etcd"), "--name=m0", "--data-dir="+filepath.Join(b.dir, "etcd"), "--unsafe-no-fsync",
		"--quota-backend-bytes=8589934592", "--max-txn-ops=1000", "--log-level=error", "--initial-cluster=m0="+peer, "--initial-advertise-peer-urls="+peer, "--listen-peer-urls="+peer,
		"--advertise-client-urls="+client, "--listen-client-urls="+client)
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		return nil, err
	}
	b.endpoint = client
	b.client, err = clientv3.New(clientv3.Config{Endpoints: []string{client}, DialTimeout: 20 * time.Second})
	for try := 0; err == nil && try < 50; try++ {
		if _, e := b.client.Get(ctx, "x"); e == nil {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	return func() { _ = c.Process.Kill(); _ = c.Wait() }, err
}

func freeURL() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close() //nolint:errcheck // it was never used
	return "http://" + l.Addr().String()
}

// value is an object of Kubernetes' kind: words that repeat, and some that do not.
func value(n int) string {
	const words = `{"metadata":{"name":"web-","namespace":"default","labels":{"app":"web","tier":"front"},"resourceVersion":""},"spec":{"containers":[{"name":"web","image":"registry.example/web:1.2.3","ports":[{"containerPort":8080}]}]},"status":{"phase":"Running"}}`
	random := make([]byte, n/5)
	for i := range random {
		random[i] = "0123456789abcdef"[rand.IntN(16)]
	}
	text := strings.Repeat(words, n/len(words)+1)
	return text[:n-len(random)] + string(random)
}

func (b *archiveBench) fill(ctx context.Context) error {
	for at := 0; at < b.keys; at += 500 {
		var ops []clientv3.Op
		for i := at; i < min(at+500, b.keys); i++ {
			ops = append(ops, clientv3.OpPut(key(i), value(1024)))
		}
		if _, err := b.client.Txn(ctx).Then(ops...).Commit(); err != nil {
			return err
		}
	}
	return nil
}

func key(i int) string { return fmt.Sprintf("/registry/pods/default/web-%07d", i) }

// capture writes as fast as the server takes it, first alone, then followed.
func (b *archiveBench) capture(ctx context.Context) error {
	alone, _, err := b.write(ctx, b.events/4)
	if err != nil {
		return err
	}
	c := exec.CommandContext(ctx, b.plugin, "backup", "--follow", "--archive", b.archive, "--archive-name", "bench", "--endpoints", b.endpoint,
		"--recipient", b.identity.Recipient().String(), "--keep-all", "-o", "json", "--every", "24h", "--scratch-dir", b.dir)
	lines := &lineBuffer{}
	c.Stdout = lines
	c.Stderr = io.Discard
	if err := c.Start(); err != nil {
		return err
	}
	if err := lines.wait(ctx, `"event":"base"`); err != nil {
		return err
	}
	peak := watchMemory(c.Process.Pid)
	followed, rate, err := b.write(ctx, b.events)
	if err != nil {
		return err
	}
	head, err := b.client.Get(ctx, "x")
	if err != nil {
		return err
	}
	if err := lines.wait(ctx, fmt.Sprintf(`"last":%d,`, head.Header.Revision)); err != nil {
		return err
	}
	memory := peak()
	_ = c.Process.Signal(syscall.SIGINT)
	_ = c.Wait() // 130
	lags, err := b.lags(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(os.Stdout, "capture at %.0f puts/s: put p99 %s, alone %s (%.2f times); lag p50 %s p99 %s max %s; %.0f MB of anonymous memory\n",
		rate, p(followed, 99), p(alone, 99), float64(p(followed, 99))/float64(p(alone, 99)), p(lags, 50), p(lags, 99), p(lags, 100), memory)
	return err
}

// write puts from 32 clients at once.
func (b *archiveBench) write(ctx context.Context, n int) (latencies []time.Duration, rate float64, err error) {
	var next atomic.Int64
	var mu sync.Mutex
	var wg sync.WaitGroup
	var failed atomic.Value
	began := time.Now()
	for range 32 {
		wg.Go(func() {
			var own []time.Duration
			for next.Add(1) <= int64(n) {
				start := time.Now()
				r, err := b.client.Put(ctx, key(rand.IntN(b.keys)), value(1024))
				if err != nil {
					failed.Store(err)
					return
				}
				end := time.Now()
				own = append(own, end.Sub(start))
				if r.Header.Revision%50 == 0 {
					b.acked.Store(r.Header.Revision, end)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			latencies = append(latencies, own...)
		})
	}
	wg.Wait()
	if err, ok := failed.Load().(error); ok {
		return nil, 0, err
	}
	return latencies, float64(n) / time.Since(began).Seconds(), nil
}

func p(d []time.Duration, percent int) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[min(len(d)*percent/100, len(d)-1)].Round(10 * time.Microsecond)
}

func (b *archiveBench) open(ctx context.Context) (*store.Archive, *store.Contents, error) {
	bucket, err := store.OpenBucket(ctx, b.archive, false)
	if err != nil {
		return nil, nil, err
	}
	a, err := store.NewArchive(bucket, store.ArchiveID{Name: "bench", Etcd: "main"}, store.Keys{Identities: []age.Identity{b.identity}})
	if err != nil {
		return nil, nil, err
	}
	timelines, err := a.Timelines(ctx)
	if err != nil {
		return nil, nil, err
	}
	c, err := a.Contents(ctx, timelines[0])
	return a, c, err
}

// each gives every captured change.
func (b *archiveBench) each(ctx context.Context, fn func(segment.Change) error) error {
	a, c, err := b.open(ctx)
	if err != nil {
		return err
	}
	reading := restore.ReadSegments(ctx, a, c.Timeline.ID, c.Segments)
	defer reading.Close() //nolint:errcheck // only read
	for {
		record, err := reading.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if change, ok := record.(segment.Change); ok {
			if err := fn(change); err != nil {
				return err
			}
		}
	}
}

// lags are from a put's answer to when its event had come to the writer.
func (b *archiveBench) lags(ctx context.Context) (lags []time.Duration, err error) {
	err = b.each(ctx, func(c segment.Change) error {
		if at, ok := b.acked.Load(int64(c.Revision)); ok {
			lags = append(lags, max(c.Upper.Sub(at.(time.Time)), 0))
		}
		return nil
	})
	return lags, err
}

//go:build unix

package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
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
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"google.golang.org/protobuf/proto"

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

// sizes compares segments with the same events as JSON with base64, gzipped.
func (b *archiveBench) sizes(ctx context.Context) error {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	encoder := json.NewEncoder(z)
	err := b.each(ctx, func(c segment.Change) error {
		for _, e := range c.Events {
			var kv mvccpb.KeyValue
			if err := proto.Unmarshal(e.Record, &kv); err != nil {
				return err
			}
			if err := encoder.Encode(map[string]any{
				"time": c.Upper, "type": e.Tombstone, "key": kv.Key, "value": kv.Value, "create_revision": kv.CreateRevision,
				"mod_revision": kv.ModRevision, "version": kv.Version, "lease": kv.Lease,
			}); err != nil {
				return err
			}
		}
		return nil
	})
	if err = errors.Join(err, z.Close()); err != nil {
		return err
	}
	_, c, err := b.open(ctx)
	if err != nil {
		return err
	}
	var size int64
	for _, s := range c.Segments {
		size += s.Size
	}
	_, err = fmt.Fprintf(os.Stdout, "segments: %d bytes, the same events as JSON with base64, gzipped: %d (%.2f)\n", size, out.Len(), float64(size)/float64(out.Len()))
	return err
}

// restore compares our restore, in a process of its own, with a client that replays.
func (b *archiveBench) restore(ctx context.Context) error {
	out := filepath.Join(b.dir, "out.db")
	c := exec.CommandContext(ctx, b.plugin, "export", "--archive", b.archive, "--identity", filepath.Join(b.dir, "key.txt"), "--latest", "-f", out, "-o", "json")
	c.Stderr = io.Discard
	began := time.Now()
	if err := c.Start(); err != nil {
		return err
	}
	peak := watchMemory(c.Process.Pid)
	if err := c.Wait(); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	ours, memory := time.Since(began), peak()
	usage := c.ProcessState.UserTime() + c.ProcessState.SystemTime()
	replayed, base, err := b.replay(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(os.Stdout, "restore of %d keys and %d events: %s (%s of CPU, %.0f MB of anonymous memory at most); a client's replay of the events alone: %s, %.1f times as long (with the base made ready besides: %s)\n",
		b.keys, b.events, ours.Round(time.Millisecond), usage.Round(time.Millisecond), memory, replayed.Round(time.Millisecond), float64(replayed)/float64(ours), base.Round(time.Millisecond))
	return err
}

// replay applies every event as a client does: one Txn a revision, to an etcd in this process
// that was started from the base and does not sync.
func (b *archiveBench) replay(ctx context.Context) (took, base time.Duration, err error) {
	a, c, err := b.open(ctx)
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	file, err := os.Create(filepath.Join(b.dir, "base.db"))
	if err != nil {
		return 0, 0, err
	}
	defer file.Close() //nolint:errcheck // only read
	snapshot, err := restore.FetchBase(ctx, a, c.Timeline.ID, c.Bases[0], file)
	if err != nil {
		return 0, 0, err
	}
	client, peer := freeURL(), freeURL()
	plan, err := restore.NewPlan(snapshot, restore.Options{Members: []restore.Target{{Name: "m0", PeerURLs: []string{peer}}}, OutDir: filepath.Join(b.dir, "replay")})
	if err != nil {
		return 0, 0, err
	}
	report, err := restore.Run(ctx, plan, func(string) {})
	if err != nil {
		return 0, 0, err
	}
	server, err := startEmbedded(report.Built[0].Dir, plan.Token, client, peer)
	if err != nil {
		return 0, 0, err
	}
	defer server.Close()
	base = time.Since(began)
	own := v3client.New(server.Server)
	began = time.Now()
	err = b.each(ctx, func(c segment.Change) error {
		var ops []clientv3.Op
		for _, e := range c.Events {
			var kv mvccpb.KeyValue
			if err := proto.Unmarshal(e.Record, &kv); err != nil {
				return err
			}
			if e.Tombstone {
				ops = append(ops, clientv3.OpDelete(string(kv.Key)))
			} else {
				ops = append(ops, clientv3.OpPut(string(kv.Key), string(kv.Value)))
			}
		}
		_, err := own.Txn(ctx).Then(ops...).Commit()
		return err
	})
	return time.Since(began), base, err
}

func startEmbedded(dir, token, client, peer string) (*embed.Etcd, error) {
	config := embed.NewConfig()
	config.Name, config.Dir, config.LogLevel, config.UnsafeNoFsync = "m0", dir, "error", true
	config.InitialClusterToken, config.InitialCluster = token, "m0="+peer
	config.QuotaBackendBytes = 8 << 30
	for _, set := range []struct {
		to   *[]url.URL
		text string
	}{{&config.ListenClientUrls, client}, {&config.AdvertiseClientUrls, client}, {&config.ListenPeerUrls, peer}, {&config.AdvertisePeerUrls, peer}} {
		*set.to = []url.URL{mustURL(set.text)}
	}
	server, err := embed.StartEtcd(config)
	if err != nil {
		return nil, err
	}
	<-server.Server.ReadyNotify()
	return server, nil
}

func mustURL(text string) url.URL {
	u, err := url.Parse(text)
	if err != nil {
		panic(err)
	}
	return *u
}

// watchMemory looks at a process's anonymous memory until the function is called, which gives
// the most that was seen, in MB.
func watchMemory(pid int) func() float64 {
	done, peak := make(chan struct{}), make(chan float64)
	go func() {
		most := 0.0
		ticker := time.NewTicker(5 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				peak <- most
				return
			case <-ticker.C:
				most = max(most, anonymous(pid))
			}
		}
	}()
	return func() float64 { close(done); return <-peak }
}

func anonymous(pid int) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, after, ok := strings.Cut(string(b), "RssAnon:")
	var kb float64
	if _, err := fmt.Sscan(after, &kb); !ok || err != nil {
		return 0
	}
	return kb * 1024 / 1e6
}

// lineBuffer keeps what a process prints.
type lineBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lineBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lineBuffer) wait(ctx context.Context, text string) error {
	for until := time.Now().Add(5 * time.Minute); time.Now().Before(until) && ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		l.mu.Lock()
		found := strings.Contains(l.buf.String(), text)
		l.mu.Unlock()
		if found {
			return nil
		}
	}
	return fmt.Errorf("waited in vain for %s in: %.2000s", text, l.buf.String())
}

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
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"google.golang.org/protobuf/proto"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
)

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

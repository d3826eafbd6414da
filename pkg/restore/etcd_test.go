package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// server is a real etcd in this process.
type server struct {
	*clientv3.Client
	etcd *embed.Etcd
	stop func()
}

func testConfig(t *testing.T, dir string) *embed.Config {
	t.Helper()
	cfg := embed.NewConfig()
	cfg.Dir = dir
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	cfg.UnsafeNoFsync = true
	cfg.ListenClientUrls = urls(t, "http://127.0.0.1:0")
	cfg.ListenPeerUrls = urls(t, "http://127.0.0.1:0")
	cfg.AdvertiseClientUrls = urls(t, "http://127.0.0.1:2379")
	cfg.AdvertisePeerUrls = urls(t, "http://127.0.0.1:2380")
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	return cfg
}

func urls(t *testing.T, all ...string) []url.URL {
	t.Helper()
	var parsed []url.URL
	for _, s := range all {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, *u)
	}
	return parsed
}

// start starts one etcd per config and waits until each serves.
func start(t *testing.T, configs ...*embed.Config) []*server {
	t.Helper()
	var servers []*server
	for _, cfg := range configs {
		e, err := embed.StartEtcd(cfg)
		if err != nil {
			t.Fatalf("start etcd on %s: %v", cfg.Dir, err)
		}
		closed := false
		stop := func() {
			if !closed {
				closed = true
				e.Close()
			}
		}
		t.Cleanup(stop)
		servers = append(servers, &server{etcd: e, stop: stop})
	}
	for _, s := range servers {
		select {
		case <-s.etcd.Server.ReadyNotify():
		case err := <-s.etcd.Err():
			t.Fatalf("etcd ended: %v", err)
		case <-time.After(time.Minute):
			t.Fatal("etcd is not ready after a minute")
		}
		c, err := clientv3.New(clientv3.Config{Endpoints: []string{s.etcd.Clients[0].Addr().String()}, Logger: zap.NewNop()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		s.Client = c
	}
	return servers
}

// storageVersion is that of the server in this process.
const storageVersion = "3.7.0"

func startSource(t *testing.T) *server {
	t.Helper()
	s := start(t, testConfig(t, t.TempDir()))[0]
	s.awaitStorageVersion(t)
	return s
}

// awaitStorageVersion returns when the server has written its storage version, which it
// does some time after it began to serve. Until then Status says 3.5.0, for a database that
// has a term and no version (server/storage/schema/schema.go, UnsafeDetectSchemaVersion), or
// nothing.
func (s *server) awaitStorageVersion(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		status, err := s.Status(t.Context(), s.etcd.Clients[0].Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if status.StorageVersion == storageVersion {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the server's storage version is %q", status.StorageVersion)
		}
	}
}

// save writes the server's snapshot as it streams it, and returns its path.
func (s *server) save(t *testing.T) string {
	t.Helper()
	stream, err := s.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	path := filepath.Join(t.TempDir(), "snapshot.db")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(file, stream); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func (s *server) hashKV(t *testing.T, revision int64) *clientv3.HashKVResponse {
	t.Helper()
	hash, err := s.HashKV(t.Context(), s.etcd.Clients[0].Addr().String(), revision)
	if err != nil {
		t.Fatalf("HashKV at %d: %v", revision, err)
	}
	return hash
}

func (s *server) revision(t *testing.T) int64 {
	t.Helper()
	return s.get(t, "x").Header.Revision
}

func (s *server) get(t *testing.T, key string, options ...clientv3.OpOption) *clientv3.GetResponse {
	t.Helper()
	r, err := s.Get(t.Context(), key, options...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (s *server) put(t *testing.T, key, value string, options ...clientv3.OpOption) {
	t.Helper()
	if _, err := s.Put(t.Context(), key, value, options...); err != nil {
		t.Fatal(err)
	}
}

func (s *server) delete(t *testing.T, key string, options ...clientv3.OpOption) {
	t.Helper()
	if _, err := s.Delete(t.Context(), key, options...); err != nil {
		t.Fatal(err)
	}
}

// compact compacts and waits until it is carried out.
func (s *server) compact(t *testing.T, revision int64) {
	t.Helper()
	if _, err := s.Compact(t.Context(), revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
}

// work writes what a snapshot must carry faithfully: overwrites, deletes, range
// deletes, nested transactions that put and delete one key, leases and a revoked one.
func (s *server) work(t *testing.T, prefix string, n int) {
	t.Helper()
	lease := func() clientv3.LeaseID {
		grant, err := s.Grant(t.Context(), 3600)
		if err != nil {
			t.Fatal(err)
		}
		return grant.ID
	}
	kept, revoked := lease(), lease()
	for i := range n {
		key := fmt.Sprintf("%s%04d", prefix, i%(n/2+1))
		s.put(t, key, strings.Repeat("v", 1+i*7%900))
		switch i % 10 {
		case 3:
			s.delete(t, key)
		case 5:
			s.put(t, key, "leased", clientv3.WithLease(kept))
		case 7:
			s.put(t, key+"r", "revoked", clientv3.WithLease(revoked))
		case 9:
			s.nested(t, key)
		}
	}
	if _, err := s.Revoke(t.Context(), revoked); err != nil {
		t.Fatal(err)
	}
	s.delete(t, prefix+"0001", clientv3.WithRange(prefix+"0004"))
}

// nested puts and deletes one key in one revision, by sibling transactions.
func (s *server) nested(t *testing.T, key string) {
	t.Helper()
	_, err := s.Txn(t.Context()).Then(
		clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpPut(key, "nested"), clientv3.OpPut(key+"n", "1")}, nil),
		clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpDelete(key)}, nil),
	).Commit()
	if err != nil {
		t.Fatal(err)
	}
}

// freeURL is a loopback URL on a port that nothing listens on.
func freeURL(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

// configOf is the config that a printed command line means. It knows no flag by heart
// that the command should not have.
func configOf(t *testing.T, command []string) *embed.Config {
	t.Helper()
	cfg := testConfig(t, "")
	if command[0] != "etcd" {
		t.Fatalf("command is %q", command[0])
	}
	for _, arg := range command[1:] {
		flag, value, _ := strings.Cut(arg, "=")
		switch flag {
		case "--name":
			cfg.Name = value
		case "--data-dir":
			cfg.Dir = value
		case "--initial-cluster":
			cfg.InitialCluster = value
		case "--initial-cluster-token":
			cfg.InitialClusterToken = value
		case "--initial-cluster-state":
			cfg.ClusterState = value
		case "--initial-advertise-peer-urls":
			cfg.AdvertisePeerUrls = urls(t, strings.Split(value, ",")...)
		case "--listen-peer-urls":
			cfg.ListenPeerUrls = urls(t, strings.Split(value, ",")...)
		case "--advertise-client-urls":
			cfg.AdvertiseClientUrls = urls(t, strings.Split(value, ",")...)
		case "--listen-client-urls": // left at a free port: the source's may be in use
		default:
			t.Fatalf("unexpected flag %s", arg)
		}
	}
	return cfg
}

// restored opens, plans and runs, and starts etcd on all that was built.
func restored(t *testing.T, path string, options Options) (*Report, []*server) {
	t.Helper()
	report := run(t, path, options)
	var configs []*embed.Config
	for _, built := range report.Built {
		configs = append(configs, configOf(t, built.Command))
	}
	return report, start(t, configs...)
}

func run(t *testing.T, path string, options Options) *Report {
	t.Helper()
	report, err := Run(t.Context(), plan(t, path, options), nil)
	if err != nil {
		t.Fatal(err)
	}
	if !report.Proven {
		t.Error("the report says that the result is not proven")
	}
	return report
}

func plan(t *testing.T, path string, options Options) *Plan {
	t.Helper()
	snapshot, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewPlan(snapshot, options)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// notDamage says whether err is anything but what Open may say about a bad file.
func notDamage(err error) bool {
	return !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNotSnapshot)
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

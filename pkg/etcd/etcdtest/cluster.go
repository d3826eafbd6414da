// Package etcdtest starts real etcd members inside the test's own process.
//
// Its one idea: what is tested against is etcd itself, over real TCP and TLS on
// loopback, with levers to stop, start and damage it. Everything ends with the test.
package etcdtest

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"golang.org/x/sync/errgroup"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// startWait bounds everything that waits for etcd here: generous, since it is
// spent only by a test that fails.
const startWait = 60 * time.Second

// Options says what cluster to start. The zero value: mutual TLS towards clients,
// etcd's default quota.
type Options struct {
	Plain  bool  // no TLS
	Quota  int64 // quota-backend-bytes; 0: etcd's default
	Server Leaf  // what the members' certificates carry
	// Configure changes a member's configuration before its first start; may be nil.
	Configure func(config *embed.Config)
}

// Cluster is a running etcd cluster.
type Cluster struct {
	Authority *Authority // nil when Plain
	Members   []*Member  // named a, b, c …

	t       testing.TB
	options Options
	dir     string
	token   string
}

// Start starts n members and waits until each is ready and all know one leader.
func Start(t testing.TB, n int, options Options) *Cluster {
	t.Helper()
	c := &Cluster{t: t, options: options, dir: t.TempDir(), token: fmt.Sprintf("etcdtest-%d", rand.Uint64())}
	if !options.Plain {
		c.Authority = NewAuthority(t, "etcdtest")
	}
	for i := range n {
		c.Members = append(c.Members, c.newMember(string(rune('a'+i)), embed.ClusterStateFlagNew))
	}
	for _, m := range c.Members {
		m.config.InitialCluster = c.initialCluster()
		m.start()
	}
	for _, m := range c.Members {
		m.awaitReady()
	}
	c.Leader()
	return c
}

// TLS is a client's configuration that the members accept; nil when Plain.
func (c *Cluster) TLS() *tls.Config {
	if c.Authority == nil {
		return nil
	}
	return c.Authority.ClientTLS(Leaf{CommonName: "etcdtest-client"})
}

// ClientOptions are what etcd.Open needs to reach a member.
func (c *Cluster) ClientOptions() etcd.Options {
	return etcd.Options{TLS: c.TLS()}
}

// Open opens a client of member i; it is closed with the test.
func (c *Cluster) Open(i int) *etcd.Client {
	c.t.Helper()
	return c.OpenWith(c.Members[i].Endpoint(), c.ClientOptions())
}

// OpenWith opens a client that is closed with the test.
func (c *Cluster) OpenWith(endpoint etcd.Endpoint, options etcd.Options) *etcd.Client {
	c.t.Helper()
	client, err := etcd.Open(endpoint, options)
	must(c.t, "open client", err)
	c.t.Cleanup(func() { client.Close() })
	return client
}

// Clients opens a client of every member.
func (c *Cluster) Clients() []*etcd.Client {
	c.t.Helper()
	clients := make([]*etcd.Client, len(c.Members))
	for i := range c.Members {
		clients[i] = c.Open(i)
	}
	return clients
}

// Sources are all members as etcd.Observe takes them.
func (c *Cluster) Sources() []etcd.Source {
	c.t.Helper()
	sources := make([]etcd.Source, len(c.Members))
	for i, m := range c.Members {
		sources[i] = etcd.Source{Name: "etcd-" + m.Name, Peers: []string{m.PeerURL}, Reader: c.Open(i)}
	}
	return sources
}

// Leader is the index of the member that all running members call their leader.
// It waits until they agree.
func (c *Cluster) Leader() int {
	c.t.Helper()
	for deadline := time.Now().Add(startWait); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if i, ok := c.agreedLeader(); ok {
			return i
		}
	}
	c.t.Fatal("etcdtest: the members did not agree on a leader")
	return -1
}

// Follower is the index of a running voter that does not lead.
func (c *Cluster) Follower() int {
	c.t.Helper()
	leader := c.Leader()
	for i, m := range c.Members {
		if i != leader && m.Server != nil && !m.Server.Server.IsLearner() {
			return i
		}
	}
	c.t.Fatal("etcdtest: no follower is running")
	return -1
}

// Fill puts keys of size bytes each, in random contents that do not compress. The
// order is not the same every time.
func (c *Cluster) Fill(keys, size int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), startWait)
	defer cancel()
	client := c.Open(c.Leader()).Raw()
	var puts errgroup.Group
	puts.SetLimit(16) // several share a round of consensus
	for i := range keys {
		puts.Go(func() error {
			value := make([]byte, size)
			_, _ = rand.NewChaCha8([32]byte{byte(i), byte(i >> 8)}).Read(value)
			_, err := client.Put(ctx, fmt.Sprintf("/fill/%08d", i), string(value))
			return err
		})
	}
	must(c.t, "fill", puts.Wait())
}

// RaiseAlarm raises an alarm for the member with that ID, which need not exist; 0 is the
// whole cluster.
func (c *Cluster) RaiseAlarm(id etcd.ID, alarm pb.AlarmType) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), startWait)
	defer cancel()
	maintenance := pb.NewMaintenanceClient(c.Open(c.Leader()).Raw().ActiveConnection())
	_, err := maintenance.Alarm(ctx, &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, MemberID: uint64(id), Alarm: alarm})
	must(c.t, "raise alarm", err)
}

// AddLearner adds a member that does not vote and starts it.
func (c *Cluster) AddLearner() *Member {
	c.t.Helper()
	m := c.newMember(string(rune('a'+len(c.Members))), embed.ClusterStateFlagExisting)
	ctx, cancel := context.WithTimeout(c.t.Context(), startWait)
	defer cancel()
	_, err := c.Open(c.Leader()).Raw().MemberAddAsLearner(ctx, []string{m.PeerURL})
	must(c.t, "add learner", err)
	c.Members = append(c.Members, m)
	m.config.InitialCluster = c.initialCluster()
	m.start()
	m.awaitReady()
	return m
}

// Prepare makes one more member, in no list and not running.
func (c *Cluster) Prepare() *Member {
	c.t.Helper()
	return c.newMember(string(rune('a'+len(c.Members))), embed.ClusterStateFlagExisting)
}

// Join starts a member that is in the list by now, by the initial cluster that it was given, and
// waits until it is ready: a server that is asked before that panics, which ends the test.
func (c *Cluster) Join(m *Member, initialCluster string) {
	c.t.Helper()
	m.config.InitialCluster = initialCluster
	m.start()
	m.awaitReady()
	c.Members = append(c.Members, m)
}

func (c *Cluster) agreedLeader() (int, bool) {
	leader := uint64(0)
	for _, m := range c.Members {
		if m.Server == nil {
			continue
		}
		id := uint64(m.Server.Server.Leader())
		if id == 0 || (leader != 0 && id != leader) {
			return 0, false
		}
		leader = id
	}
	for i, m := range c.Members {
		if m.Server != nil && uint64(m.Server.Server.MemberID()) == leader {
			return i, true
		}
	}
	return 0, false
}

func (c *Cluster) initialCluster() string {
	var pairs []string
	for _, m := range c.Members {
		pairs = append(pairs, m.Name+"="+m.PeerURL)
	}
	return strings.Join(pairs, ",")
}

// write makes a file in the cluster's directory and returns its path.
func (c *Cluster) write(name string, content []byte) string {
	path := filepath.Join(c.dir, name)
	must(c.t, "write "+name, os.WriteFile(path, content, 0o600))
	return path
}

// FreeAddr is a loopback address where nothing listens. Its port is below the
// range that systems hand out by themselves, so that nobody else gets it meanwhile.
func FreeAddr(t testing.TB) string {
	t.Helper()
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000))
		listener, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		must(t, "release "+addr, listener.Close())
		return addr
	}
	t.Fatal("etcdtest: no free port")
	return ""
}

// Put writes one key through client.
func Put(t testing.TB, client *clientv3.Client, key, value string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startWait)
	defer cancel()
	_, err := client.Put(ctx, key, value)
	must(t, "put "+key, err)
}

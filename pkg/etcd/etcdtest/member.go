package etcdtest

import (
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// Member is one member, in this process.
type Member struct {
	Name      string
	ClientURL string
	PeerURL   string
	Dir       string      // its data directory
	Server    *embed.Etcd // nil while it is stopped

	t      testing.TB
	config *embed.Config
}

// Endpoint is the straight way to the member.
func (m *Member) Endpoint() etcd.Endpoint {
	return etcd.Endpoint{Name: "etcd-" + m.Name, URL: m.ClientURL}
}

// Addr is host:port of its client URL.
func (m *Member) Addr() string { return m.config.ListenClientUrls[0].Host }

// ID is the member's ID. The member must be running.
func (m *Member) ID() etcd.ID { return etcd.ID(m.Server.Server.MemberID()) }

// Stop ends the member; its data directory stays.
func (m *Member) Stop() {
	if m.Server == nil {
		return
	}
	m.Server.Close()
	m.Server = nil
}

// Start starts a stopped member again. It does not wait for it to be ready,
// since without quorum it never is.
func (m *Member) Start() {
	m.t.Helper()
	m.start()
}

// Isolate drops what the other members send to this one, and it to them, until Rejoin. Its
// clients still reach it; within the election timeout it takes itself for connected.
func (m *Member) Isolate() { m.Server.Server.PauseSending() }

// Rejoin ends Isolate.
func (m *Member) Rejoin() { m.Server.Server.ResumeSending() }

func (m *Member) start() {
	m.t.Helper()
	server, err := embed.StartEtcd(m.config)
	must(m.t, "start member "+m.Name, err)
	m.Server = server
}

func (m *Member) awaitReady() {
	m.t.Helper()
	select {
	case <-m.Server.Server.ReadyNotify():
	case err := <-m.Server.Err():
		m.t.Fatalf("etcdtest: member %s ended: %v", m.Name, err)
	case <-time.After(startWait):
		m.t.Fatalf("etcdtest: member %s was not ready in %s", m.Name, startWait)
	}
}

func (c *Cluster) newMember(name, state string) *Member {
	c.t.Helper()
	scheme := "https"
	if c.options.Plain {
		scheme = "http"
	}
	m := &Member{
		Name:      name,
		ClientURL: scheme + "://" + FreeAddr(c.t),
		PeerURL:   "http://" + FreeAddr(c.t),
		Dir:       filepath.Join(c.dir, name),
		t:         c.t,
	}
	m.config = c.configure(m, state)
	c.t.Cleanup(m.Stop)
	return m
}

// configure is a member's configuration: quick elections, no fsync (nothing here
// outlives the process), no logs.
func (c *Cluster) configure(m *Member, state string) *embed.Config {
	config := embed.NewConfig()
	config.Name = m.Name
	config.Dir = m.Dir
	config.ListenClientUrls = []url.URL{c.parse(m.ClientURL)}
	config.AdvertiseClientUrls = config.ListenClientUrls
	config.ListenPeerUrls = []url.URL{c.parse(m.PeerURL)}
	config.AdvertisePeerUrls = config.ListenPeerUrls
	config.ClusterState = state
	config.InitialClusterToken = c.token
	config.TickMs = 50
	config.ElectionMs = 500
	config.UnsafeNoFsync = true
	config.EnableGRPCGateway = false
	config.StrictReconfigCheck = false // else a learner may be added only after 5 s of quiet
	config.BcryptCost = 4              // the lowest: passwords of tests need no guarding
	config.QuotaBackendBytes = c.options.Quota
	config.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	if !c.options.Plain {
		config.ClientTLSInfo = c.serverTLS(m.Name)
	}
	if c.options.Configure != nil {
		c.options.Configure(config)
	}
	return config
}

func (c *Cluster) serverTLS(name string) transport.TLSInfo {
	pair := c.Authority.Issue(c.options.Server)
	return transport.TLSInfo{
		CertFile:       c.write(name+".crt", pair.CertPEM),
		KeyFile:        c.write(name+".key", pair.KeyPEM),
		TrustedCAFile:  c.write("ca.crt", c.Authority.PEM),
		ClientCertAuth: true,
	}
}

func (c *Cluster) parse(raw string) url.URL {
	u, err := url.Parse(raw)
	must(c.t, "parse "+raw, err)
	return *u
}

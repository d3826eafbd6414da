package etcd

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// Endpoint is one way to one member.
type Endpoint struct {
	Name       string // what the user knows it by: the pod's name, or host:port
	URL        string // "https://127.0.0.1:2379"; the scheme decides about TLS
	ServerName string // the name its certificate must carry; empty: the URL's host
	// Dial opens a connection to the member; nil dials the URL's host directly.
	Dial func(ctx context.Context) (net.Conn, error)
	// Certificates tells of a TLS that ends before the member, as a relay's does; nil:
	// there is only that of the URL.
	Certificates func() []Certificate
}

// Options are what all members of a cluster share.
type Options struct {
	TLS                *tls.Config // roots and client certificate; nil: none
	Username, Password string
	Logger             *slog.Logger
}

// Client is a gRPC client of exactly one member. It fails fast: a call over a
// connection that can't be made ends with the reason at once, and no call is
// tried twice.
type Client struct {
	endpoint Endpoint
	options  Options
	link     *link
	login    *login
	raw      *clientv3.Client
}

// keepAlive is how long a connection in use may be silent before it is asked
// whether it lives, and how long the answer may take. etcd closes connections that
// ask more often than every 5 s (grpc-keepalive-min-time).
const keepAlive = 10 * time.Second

// Open makes a client. It does no I/O: the first call connects.
func Open(endpoint Endpoint, options Options) (*Client, error) {
	u, err := url.Parse(endpoint.URL)
	if err != nil {
		return nil, fmt.Errorf("parse endpoint of %s: %w", endpoint.Name, err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("endpoint %q of %s is no http or https URL", endpoint.URL, endpoint.Name)
	}
	c := &Client{
		endpoint: endpoint,
		options:  options,
		link:     newLink(endpoint, u, options.TLS),
		login:    newLogin(options.Username, options.Password),
	}
	c.raw, err = clientv3.New(clientv3.Config{
		Endpoints:            []string{u.Scheme + "://" + u.Host},
		DialKeepAliveTime:    keepAlive,
		DialKeepAliveTimeout: keepAlive,
		MaxUnaryRetries:      1, // the first try is one of them
		Logger:               zapLogger(options.Logger),
		DialOptions:          c.dialOptions(),
	})
	if err != nil {
		return nil, fmt.Errorf("open client of %s: %w", endpoint.Name, err)
	}
	return c, nil
}

// dialOptions come after clientv3's own and win over them. Credentials are among
// them because tls.Config.ServerName is ignored below (grpc-go PR 8488).
func (c *Client) dialOptions() []grpc.DialOption {
	options := []grpc.DialOption{
		grpc.WithContextDialer(c.link.dialContext),
		grpc.WithTransportCredentials(c.link.credentials()),
		grpc.WithPerRPCCredentials(c.login),
		grpc.WithChainUnaryInterceptor(c.interceptUnary),
		grpc.WithChainStreamInterceptor(c.interceptStream),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 250 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second},
			MinConnectTimeout: 20 * time.Second,
		}),
	}
	if c.link.tls != nil {
		options = append(options, grpc.WithAuthority(c.link.serverName))
	}
	return options
}

// Again opens another client of the same member, with connections of its own: what
// one of them carries does not hold up the other.
func (c *Client) Again() (*Client, error) { return Open(c.endpoint, c.options) }

// Endpoint is what the client was opened with.
func (c *Client) Endpoint() Endpoint { return c.endpoint }

// Raw is the underlying client, for calls that have no method here. Its calls fail
// as fast, and with the same reasons.
func (c *Client) Raw() *clientv3.Client { return c.raw }

// Close ends the client and its connections.
func (c *Client) Close() error { return c.raw.Close() }

func (c *Client) maintenance() pb.MaintenanceClient {
	return pb.NewMaintenanceClient(c.raw.ActiveConnection())
}

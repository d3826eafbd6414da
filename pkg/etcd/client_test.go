package etcd_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
)

// deadline is long: a test that needs it has failed.
const deadline = 2 * time.Minute

func timeout(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	t.Cleanup(cancel)
	return ctx
}

// atOnce fails the test when the call ran into its deadline instead of its reason.
func atOnce(ctx context.Context, t *testing.T, err error) {
	t.Helper()
	if ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the reason came only with the deadline: %v", err)
	}
}

func TestServerNameIsVerified(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{Server: etcdtest.Leaf{Names: []string{"node-1", "127.0.0.1"}}})
	tests := []struct {
		name string
		want error
	}{
		{"node-1", nil},
		{"127.0.0.1", nil},
		{"", nil}, // the URL's host
		{"node-2", etcd.ErrServerName},
		{"localhost", etcd.ErrServerName},
		{"127.0.0.2", etcd.ErrServerName},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			endpoint := cluster.Members[0].Endpoint()
			endpoint.ServerName = test.name
			options := cluster.ClientOptions()
			options.TLS.ServerName = "node-1" // the endpoint's name counts, not this one
			ctx := timeout(t)
			_, err := cluster.OpenWith(endpoint, options).Status(ctx)
			if !errors.Is(err, test.want) {
				t.Fatalf("Status = %v, want %v", err, test.want)
			}
			atOnce(ctx, t, err)
		})
	}
}

func TestCertificateErrors(t *testing.T) {
	good := etcdtest.Start(t, 1, etcdtest.Options{})
	expired := etcdtest.Start(t, 1, etcdtest.Options{Server: etcdtest.Expired("etcd")})
	stranger := etcdtest.NewAuthority(t, "stranger")

	tests := []struct {
		name    string
		cluster *etcdtest.Cluster
		config  func() *tls.Config
		want    error
		says    string
	}{
		{"wrong CA", good, func() *tls.Config { return stranger.ClientTLS(etcdtest.Leaf{}) }, etcd.ErrUntrusted, "unknown authority"},
		{"no roots at all", good, func() *tls.Config { return nil }, etcd.ErrUntrusted, "unknown authority"},
		{"server's expired", expired, expired.TLS, etcd.ErrExpired, "the member's"},
		{"client's expired", good, func() *tls.Config { return good.Authority.ClientTLS(etcdtest.Expired("admin")) }, etcd.ErrExpired, "CN=admin"},
		{"no client certificate", good, func() *tls.Config { return &tls.Config{RootCAs: good.Authority.Pool()} }, etcd.ErrClientCert, "none was given"},
		{"client's from another CA", good, func() *tls.Config {
			config := stranger.ClientTLS(etcdtest.Leaf{CommonName: "spy"})
			config.RootCAs = good.Authority.Pool()
			return config
		}, etcd.ErrClientCert, "CN=spy"},
		{"no client certificate, TLS 1.2", good, func() *tls.Config {
			return &tls.Config{RootCAs: good.Authority.Pool(), MaxVersion: tls.VersionTLS12}
		}, etcd.ErrClientCert, "none was given"},
		{"client's expired, TLS 1.2", good, func() *tls.Config {
			config := good.Authority.ClientTLS(etcdtest.Expired("admin"))
			config.MaxVersion = tls.VersionTLS12
			return config
		}, etcd.ErrExpired, "CN=admin"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ctx := timeout(t)
			client := test.cluster.OpenWith(test.cluster.Members[0].Endpoint(), etcd.Options{TLS: test.config()})
			_, err := client.Status(ctx)
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("Status = %v, want %v and %q", err, test.want, test.says)
			}
			atOnce(ctx, t, err)
		})
	}
}

// tunnelError stands for what a Dial func of another package gives.
type tunnelError struct{ Pod string }

func (e *tunnelError) Error() string {
	return "tunnel to " + e.Pod + ": connection refused by the node"
}

func TestDialErrorReachesTheCaller(t *testing.T) {
	endpoint := etcd.Endpoint{
		Name: "etcd-a", URL: "https://127.0.0.1:2379",
		Dial: func(context.Context) (net.Conn, error) { return nil, &tunnelError{Pod: "etcd-a"} },
	}
	client, err := etcd.Open(endpoint, etcd.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()

	calls := map[string]func(ctx context.Context) error{
		"Status":   func(ctx context.Context) error { _, err := client.Status(ctx); return err },
		"Members":  func(ctx context.Context) error { _, err := client.Members(ctx); return err },
		"Alarms":   func(ctx context.Context) error { _, err := client.Alarms(ctx); return err },
		"Snapshot": func(ctx context.Context) error { _, err := client.Snapshot(ctx); return err },
		"Raw":      func(ctx context.Context) error { _, err := client.Raw().Get(ctx, "a"); return err },
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			ctx := timeout(t)
			err := call(ctx)
			var cause *tunnelError
			if !errors.As(err, &cause) || cause.Pod != "etcd-a" {
				t.Fatalf("%s = %v, want the dialer's own error in it", name, err)
			}
			atOnce(ctx, t, err)
		})
	}
}

func TestRefusedPort(t *testing.T) {
	client, err := etcd.Open(etcd.Endpoint{Name: "a", URL: "http://" + etcdtest.FreeAddr(t)}, etcd.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx := timeout(t)
	_, err = client.Status(ctx)
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("Status = %v, want connection refused", err)
	}
	atOnce(ctx, t, err)
}

func TestBlackholeEndsAtTheDeadline(t *testing.T) {
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			client, err := etcd.Open(etcd.Endpoint{Name: "a", URL: scheme + "://" + etcdtest.Blackhole(t)}, etcd.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if _, err := client.Status(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("Status = %v, want the deadline", err)
			}
		})
	}
}

func TestDroppedConnection(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{})
	line := etcdtest.NewLine(cluster.Members[0].Addr())
	endpoint := cluster.Members[0].Endpoint()
	endpoint.Dial = line.Dial
	client := cluster.OpenWith(endpoint, cluster.ClientOptions())
	ctx := timeout(t)
	if _, err := client.Status(ctx); err != nil {
		t.Fatal(err)
	}

	line.Hold()
	failed := make(chan error, 1)
	go func() { _, err := client.Members(ctx); failed <- err }()
	select { // until the call is under way: its answer is held
	case err := <-failed:
		t.Fatalf("Members ended while the line was held: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	line.Cut(&tunnelError{Pod: "etcd-a"})
	line.Release()

	var cause *tunnelError
	if err := <-failed; !errors.As(err, &cause) {
		t.Errorf("Members = %v, want the connection's own error in it", err)
	}
	if _, err := client.Status(ctx); err != nil {
		t.Errorf("Status over a new connection: %v", err)
	}
	if line.Dials() < 2 {
		t.Errorf("%d connections, want a new one", line.Dials())
	}
}

func TestOpenRefusesWhatIsNoEndpoint(t *testing.T) {
	for _, url := range []string{"", "127.0.0.1:2379", "ftp://a:1", "https://", "http://a b"} {
		if _, err := etcd.Open(etcd.Endpoint{Name: "a", URL: url}, etcd.Options{}); err == nil {
			t.Errorf("Open(%q) gave no error", url)
		}
	}
}

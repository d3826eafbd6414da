package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// link makes the connections to one member and remembers why the last one failed:
// grpc keeps only a text of it.
type link struct {
	dial       func(ctx context.Context) (net.Conn, error)
	serverName string
	tls        *tls.Config // nil: no TLS

	mu       sync.Mutex
	failures uint64            // so far
	last     error             // the last failure
	broken   bool              // nothing has worked since
	server   *x509.Certificate // of the last connection that came about
}

func newLink(endpoint Endpoint, u *url.URL, config *tls.Config) *link {
	l := &link{dial: endpoint.Dial, serverName: endpoint.ServerName}
	if l.dial == nil {
		l.dial = func(ctx context.Context) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", hostPort(u))
		}
	}
	if l.serverName == "" {
		l.serverName = u.Hostname()
	}
	if u.Scheme != "https" {
		return l
	}
	l.tls = &tls.Config{}
	if config != nil {
		l.tls = config.Clone()
	}
	l.tls.ServerName = "" // grpc compares it with the authority, ours is the endpoint's
	return l
}

func hostPort(u *url.URL) string {
	if u.Port() == "" {
		return net.JoinHostPort(u.Hostname(), "2379")
	}
	return u.Host
}

// dialContext is grpc's dialer. The address is ignored: a link has one other end.
func (l *link) dialContext(ctx context.Context, _ string) (net.Conn, error) {
	conn, err := l.dial(ctx)
	if err != nil {
		return nil, l.failed(err)
	}
	return conn, nil
}

func (l *link) credentials() credentials.TransportCredentials {
	if l.tls == nil {
		return &handshake{TransportCredentials: insecure.NewCredentials(), link: l}
	}
	return &handshake{TransportCredentials: credentials.NewTLS(l.tls), link: l}
}

// failed notes why a connection failed and returns it.
func (l *link) failed(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures++
	l.last, l.broken = err, true
	return err
}

func (l *link) worked() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = false
}

// shown notes the member's certificate.
func (l *link) shown(state tls.ConnectionState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(state.PeerCertificates) > 0 {
		l.server = state.PeerCertificates[0]
	}
}

// certificates are the member's and, with it, ours.
func (l *link) certificates() []Certificate {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.server == nil {
		return nil
	}
	certificates := []Certificate{NewCertificate(ServerSide, l.server)}
	if own := ownLeaf(l.tls); own != nil {
		certificates = append(certificates, NewCertificate(ClientSide, own))
	}
	return certificates
}

// mark is for since.
func (l *link) mark() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failures
}

// since is what went wrong with the link after mark, or before it if nothing has
// worked since then.
func (l *link) since(mark uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failures > mark || l.broken {
		return l.last
	}
	return nil
}

// handshake checks the member's certificate against the endpoint's own name and
// notes failures, also those that come later: with TLS 1.3 a member refuses a
// client certificate only after the client's side of the handshake is over.
type handshake struct {
	credentials.TransportCredentials
	link *link
}

func (h *handshake) ClientHandshake(ctx context.Context, _ string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := h.TransportCredentials.ClientHandshake(ctx, h.link.serverName, raw)
	if err != nil {
		return nil, nil, h.link.failed(certificateError(err, h.link.tls))
	}
	if secure, ok := info.(credentials.TLSInfo); ok {
		h.link.shown(secure.State)
	}
	return &watchedConn{Conn: conn, link: h.link, ended: make(chan struct{})}, info, nil
}

func (h *handshake) Clone() credentials.TransportCredentials {
	return &handshake{TransportCredentials: h.TransportCredentials.Clone(), link: h.link}
}

// watchedConn tells its link whether it works. grpc reads it from one goroutine.
type watchedConn struct {
	net.Conn
	link  *link
	works bool
	once  sync.Once
	ended chan struct{} // closed when reading has failed
}

func (c *watchedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && !c.works {
		c.works = true
		c.link.worked()
	}
	if err != nil {
		c.end(err)
	}
	return n, err
}

// Write waits a moment for the reader after an error: a member that refuses the
// client certificate closes, and the alert that says why is still to be read.
func (c *watchedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err == nil || errors.Is(err, net.ErrClosed) {
		return n, err
	}
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-c.ended:
	case <-timer.C:
	}
	return n, err
}

func (c *watchedConn) end(err error) {
	c.once.Do(func() {
		if !errors.Is(err, net.ErrClosed) { // our own Close
			_ = c.link.failed(readError(err, c.link.tls))
		}
		close(c.ended)
	})
}

func readError(err error, config *tls.Config) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("connection closed by the member: %w", err)
	}
	return certificateError(err, config)
}

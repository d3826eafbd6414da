package relay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Stream says what a stream is to be.
type Stream struct {
	Member     string // its address, as the relay was started for: "10.0.0.1:2379"
	ALPN       string // HTTP2 or HTTP1
	ServerName string // what its certificate must be for; empty: Member's host
}

// Caller is the caller's end of the wire to one relay.
type Caller struct {
	// Dial opens a connection to the relay's Port: a tunnel of its own for each stream.
	Dial func(ctx context.Context) (net.Conn, error)
	Key  *Key
	// Relay is the pin of the relay's key.
	Relay Pin
	// Shown is told the certificates of each stream's connection to the member; nil:
	// nobody wants to know.
	Shown func(member, client *x509.Certificate)
}

// DialContext opens a stream. What goes through it is what a member and its client say
// inside of TLS. ctx bounds the set-up only. A read deadline that passes ends the
// connection.
//
// Errors are those of Dial, and ErrForeign, ErrTarget and ErrMember; the last may come
// with the first Read, since a member may refuse the node's certificate only then.
func (c *Caller) DialContext(ctx context.Context, stream Stream) (net.Conn, error) {
	conn, answer, err := c.ask(ctx, request{Stream: stream.Member, ALPN: stream.ALPN, ServerName: stream.ServerName})
	if err != nil {
		return nil, err
	}
	c.show(answer.Certificates)
	squeezer, err := newSqueezer(conn)
	if err != nil {
		_ = conn.NetConn().Close()
		return nil, err
	}
	return &streamConn{Conn: conn, out: squeezer}, nil
}

// show tells of the certificates, if the relay sent both and they can be read.
func (c *Caller) show(certificates [][]byte) {
	if c.Shown == nil || len(certificates) != 2 {
		return
	}
	member, err := x509.ParseCertificate(certificates[0])
	if err != nil {
		return
	}
	client, err := x509.ParseCertificate(certificates[1])
	if err != nil {
		return
	}
	c.Shown(member, client)
}

// Connects measures the distance to a peer of the relay's: how long each of count TCP
// connects took, which is one round trip. Errors are those of DialContext.
func (c *Caller) Connects(ctx context.Context, peer string, count int) ([]time.Duration, error) {
	conn, answer, err := c.ask(ctx, request{Probe: peer, Count: count})
	if err != nil {
		return nil, err
	}
	_ = conn.Close() // the answer is whole
	return answer.Connects, nil
}

// ask opens a connection to the relay and returns its reply to r.
func (c *Caller) ask(ctx context.Context, r request) (*tls.Conn, reply, error) {
	if err := r.validate(); err != nil {
		return nil, reply{}, err
	}
	raw, err := c.Dial(ctx)
	if err != nil {
		return nil, reply{}, err
	}
	conn := tls.Client(raw, c.Key.config(c.Relay))
	answer, err := exchange(ctx, conn, r)
	if err != nil {
		_ = raw.Close() // the first error says more
		return nil, reply{}, err
	}
	return conn, answer, nil
}

func exchange(ctx context.Context, conn *tls.Conn, r request) (answer reply, err error) {
	if err := conn.HandshakeContext(ctx); err != nil {
		return reply{}, handshakeError(err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.NetConn().Close() })
	if err = writeMessage(conn, r); err == nil {
		err = readMessage(conn, &answer)
	}
	switch {
	case !stop():
		return reply{}, context.Cause(ctx)
	case err != nil:
		return reply{}, handshakeError(err)
	}
	return answer, answer.err()
}

// handshakeError marks what says that the other end is another relay, or that we are not
// its caller: with TLS 1.3 the latter comes only after the handshake. An end without a
// word is what a busy relay, or none at all, gives.
func handshakeError(err error) error {
	var remote *net.OpError
	var record tls.RecordHeaderError
	switch {
	case errors.Is(err, errPin), errors.As(err, &record),
		errors.As(err, &remote) && remote.Op == "remote error":
		return fmt.Errorf("%w: %w", ErrForeign, err)
	}
	return fmt.Errorf("speak with the relay: %w", err)
}

// streamConn is a stream as its user sees it.
type streamConn struct {
	*tls.Conn

	writing sync.Mutex
	out     *squeezer

	reading sync.Mutex
	in      io.Reader // nil before the second reply
	failed  error     // why there is no in
}

// Read returns what the member sent. The member's clean end is io.EOF, any other
// something else.
func (c *streamConn) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	if c.in == nil && c.failed == nil {
		c.in, c.failed = c.begin()
	}
	if c.failed != nil {
		return 0, c.failed
	}
	return c.in.Read(p)
}

// begin reads the second reply.
func (c *streamConn) begin() (io.Reader, error) {
	var answer reply
	if err := readMessage(c.Conn, &answer); err != nil {
		return nil, err
	}
	if err := answer.err(); err != nil {
		return nil, err
	}
	return newExpander(c.Conn)
}

// Write sends p at once: who wants to save flushes writes more at a time, as gRPC does.
func (c *streamConn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	n, err := c.out.Write(p)
	if err == nil {
		err = c.out.flush()
	}
	return n, err
}

// Close cuts the connection: TLS's own Close may have to wait until it can say goodbye.
func (c *streamConn) Close() error { return c.NetConn().Close() }

var _ net.Conn = (*streamConn)(nil)

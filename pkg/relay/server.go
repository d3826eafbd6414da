package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

const (
	// setupLimit bounds a handshake, a request, and a connect to a member.
	setupLimit = 10 * time.Second
	// maxStrangers is how many connections may be shaking hands at once: whoever may
	// port-forward can open them.
	maxStrangers = 32
)

// Server is the relay itself, as it runs in the pod.
type Server struct {
	Key    *Key
	Caller Pin // the only one who is let in
	// Members are the addresses that streams may go to, Peers those that may be probed.
	Members, Peers []string
	// TLS has the authority and the client certificate for Members.
	TLS *tls.Config
	// Idle is after how long without a byte the relay ends; Alone likewise, once the
	// caller was there and all its connections are closed.
	Idle, Alone time.Duration

	pulse pulse
}

// errIdle ends a relay that nobody needs any more.
var errIdle = errors.New("no byte for too long")

// Serve serves listener, and closes it, until ctx ends or nobody needs the relay any more;
// both are no errors.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	defer context.AfterFunc(ctx, func() { _ = listener.Close() })()
	var connections sync.WaitGroup
	defer connections.Wait()
	s.pulse.beat()
	connections.Go(func() { end(s.pulse.watch(ctx, s.Idle, s.Alone)) })

	strangers := make(chan struct{}, maxStrangers)
	for {
		conn, err := listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			end(err)
			return fmt.Errorf("accept: %w", err)
		}
		select {
		case strangers <- struct{}{}:
		default:
			_ = conn.Close()
			continue
		}
		connections.Go(func() { s.serve(ctx, conn, func() { <-strangers }) })
	}
}

// serve serves one connection; admitted is called once it is known whose it is.
func (s *Server) serve(ctx context.Context, raw net.Conn, admitted func()) {
	defer raw.Close() //nolint:errcheck // nobody is left to be told
	defer context.AfterFunc(ctx, func() { _ = raw.Close() })()
	conn := tls.Server(raw, s.Key.config(s.Caller))
	err := s.shakeHands(ctx, conn)
	admitted()
	if err != nil {
		return // whoever it was read an alert
	}
	defer s.pulse.enter()()
	metered := &meteredConn{conn, &s.pulse}
	_ = metered.SetDeadline(time.Now().Add(setupLimit)) // fails only on a closed connection
	var r request
	if err := readMessage(metered, &r); err != nil {
		return
	}
	switch err := r.validate(); {
	case err != nil:
		_ = writeMessage(metered, refuse(err))
	case r.Probe != "":
		s.probe(ctx, metered, r)
	default:
		s.stream(ctx, metered, r)
	}
	_ = metered.SetDeadline(time.Now().Add(setupLimit))
	_ = conn.CloseWrite() // the caller sees a clean end, if it still listens
}

func (s *Server) shakeHands(ctx context.Context, conn *tls.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, setupLimit)
	defer cancel()
	return conn.HandshakeContext(ctx)
}

// probe measures the distance to a peer: a TCP connect takes one round trip.
func (s *Server) probe(ctx context.Context, conn net.Conn, r request) {
	var answer reply
	if !slices.Contains(s.Peers, r.Probe) {
		answer = refuse(fmt.Errorf("%w: %s", ErrTarget, r.Probe))
	} else {
		_ = conn.SetDeadline(time.Now().Add(time.Duration(r.Count+1) * setupLimit))
		took, err := Connects(ctx, r.Probe, r.Count)
		if err != nil {
			answer = refuse(err)
		}
		answer.Connects = took
	}
	_ = writeMessage(conn, answer)
}

// Connects opens count TCP connections to address, one after the other, that carry nothing,
// and says how long each took: one round trip. The first that fails ends it.
func Connects(ctx context.Context, address string, count int) ([]time.Duration, error) {
	var all []time.Duration
	for range count {
		conn, took, err := connect(ctx, address)
		if err != nil {
			return nil, err
		}
		_ = conn.Close() // nothing was sent
		all = append(all, took)
	}
	return all, nil
}

// connect opens a TCP connection and says how long that took.
func connect(ctx context.Context, address string) (net.Conn, time.Duration, error) {
	dialer := net.Dialer{Timeout: setupLimit}
	began := time.Now()
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrMember, err)
	}
	return conn, time.Since(began), nil
}

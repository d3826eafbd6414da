package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// stream joins a caller with a member until one of them ends.
func (s *Server) stream(ctx context.Context, caller *meteredConn, r request) {
	member, took, err := s.dial(ctx, r)
	if err != nil {
		_ = writeMessage(caller, refuse(err))
		return
	}
	defer member.Close() //nolint:errcheck // what it sent has been read, or is not wanted
	defer context.AfterFunc(ctx, func() { _ = member.Close() })()
	if err := writeMessage(caller, reply{Connects: []time.Duration{took}, Certificates: s.shown(member)}); err != nil {
		return
	}
	_ = caller.SetDeadline(time.Time{})

	var up sync.WaitGroup
	defer up.Wait()
	up.Go(func() {
		_ = expandTo(member, caller)
		_ = member.Close() // the caller has gone: so does what it asked for
	})
	err = answer(caller, member)
	_ = member.Close()
	hangUp(caller, err)
}

// memberConn is a connection to a member.
type memberConn struct{ *tls.Conn }

// Close cuts it: TLS's own Close may have to wait until it can say goodbye.
func (c memberConn) Close() error { return c.NetConn().Close() }

// dial connects to a member with the node's certificate.
func (s *Server) dial(ctx context.Context, r request) (*memberConn, time.Duration, error) {
	if !slices.Contains(s.Members, r.Stream) {
		return nil, 0, fmt.Errorf("%w: %s", ErrTarget, r.Stream)
	}
	raw, took, err := connect(ctx, r.Stream)
	if err != nil {
		return nil, 0, err
	}
	config := s.TLS.Clone()
	config.NextProtos, config.ServerName = []string{r.ALPN}, r.ServerName
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(r.Stream) // connect took it
	}
	member := tls.Client(raw, config)
	ctx, cancel := context.WithTimeout(ctx, setupLimit)
	defer cancel()
	err = member.HandshakeContext(ctx)
	if got := member.ConnectionState().NegotiatedProtocol; err == nil && r.ALPN == HTTP2 && got != HTTP2 {
		err = fmt.Errorf("it speaks %q instead of %s", got, HTTP2)
	}
	if err != nil {
		_ = raw.Close()
		return nil, 0, fmt.Errorf("%w: %w", ErrMember, err)
	}
	return &memberConn{member}, took, nil
}

// shown are the certificates of a connection to a member; none where they have no room
// in a message.
func (s *Server) shown(member *memberConn) [][]byte {
	theirs, ours := member.ConnectionState().PeerCertificates, s.TLS.Certificates
	if len(theirs) == 0 || len(ours) == 0 || len(theirs[0].Raw)+len(ours[0].Certificate[0]) > maxMessage/2 {
		return nil
	}
	return [][]byte{theirs[0].Raw, ours[0].Certificate[0]}
}

// expandTo copies what the caller sends.
func expandTo(member io.Writer, caller io.Reader) error {
	expanded, err := newExpander(caller)
	if err != nil {
		return err
	}
	_, err = io.Copy(member, expanded)
	return err
}

// errMidway is a member that ended without a word after it had sent something.
var errMidway = errors.New("the member broke off")

// answer copies what the member sends, behind the second reply. An error before its
// first byte is in that reply.
func answer(caller io.Writer, member io.ReadCloser) error {
	first := make([]byte, chunkSize)
	n, err := member.Read(first)
	if err != nil {
		return writeMessage(caller, refuse(fmt.Errorf("%w: %w", ErrMember, err)))
	}
	squeezer, err := newSqueezer(caller)
	if err != nil {
		return err
	}
	if err := writeMessage(squeezer.out, reply{}); err != nil {
		return err
	}
	if _, err := squeezer.Write(first[:n]); err != nil {
		return err
	}
	if err := squeezer.flush(); err != nil {
		return err
	}
	if err := squeeze(squeezer, member); err != nil {
		return fmt.Errorf("%w: %w", errMidway, err)
	}
	return squeezer.finish()
}

// hangUp ends the caller's connection so that all that was written arrives: closed with
// something unread, TCP would throw it away. After an error it is cut instead.
func hangUp(caller *meteredConn, err error) {
	if err != nil {
		_ = caller.NetConn().Close()
		return
	}
	_ = caller.SetDeadline(time.Now().Add(time.Second)) // for who reads from it, too
	_ = caller.CloseWrite()
}

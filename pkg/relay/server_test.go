package relay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
)

// site is a relay that runs, and the caller it was started for.
type site struct {
	Caller
	address string
	ended   chan error
}

// startRelay starts a relay on loopback; change may be nil.
func startRelay(t *testing.T, change func(*Server)) *site {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	mine, its := newKey(t), newKey(t)
	server := &Server{Key: its, Caller: mine.Pin(), Idle: time.Minute, Alone: time.Minute, TLS: &tls.Config{}}
	if change != nil {
		change(server)
	}
	s := &site{address: listener.Addr().String(), ended: make(chan error, 1)}
	s.Caller = Caller{Dial: s.dial, Key: mine, Relay: its.Pin()}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.ended <- server.Serve(ctx, listener)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return s
}

func (s *site) dial(ctx context.Context) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", s.address)
}

// member is what a relay has beside it.
type member struct {
	address   string
	authority *etcdtest.Authority
}

// startMember serves TLS that wants a client certificate, and h2 for ALPN.
func startMember(t *testing.T, leaf etcdtest.Leaf, serve func(net.Conn)) *member {
	t.Helper()
	m := &member{authority: etcdtest.NewAuthority(t, "members")}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{m.authority.Issue(leaf).TLS(t)},
		ClientCAs:    m.authority.Pool(), ClientAuth: tls.RequireAndVerifyClientCert,
		NextProtos: []string{HTTP2, HTTP1},
	})
	if err != nil {
		t.Fatal(err)
	}
	m.address = listener.Addr().String()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		<-done
	})
	return m
}

// beside makes a relay serve m.
func (m *member) beside(s *Server) {
	s.Members = []string{m.address}
	s.TLS = m.authority.ClientTLS(etcdtest.Leaf{CommonName: "node"})
}

func echo(conn net.Conn) { _, _ = io.Copy(conn, conn) }

func (s *site) open(t *testing.T, stream Stream) net.Conn {
	t.Helper()
	conn, err := s.DialContext(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func wantEcho(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != text {
		t.Fatalf("got %q, %v, want %q", got, err, text)
	}
}

func TestStream(t *testing.T) {
	m := startMember(t, etcdtest.Leaf{}, echo)
	s := startRelay(t, m.beside)
	for _, alpn := range []string{HTTP2, HTTP1} {
		conn := s.open(t, Stream{Member: m.address, ALPN: alpn})
		for _, text := range []string{"a", strings.Repeat("b", 100_000), "c"} {
			wantEcho(t, conn, text)
		}
	}
}

// The caller names the protocol, and the member hears it.
func TestStreamNamesTheALPN(t *testing.T) {
	m := startMember(t, etcdtest.Leaf{}, func(conn net.Conn) {
		_ = conn.(*tls.Conn).Handshake()
		_, _ = io.WriteString(conn, conn.(*tls.Conn).ConnectionState().NegotiatedProtocol)
	})
	s := startRelay(t, m.beside)
	for _, alpn := range []string{HTTP2, HTTP1} {
		got, err := io.ReadAll(s.open(t, Stream{Member: m.address, ALPN: alpn}))
		if string(got) != alpn || err != nil {
			t.Errorf("the member heard %q, want %q (%v)", got, alpn, err)
		}
	}
}

// A stream that broke is told from one that ended.
func TestStreamEnds(t *testing.T) {
	m := startMember(t, etcdtest.Leaf{}, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "half of it")
		_, _ = conn.Read(make([]byte, 1))
		_ = conn.(*tls.Conn).NetConn().(*net.TCPConn).SetLinger(0) // a reset
		_ = conn.(*tls.Conn).NetConn().Close()
	})
	s := startRelay(t, m.beside)
	conn := s.open(t, Stream{Member: m.address, ALPN: HTTP2})
	got := make([]byte, len("half of it"))
	if _, err := io.ReadFull(conn, got); err != nil {
		t.Fatal(err)
	}
	_, _ = conn.Write([]byte("!"))
	if _, err := conn.Read(got); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("after a reset: %v", err)
	}
}

func TestMemberErrors(t *testing.T) {
	m := startMember(t, etcdtest.Leaf{}, echo)
	stranger := etcdtest.NewAuthority(t, "stranger")
	free := etcdtest.FreeAddr(t)
	for _, test := range []struct {
		name   string
		stream Stream
		change func(*Server)
		is     error
		text   string
	}{
		{"an address that the relay was not started for", Stream{Member: free, ALPN: HTTP2}, nil, ErrTarget, free},
		{"a peer's address", Stream{Member: free, ALPN: HTTP2}, func(s *Server) { s.Peers = []string{free} }, ErrTarget, free},
		{"nobody listens", Stream{Member: free, ALPN: HTTP2}, func(s *Server) { s.Members = []string{free} }, ErrMember, "refused"},
		{"another name", Stream{Member: m.address, ALPN: HTTP2, ServerName: "example.com"}, nil, ErrMember, "example.com"},
		{"another authority", Stream{Member: m.address, ALPN: HTTP2}, func(s *Server) { s.TLS.RootCAs = stranger.Pool() }, ErrMember, "unknown authority"},
		{"a certificate that the member refuses", Stream{Member: m.address, ALPN: HTTP2},
			func(s *Server) { s.TLS.Certificates = stranger.ClientTLS(etcdtest.Leaf{}).Certificates }, ErrMember, "remote error"},
		{"no certificate", Stream{Member: m.address, ALPN: HTTP2}, func(s *Server) { s.TLS.Certificates = nil }, ErrMember, "certificate required"},
	} {
		s := startRelay(t, func(s *Server) {
			m.beside(s)
			if test.change != nil {
				test.change(s)
			}
		})
		conn, err := s.DialContext(t.Context(), test.stream)
		if err == nil {
			_, err = conn.Read(make([]byte, 1))
			conn.Close()
		}
		if !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s: got %v, want %v: … %s", test.name, err, test.is, test.text)
		}
	}
}

// Whoever is not the caller learns nothing and opens nothing.
func TestStrangersAreRefused(t *testing.T) {
	reached := make(chan struct{}, 1)
	m := startMember(t, etcdtest.Leaf{}, func(net.Conn) { reached <- struct{}{} })
	s := startRelay(t, m.beside)

	other := s.Caller
	other.Key = newKey(t)
	if _, err := other.DialContext(t.Context(), Stream{Member: m.address, ALPN: HTTP2}); !errors.Is(err, ErrForeign) {
		t.Errorf("with another key: %v", err)
	}
	for name, config := range map[string]*tls.Config{
		"without a key": {InsecureSkipVerify: true, NextProtos: []string{protocol}},
		"with TLS 1.2":  {InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, Certificates: []tls.Certificate{s.Key.certificate}},
		"without ALPN":  {InsecureSkipVerify: true, Certificates: []tls.Certificate{s.Key.certificate}},
	} {
		conn, err := tls.Dial("tcp", s.address, config)
		if err != nil {
			continue // TLS 1.2 ends here
		}
		_ = writeMessage(conn, request{Stream: m.address, ALPN: HTTP2})
		if got, err := io.ReadAll(conn); err == nil || len(got) > 0 {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
		conn.Close()
	}
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if got, _ := io.ReadAll(conn); strings.Contains(string(got), "HTTP") {
		t.Errorf("in plain text: %q", got)
	}
	select {
	case <-reached:
		t.Error("a stranger reached the member")
	default:
	}
}

func TestForeignRelayIsRefused(t *testing.T) {
	m := startMember(t, etcdtest.Leaf{}, echo)
	s := startRelay(t, m.beside)
	s.Relay = newKey(t).Pin()
	if _, err := s.DialContext(t.Context(), Stream{Member: m.address, ALPN: HTTP2}); !errors.Is(err, ErrForeign) {
		t.Errorf("another key than the pinned: %v", err)
	}
	s.Dial = func(ctx context.Context) (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, "tcp", m.address) }
	if _, err := s.DialContext(t.Context(), Stream{Member: m.address, ALPN: HTTP2}); !errors.Is(err, ErrForeign) {
		t.Errorf("another server: %v", err)
	}
}

func TestConnects(t *testing.T) {
	m := startMember(t, etcdtest.Leaf{}, echo)
	free := etcdtest.FreeAddr(t)
	s := startRelay(t, func(s *Server) { s.Peers = []string{m.address, free} })
	got, err := s.Connects(t.Context(), m.address, 30)
	if err != nil || len(got) != 30 {
		t.Fatalf("got %v, %v", got, err)
	}
	for _, took := range got {
		if took <= 0 || took > setupLimit {
			t.Errorf("a connect took %s", took)
		}
	}
	if _, err := s.Connects(t.Context(), free, 1); !errors.Is(err, ErrMember) {
		t.Errorf("nobody listens: %v", err)
	}
	if _, err := s.Connects(t.Context(), "127.0.0.1:22", 1); !errors.Is(err, ErrTarget) {
		t.Errorf("another address: %v", err)
	}
	if _, err := s.Connects(t.Context(), m.address, 0); err == nil {
		t.Error("no connects were taken for a measurement")
	}
}

// ctx bounds the set-up, not the life.
func TestDialContext(t *testing.T) {
	m := startMember(t, etcdtest.Leaf{}, echo)
	s := startRelay(t, m.beside)
	ctx, cancel := context.WithCancel(t.Context())
	conn, err := s.DialContext(ctx, Stream{Member: m.address, ALPN: HTTP2})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cancel()
	wantEcho(t, conn, "still there")

	silent := etcdtest.Blackhole(t)
	s.Dial = func(ctx context.Context) (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, "tcp", silent) }
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.DialContext(ctx, Stream{Member: m.address, ALPN: HTTP2}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a relay that says nothing: %v", err)
	}
}

func TestRelayEndsWhenNobodyNeedsIt(t *testing.T) {
	m := startMember(t, etcdtest.Leaf{}, echo)
	wantEnd := func(name string, s *site) {
		t.Helper()
		select {
		case err := <-s.ended:
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("%s: the relay still runs", name)
		}
	}
	wantEnd("nobody ever came", startRelay(t, func(s *Server) { s.Idle = 100 * time.Millisecond }))

	s := startRelay(t, func(s *Server) { m.beside(s); s.Alone = 100 * time.Millisecond })
	conn := s.open(t, Stream{Member: m.address, ALPN: HTTP2})
	wantEcho(t, conn, "x")
	select {
	case err := <-s.ended:
		t.Fatalf("it ended before its caller: %v", err)
	case <-time.After(500 * time.Millisecond):
	}
	conn.Close()
	wantEnd("the caller has gone", s)

	s = startRelay(t, func(s *Server) { m.beside(s); s.Idle = 2 * time.Second })
	conn = s.open(t, Stream{Member: m.address, ALPN: HTTP2})
	wantEcho(t, conn, "x")
	wantEnd("no byte any more", s)
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("the stream of a relay that ended: %v", err)
	}
}

// A stranger's connections keep no relay alive.
func TestStrangersAreNoBytes(t *testing.T) {
	s := startRelay(t, func(s *Server) { s.Idle = 300 * time.Millisecond })
	stranger := s.Caller
	stranger.Key = newKey(t)
	for begin := time.Now(); time.Since(begin) < 30*time.Second; {
		if _, err := stranger.Connects(t.Context(), "a:1", 1); err == nil {
			t.Fatal("a stranger was let in")
		}
		select {
		case err := <-s.ended:
			if err != nil {
				t.Error(err)
			}
			return
		default:
		}
	}
	t.Error("the relay lives on")
}

// The caller learns whose certificates the stream's connection was made with: when they
// end is for it to judge.
func TestCallerIsShownTheCertificates(t *testing.T) {
	ends := time.Now().Add(9 * 24 * time.Hour).UTC().Truncate(time.Second)
	m := startMember(t, etcdtest.Leaf{CommonName: "etcd", NotAfter: ends}, echo)
	s := startRelay(t, m.beside)
	var member, client *x509.Certificate
	s.Shown = func(m, c *x509.Certificate) { member, client = m, c }
	s.open(t, Stream{Member: m.address, ALPN: HTTP2})
	if member == nil || member.Subject.CommonName != "etcd" || !member.NotAfter.Equal(ends) {
		t.Errorf("the member's: %+v", member)
	}
	if client == nil || client.Subject.CommonName != "node" {
		t.Errorf("the node's client's: %+v", client)
	}
}

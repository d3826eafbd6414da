package balancer_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/test/cluster/balancer"
)

// server is an API server as far as a balancer sees it.
type server struct {
	*httptest.Server
	name  string
	ready atomic.Bool
}

func newServer(t *testing.T, name string) *server {
	t.Helper()
	s := &server{name: name}
	s.ready.Store(true)
	mux := http.NewServeMux()
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !s.ready.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	mux.HandleFunc("/name", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) })
	s.Server = httptest.NewTLSServer(mux)
	t.Cleanup(s.Close)
	return s
}

func (s *server) address() string { return s.Listener.Addr().String() }

// serve starts a balancer over backends and returns its address.
func serve(t *testing.T, backends ...string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- balancer.New(backends).Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return l.Addr().String()
}

// name asks the server behind address for its name, over a new connection.
func name(address string) (string, error) {
	client := &http.Client{
		Timeout:   10 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true},
	}
	response, err := client.Get("https://" + address + "/name")
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

// seen are the names that n connections met.
func seen(t *testing.T, address string, n int) string {
	t.Helper()
	var all strings.Builder
	for range n {
		one, err := name(address)
		if err != nil {
			t.Fatal(err)
		}
		all.WriteString(one)
	}
	return all.String()
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: " + what)
		}
	}
}

func TestConnectionsAreSpread(t *testing.T) {
	a, b, c := newServer(t, "a"), newServer(t, "b"), newServer(t, "c")
	address := serve(t, a.address(), b.address(), c.address())
	eventually(t, "all three servers get connections", func() bool {
		got := seen(t, address, 6)
		return strings.Count(got, "a") == 2 && strings.Count(got, "b") == 2 && strings.Count(got, "c") == 2
	})
}

func TestDeadBackendIsSkippedAtOnce(t *testing.T) {
	a, dead := newServer(t, "a"), newServer(t, "dead")
	dead.Close()
	address := serve(t, a.address(), dead.address())
	if got := seen(t, address, 4); got != "aaaa" {
		t.Errorf("connections met %q, want aaaa", got)
	}
}

func TestReadyBackendsComeFirst(t *testing.T) {
	a, b := newServer(t, "a"), newServer(t, "b")
	b.ready.Store(false)
	address := serve(t, a.address(), b.address())
	eventually(t, "only the ready one gets connections", func() bool { return seen(t, address, 4) == "aaaa" })

	a.ready.Store(false) // none is ready: any will do
	eventually(t, "both get connections again", func() bool {
		got := seen(t, address, 4)
		return strings.Contains(got, "a") && strings.Contains(got, "b")
	})
}

func TestNoBackendClosesTheConnection(t *testing.T) {
	gone := newServer(t, "gone")
	gone.Close()
	if got, err := name(serve(t, gone.address())); err == nil {
		t.Errorf("got an answer %q from nowhere", got)
	}
}

// A backend whose machine goes takes its established connections with it; here
// they end with its listener's machine, seen as connections refused.
func TestConnectionsOfADeadBackendAreCut(t *testing.T) {
	backend, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	silent := make(chan net.Conn, 64)
	go func() {
		for {
			c, err := backend.Accept()
			if err != nil {
				return
			}
			silent <- c // held open, never read: what a cut network looks like
		}
	}()
	address := serve(t, backend.Addr().String())
	client, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	<-silent
	if err := backend.Close(); err != nil {
		t.Fatal(err)
	}
	if err := client.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var timeout net.Error
	if _, err := client.Read(make([]byte, 1)); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("read = %v, want the connection closed", err)
	}
}

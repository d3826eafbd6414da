package tunnel

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// impatient is a dialer through a and the alternatives that starts one soon after the other.
func (a *apiServer) impatient(t *testing.T, options Options) *Dialer {
	t.Helper()
	d := a.dialer(t, options)
	d.headStart = 10 * time.Millisecond
	return d
}

// hangAndTell is a server that never answers, and a channel that is closed when it is asked.
func hangAndTell(t *testing.T) (server string, asked <-chan struct{}) {
	t.Helper()
	ask := make(chan struct{})
	tell := sync.OnceFunc(func() { close(ask) })
	return "https://" + startTCP(t, func(c *net.TCPConn) { tell(); silent(c) }), ask
}

// waitFor returns when c is closed, or with the test.
func waitFor(t *testing.T, c <-chan struct{}) {
	select {
	case <-c:
	case <-t.Context().Done():
	}
}

// impatienceLimit is more than any of these tests takes, and less than a hung one may.
const impatienceLimit = 20 * time.Second

func TestDialWaitsForASlowServer(t *testing.T) {
	bothProtocols(t, func(t *testing.T, change func(*apiServer)) {
		first, askedFirst := hangAndTell(t)
		second, askedSecond := hangAndTell(t)
		slow := startAPIServer(t, startTCP(t, echo), func(a *apiServer) {
			change(a)
			a.refuse = func(*http.Request) *metav1.Status {
				waitFor(t, askedFirst)
				waitFor(t, askedSecond)
				return nil
			}
		})
		d := slow.impatient(t, Options{Alternatives: []string{first, second}})
		ctx, cancel := context.WithTimeout(t.Context(), impatienceLimit)
		defer cancel()
		c, err := d.DialContext(ctx, testPod, 2379)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		roundTrip(t, c)
		if d.Server() != slow.URL {
			t.Errorf("server used %s, want the kubeconfig's", d.Server())
		}
	})
}

func TestDialClosesTheSlowerSession(t *testing.T) {
	address := startTCP(t, echo)
	both := make(chan struct{})
	open := sync.OnceFunc(func() { close(both) })
	slow := startAPIServer(t, address, func(a *apiServer) {
		a.refuse = func(*http.Request) *metav1.Status { waitFor(t, both); return nil }
	})
	other := startAPIServer(t, address, func(a *apiServer) {
		a.refuse = func(*http.Request) *metav1.Status { open(); return nil }
	})
	c, err := slow.impatient(t, Options{Alternatives: []string{other.URL}}).DialContext(t.Context(), testPod, 2379)
	if err != nil {
		t.Fatal(err)
	}
	roundTrip(t, c)
	eventually(t, "one connection is left", func() bool { return slow.network.count()+other.network.count() == 1 })
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	eventually(t, "our goroutines end", func() bool { return len(ourGoroutines()) == 0 })
}

func TestDialEndsWhenTheFirstServerForbids(t *testing.T) {
	hangs, asked := hangAndTell(t)
	strict := startAPIServer(t, "127.0.0.1:1", func(a *apiServer) {
		a.refuse = func(*http.Request) *metav1.Status { waitFor(t, asked); return newStatus(403, "no") }
	})
	ctx, cancel := context.WithTimeout(t.Context(), impatienceLimit)
	defer cancel()
	_, err := strict.impatient(t, Options{Alternatives: []string{hangs}}).DialContext(ctx, testPod, 2379)
	checkRefusal(t, err, ErrForbidden, "no")
	if strings.Contains(err.Error(), "canceled") || ctx.Err() != nil {
		t.Errorf("it waited for the other, whose end is not the user's business: %v, %v", err, ctx.Err())
	}
}

// A kubeconfig's server may be a proxy: the API servers do not know its credentials.
func TestDialWaitsForTheFirstServerWhenAnotherForbids(t *testing.T) {
	refused := make(chan struct{})
	strict := startAPIServer(t, "127.0.0.1:1", func(a *apiServer) {
		a.refuse = func(*http.Request) *metav1.Status { return newStatus(401, "who are you") }
	})
	slow := startAPIServer(t, startTCP(t, echo), func(a *apiServer) {
		a.refuse = func(*http.Request) *metav1.Status { waitFor(t, refused); return nil }
	})
	tell := sync.OnceFunc(func() { close(refused) })
	log := writerFunc(func(p []byte) (int, error) {
		if strings.Contains(string(p), "who are you") {
			tell()
		}
		return len(p), nil
	})
	d := slow.impatient(t, Options{
		Alternatives: []string{strict.URL},
		Logger:       slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	ctx, cancel := context.WithTimeout(t.Context(), impatienceLimit)
	defer cancel()
	c, err := d.DialContext(ctx, testPod, 2379)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	roundTrip(t, c)
}

func TestDialOfAnEndedContext(t *testing.T) {
	d := startAPIServer(t, "127.0.0.1:1", nil).dialer(t, Options{Alternatives: []string{closedPort(t)}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.DialContext(ctx, testPod, 2379); !errors.Is(err, context.Canceled) {
		t.Errorf("dial: %v", err)
	}
	if err := d.Exec(ctx, testPod, "", []string{"true"}, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("exec: %v", err)
	}
}

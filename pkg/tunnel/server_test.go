package tunnel

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

func TestDialReportsWhatTheAPIServerSays(t *testing.T) {
	const forbidden = `pods "etcd-a" is forbidden: User "eve" cannot create resource "pods/portforward" in API group "" in the namespace "kube-system"`
	for _, test := range []struct {
		name    string
		code    int32
		message string
		want    error
	}{
		{"forbidden", 403, forbidden, ErrForbidden},
		{"by the kubelet", 403, "403 Forbidden Forbidden (user=kube-apiserver-kubelet-client, verb=create, resource=nodes, subresource(s)=[proxy])", ErrKubelet},
		{"no such pod", 404, `pods "etcd-a" not found`, ErrRefused},
		{"not scheduled", 400, "pod etcd-a does not have a host assigned", ErrRefused},
		{"kubelet down", 500, "error dialing backend: dial tcp 10.0.0.1:10250: connect: connection refused", ErrRefused},
		{"etcd down", 503, "etcdserver: request timed out", ErrUnreachable},
		{"overloaded", 429, "too many requests", ErrUnreachable},
		{"long", 403, forbidden + strings.Repeat(" and so on", 200) + ", ends", ErrForbidden},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := startAPIServer(t, "127.0.0.1:1", func(a *apiServer) {
				a.refuse = func(*http.Request) *metav1.Status { return newStatus(test.code, test.message) }
			})
			_, err := server.dialer(t, Options{}).DialContext(t.Context(), testPod, 2379)
			checkRefusal(t, err, test.want, test.message)
		})
	}
}

// checkRefusal checks that err is an *Error of the kind want that holds message.
func checkRefusal(t *testing.T, err, want error, message string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || !errors.Is(err, want) {
		t.Fatalf("error %v, want an *Error that is %v", err, want)
	}
	for _, other := range []error{ErrForbidden, ErrKubelet, ErrRefused, ErrDropped, ErrUnreachable} {
		if !errors.Is(other, want) && errors.Is(err, other) {
			t.Errorf("error %v is %v as well", err, other)
		}
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Message != message {
		t.Errorf("error %v does not hold the API server's status %q", err, message)
	}
	if !strings.Contains(err.Error(), message) {
		t.Errorf("error %q does not say %q", err, message)
	}
}

// WebSocket needs get and create on pods/portforward, SPDY create only.
func TestDialWithoutGetPermission(t *testing.T) {
	server := startAPIServer(t, startTCP(t, echo), func(a *apiServer) {
		a.refuse = func(r *http.Request) *metav1.Status {
			if r.Method == http.MethodGet {
				return newStatus(http.StatusForbidden, "no get")
			}
			return nil
		}
	})
	roundTrip(t, server.dial(t))
}

func TestDialWithoutCredentials(t *testing.T) {
	server := startAPIServer(t, startTCP(t, echo), nil)
	config := server.config()
	config.BearerToken = "expired"
	d, err := New(config, Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.DialContext(t.Context(), testPod, 2379)
	if !apierrors.IsUnauthorized(errors.Unwrap(err)) && !strings.Contains(err.Error(), "Unauthorized") {
		t.Errorf("error %v, want Unauthorized", err)
	}
}

func TestDialVerifiesTheServersCertificate(t *testing.T) {
	server := startAPIServer(t, startTCP(t, echo), nil)
	for name, spoil := range map[string]func(*rest.Config){
		"unknown CA": func(c *rest.Config) { c.CAData = nil },
		"wrong name": func(c *rest.Config) { c.ServerName = "elsewhere.test" },
	} {
		config := server.config()
		spoil(config)
		d, err := New(config, Options{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = d.DialContext(t.Context(), testPod, 2379)
		if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "x509") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if used := server.protocols.list(); used != "" {
		t.Errorf("upgraded all the same: %s", used)
	}
}

// hang is a server that accepts and never answers.
func hang(t *testing.T) string { return "https://" + startTCP(t, silent) }

// closedPort is where nothing listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "https://" + l.Addr().String()
}

func TestDialTriesAlternatives(t *testing.T) {
	ill := startAPIServer(t, "127.0.0.1:1", func(a *apiServer) {
		a.refuse = func(*http.Request) *metav1.Status { return newStatus(503, "etcdserver: no leader") }
	})
	for name, primary := range map[string]string{
		"primary down":  closedPort(t),
		"primary ill":   ill.URL,
		"primary hangs": hang(t),
	} {
		t.Run(name, func(t *testing.T) {
			good := startAPIServer(t, startTCP(t, echo), nil)
			config := good.config() // the test servers share their certificate
			config.Host = primary
			var log bytes.Buffer
			d, err := New(config, Options{
				Alternatives: []string{closedPort(t), good.URL},
				Logger:       slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
			})
			if err != nil {
				t.Fatal(err)
			}
			d.headStart = 2 * time.Second // by then the good one has served
			if d.Server() != primary {
				t.Errorf("server at first %s, want %s", d.Server(), primary)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			for range 2 { // the second time the good one is asked at once
				c, err := d.DialContext(ctx, testPod, 2379)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				roundTrip(t, c)
			}
			if d.Server() != good.URL || !strings.Contains(log.String(), good.URL) {
				t.Errorf("server used %s, want %s, also in the log:\n%s", d.Server(), good.URL, log.String())
			}
			if n := strings.Count(log.String(), primary); n != 1 {
				t.Errorf("the primary was tried %d times", n)
			}
		})
	}
}

func TestDialDoesNotTryAlternativesWhenForbidden(t *testing.T) {
	strict := startAPIServer(t, "127.0.0.1:1", func(a *apiServer) {
		a.refuse = func(*http.Request) *metav1.Status { return newStatus(403, "no") }
	})
	other := startAPIServer(t, startTCP(t, echo), nil)
	_, err := strict.dialer(t, Options{Alternatives: []string{other.URL}}).DialContext(t.Context(), testPod, 2379)
	checkRefusal(t, err, ErrForbidden, "no")
}

func TestDialAlternativesCertificateName(t *testing.T) {
	good := startAPIServer(t, startTCP(t, echo), nil)
	_, port, _ := net.SplitHostPort(good.Listener.Addr().String())
	dial := func(name, host string) error {
		config := good.config()
		config.Host, config.ServerName = closedPort(t), name
		d, err := New(config, Options{Alternatives: []string{"https://" + host + ":" + port}})
		if err != nil {
			t.Fatal(err)
		}
		c, err := d.DialContext(t.Context(), testPod, 2379)
		if err == nil {
			err = c.Close()
		}
		return err
	}
	// httptest's certificate holds 127.0.0.1 and example.com.
	if err := dial("wrong.test", "127.0.0.1"); err != nil {
		t.Errorf("the alternative's own host is in the certificate: %v", err)
	}
	if err := dial("example.com", "localhost"); err != nil {
		t.Errorf("tls-server-name is in the certificate: %v", err)
	}
	if err := dial("", "localhost"); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "x509") {
		t.Errorf("no name is in the certificate: %v", err)
	}
}

func TestDialWithNoServerLeft(t *testing.T) {
	d, err := New(&rest.Config{Host: closedPort(t)}, Options{Alternatives: []string{closedPort(t)}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.DialContext(t.Context(), testPod, 2379)
	if !errors.Is(err, ErrUnreachable) || strings.Count(err.Error(), "connection refused") != 2 {
		t.Errorf("error %v, want ErrUnreachable and what each server did", err)
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	bothProtocols(t, func(t *testing.T, change func(*apiServer)) {
		late := make(chan struct{})
		slow := startAPIServer(t, startTCP(t, echo), func(a *apiServer) {
			change(a)
			a.refuse = func(r *http.Request) *metav1.Status {
				if !a.noWebSocket || r.Method == http.MethodPost {
					<-late
				}
				return nil
			}
		})
		answer := sync.OnceFunc(func() { close(late) })
		t.Cleanup(answer)
		d := slow.dialer(t, Options{})
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		_, err := d.DialContext(ctx, testPod, 2379)
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrUnreachable) {
			t.Errorf("dial past its deadline: %v", err)
		}
		ctx, cancel = context.WithCancel(t.Context())
		cancel()
		_, err = d.DialContext(ctx, testPod, 2379)
		if !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnreachable) {
			t.Errorf("cancelled dial: %v", err)
		}
		eventually(t, "our goroutines end", func() bool { return len(ourGoroutines()) == 0 })
		answer()
		eventually(t, "the server's connections end", func() bool { return slow.network.count() == 0 })
	})
}

func TestEachServerHalvesTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, err := New(&rest.Config{Host: "https://10.0.0.1"}, Options{
			Alternatives: []string{"https://10.0.0.2", "https://10.0.0.3", "https://10.0.0.4"},
		})
		if err != nil {
			t.Fatal(err)
		}
		for limit, want := range map[time.Duration][]time.Duration{
			8 * time.Second: {4 * time.Second, 2 * time.Second, time.Second, time.Second},
			time.Hour:       {setupLimit, setupLimit, setupLimit, setupLimit},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			var got []time.Duration
			err := d.eachServer(ctx, func(ctx context.Context, _ server) error {
				began := time.Now()
				<-ctx.Done()
				got = append(got, time.Since(began))
				return ctx.Err()
			})
			if diff := cmp.Diff(want, got); diff != "" || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: error %v, each server's time (-want +got):\n%s", limit, err, diff)
			}
		}
	})
}

func TestNewRefusesWhatItCannotUse(t *testing.T) {
	good := &rest.Config{Host: "https://127.0.0.1:6443"}
	for _, test := range []struct {
		name         string
		config       *rest.Config
		alternatives []string
	}{
		{"no config", nil, nil},
		{"bad host", &rest.Config{Host: "https://a b:c"}, nil},
		{"http alternative", good, []string{"http://10.0.0.2:6443"}},
		{"no URL", good, []string{"10.0.0.2:6443"}},
		{"bad URL", good, []string{"https://%zz"}},
	} {
		if _, err := New(test.config, Options{Alternatives: test.alternatives}); err == nil {
			t.Errorf("%s: no error", test.name)
		}
	}
	d, err := New(good, Options{Alternatives: []string{"https://127.0.0.1:6443", "https://10.0.0.2:6443"}})
	if err != nil || len(d.servers) != 2 {
		t.Errorf("servers %v, %v: the kubeconfig's own twice", d.servers, err)
	}
	if _, err := d.DialContext(t.Context(), testPod, 0); err == nil {
		t.Error("port 0 was dialled")
	}
}

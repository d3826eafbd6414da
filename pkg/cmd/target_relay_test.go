package cmd

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/discover"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/relay"
)

// relayCluster is three members of kubeadm's, the last on a node that is not ready.
func relayCluster() discover.Cluster {
	c := discover.Cluster{Name: "main", Namespace: "kube-system", Distro: "kubeadm"}
	pki := "/etc/kubernetes/pki/etcd/"
	for _, n := range []string{"0", "1", "2"} {
		c.Pods = append(c.Pods, discover.Pod{
			Namespace: "kube-system", Name: "etcd-node" + n, Node: "node" + n, NodeReady: n != "2", TLS: true,
			HostIP: "10.0.0.1" + n, ClientPort: 2379, PeerPort: 2380,
			ClientURLs: []string{"https://10.0.0.1" + n + ":2379"}, PeerURLs: []string{"https://10.0.0.1" + n + ":2380"},
			NodeFiles: &discover.NodeFiles{CA: pki + "ca.crt", Cert: pki + "healthcheck-client.crt", Key: pki + "healthcheck-client.key"},
		})
	}
	return c
}

// fakeRelay notes what becomes of it.
type fakeRelay struct {
	streams []relay.Stream
	closed  int
	stays   error // why Close does not take it away
}

func (f *fakeRelay) DialContext(_ context.Context, stream relay.Stream) (net.Conn, error) {
	f.streams = append(f.streams, stream)
	return nil, relay.ErrMember
}

// Connects takes as many milliseconds as the peer's address ends in, and 1 at first.
func (f *fakeRelay) Connects(_ context.Context, peer string, count int) ([]time.Duration, error) {
	host, _, err := net.SplitHostPort(peer)
	if err != nil || strings.HasSuffix(host, "9") {
		return nil, relay.ErrMember
	}
	last, err := strconv.Atoi(host[len(host)-1:])
	return slices.Repeat([]time.Duration{time.Duration(1+last) * time.Millisecond}, count), err
}

func (f *fakeRelay) Close(context.Context) error { f.closed++; return f.stays }

// relayTarget is a target that found cluster, whose relays are started by start.
func relayTarget(t *testing.T, cluster discover.Cluster, start func(relay.Options) (memberRelay, error)) *target {
	t.Helper()
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	o := withKubernetes(t, server, &discover.Found{Clusters: []discover.Cluster{cluster}}, execDialer{})
	o.relay.image = "example.com/relay:1"
	o.startRelay = func(_ context.Context, options relay.Options) (memberRelay, error) { return start(options) }
	o.interactive = func() bool { return false }
	return o
}

func TestRelayReach(t *testing.T) {
	var mu sync.Mutex
	started := map[string]*fakeRelay{}
	var places []relay.Place
	o := relayTarget(t, relayCluster(), func(options relay.Options) (memberRelay, error) {
		mu.Lock()
		defer mu.Unlock()
		if options.Image != "example.com/relay:1" || options.Client == nil || options.Dial == nil {
			t.Errorf("options %+v", options)
		}
		if options.Place.Node == "node1" {
			return nil, relay.ErrNotStarted
		}
		places = append(places, options.Place)
		started[options.Place.Node] = &fakeRelay{}
		return started[options.Place.Node], nil
	})
	o.relay.wanted = true
	for _, reach := range []func() (*reach, error){
		func() (*reach, error) { return o.one(t.Context()) },
		func() (*reach, error) {
			all, err := o.readers(t.Context())
			if err != nil {
				return nil, err
			}
			return all[0], nil
		},
	} {
		clear(started)
		places = nil
		r, err := reach()
		if err != nil {
			t.Fatal(err)
		}
		if r.way != wayRelay || len(r.sources) != 3 || len(started) != 1 {
			t.Fatalf("got %+v, started %v", r, started)
		}
		if err := r.sources[1].Err; !errors.Is(err, relay.ErrNotStarted) {
			t.Errorf("node1: %v", err)
		}
		if err := r.sources[2].Err; err == nil || !strings.Contains(err.Error(), "not ready") {
			t.Errorf("node2: %v", err)
		}
		_, err = r.sources[0].Reader.(*etcd.Client).Status(t.Context())
		if !errors.Is(err, relay.ErrMember) {
			t.Errorf("status: %v", err)
		}
		if diff := cmp.Diff(relay.Stream{Member: "10.0.0.10:2379", ALPN: relay.HTTP2}, started["node0"].streams[0]); diff != "" {
			t.Error(diff)
		}
		if err := r.Close(); err != nil || started["node0"].closed != 1 {
			t.Errorf("closed %d times, %v", started["node0"].closed, err)
		}
	}
	want := relay.Place{
		Namespace: "kube-system", Node: "node0",
		CA:      "/etc/kubernetes/pki/etcd/ca.crt",
		Cert:    "/etc/kubernetes/pki/etcd/healthcheck-client.crt",
		Key:     "/etc/kubernetes/pki/etcd/healthcheck-client.key",
		Members: []string{"10.0.0.10:2379"},
		Peers:   []string{"10.0.0.10:2380", "10.0.0.11:2380", "10.0.0.12:2380"},
	}
	if diff := cmp.Diff([]relay.Place{want}, places); diff != "" {
		t.Errorf("place (-want +got):\n%s", diff)
	}
}

func TestNoRelayStarts(t *testing.T) {
	o := relayTarget(t, relayCluster(), func(relay.Options) (memberRelay, error) { return nil, relay.ErrNotStarted })
	o.relay.wanted = true
	f := o.explain(func() error { _, err := o.one(t.Context()); return err }(), "kubectl etcd backup")
	if f.code != exitError || !strings.Contains(f.message, "did not start") || len(f.hints) != 1 || !strings.Contains(f.hints[0], "--relay-image") {
		t.Errorf("got %+v", f)
	}
	unknown := relayCluster()
	unknown.Pods[1].NodeFiles = nil
	o = relayTarget(t, unknown, nil)
	o.relay.wanted = true
	if _, err := o.one(t.Context()); err == nil || !strings.Contains(err.Error(), "not known") {
		t.Errorf("a distribution whose files nobody knows: %v", err)
	}
}

// Without a certificate, who sits at a terminal is asked; nobody else gets a pod.
func TestRelayIsAskedFor(t *testing.T) {
	for _, test := range []struct {
		name        string
		interactive bool
		image       string
		answer      string
		starts      bool
		asks        bool
	}{
		{"yes", true, "i", "y\n", true, true},
		{"Yes", true, "i", " YES \n", true, true},
		{"no", true, "i", "n\n", false, true},
		{"enter", true, "i", "\n", false, true},
		{"the end of input", true, "i", "", false, true},
		{"something else", true, "i", "yessir\n", false, true},
		{"no terminal", false, "i", "y\n", false, false},
		{"no image", true, "", "y\n", false, false},
	} {
		starts := 0
		var mu sync.Mutex
		o := relayTarget(t, relayCluster(), func(relay.Options) (memberRelay, error) {
			mu.Lock()
			defer mu.Unlock()
			starts++
			return &fakeRelay{}, nil
		})
		o.relay.image = test.image
		o.In, o.interactive = strings.NewReader(test.answer), func() bool { return test.interactive }
		r, err := o.one(t.Context())
		text := o.ErrOut.(interface{ String() string }).String()
		if (err == nil) != test.starts || (starts > 0) != test.starts {
			t.Errorf("%s: %d relays started, %v", test.name, starts, err)
		}
		if asked := strings.Contains(text, "[y/N]"); asked != test.asks {
			t.Errorf("%s: asked %t: %s", test.name, asked, text)
		}
		if test.asks && (!strings.Contains(text, "healthcheck-client.key") || !strings.Contains(text, "node0, node1, node2")) {
			t.Errorf("%s: it does not say what it would do: %s", test.name, text)
		}
		if err != nil {
			if f := o.explain(err, "kubectl etcd backup"); !strings.Contains(strings.Join(f.hints, "\n"), "--relay") {
				t.Errorf("%s: hints %v", test.name, f.hints)
			}
			continue
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A relay that can't be taken away spoils no work that is done.
func TestRelayStays(t *testing.T) {
	o := relayTarget(t, relayCluster(), func(relay.Options) (memberRelay, error) {
		return &fakeRelay{stays: errors.New("no API server")}, nil
	})
	o.relay.wanted = true
	r, err := o.one(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if text := o.ErrOut.(interface{ String() string }).String(); !strings.Contains(text, "warning: a relay is left") || !strings.Contains(text, "no API server") {
		t.Errorf("it says %q", text)
	}
}

// Looking creates nothing, whoever sits there.
func TestReadersDoNotAskForARelay(t *testing.T) {
	o := relayTarget(t, relayCluster(), func(relay.Options) (memberRelay, error) {
		t.Error("a relay was started")
		return nil, relay.ErrNotStarted
	})
	o.interactive = func() bool { t.Error("somebody was asked"); return true }
	reached, err := o.readers(t.Context())
	if err != nil || reached[0].way != wayExec {
		t.Errorf("got %+v, %v", reached, err)
	}
}

func TestRelayFlags(t *testing.T) {
	wantProblems(t, map[string]string{
		"--relay --relay-image i":                   "",
		"--relay":                                   "--relay-image",
		"--relay --relay-image i --endpoints h":     "--endpoints",
		"--relay --relay-image i --cert-secret a/b": "--cert-secret",
		"--relay --relay-image i --cert c --key k":  "--cert",
		"--relay-image i --cert c --key k":          "",
		"--relay --relay-image i --cacert c":        "--cacert",
	})
}

// wantProblems completes targets with these flags; the error holds the text beside them,
// and there is none where that is empty.
func wantProblems(t *testing.T, problems map[string]string) {
	t.Helper()
	for args, problem := range problems {
		s, _, _ := testSession(nil)
		o := newTarget(s)
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		o.addFlags(flags)
		if err := flags.Parse(strings.Fields(args)); err != nil {
			t.Fatal(err)
		}
		err := o.complete(nil)
		if (err == nil) != (problem == "") || err != nil && !strings.Contains(err.Error(), problem) {
			t.Errorf("%s: got %v, want %q", args, err, problem)
		}
	}
}

func TestAddressesOf(t *testing.T) {
	for _, test := range []struct {
		urls string
		want string
	}{
		{"https://10.0.0.1:2379", "10.0.0.1:2379"},
		{"https://127.0.0.1:2379 https://10.0.0.1:2379 https://localhost:2379", "10.0.0.1:2379"},
		{"https://[fd00::1]:2379", "[fd00::1]:2379"},
		{"https://etcd-0.etcd.svc:2379", "etcd-0.etcd.svc:2379"},
		{"https://0.0.0.0:2379", "192.0.2.1:2379"},
		{"https://10.0.0.1", "192.0.2.1:2379"},
		{"", "192.0.2.1:2379"},
	} {
		if got := strings.Join(addressesOf(strings.Fields(test.urls), "192.0.2.1", 2379), " "); got != test.want {
			t.Errorf("%s: got %s, want %s", test.urls, got, test.want)
		}
	}
	if got := addressesOf(nil, "", 2379); got != nil {
		t.Errorf("nothing is known: %v", got)
	}
}

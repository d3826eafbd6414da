package cmd

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/discover"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/relay"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/tunnel"
)

// wayRelay is a pod of ours on the member's node, which has the keys.
const wayRelay way = "relay"

// relayImage is the image of this very version, NAME@sha256:DIGEST. A release sets it:
// -ldflags '-X …/pkg/cmd.relayImage=…'. Other builds have none.
var relayImage string

// relayFlags say whether pods may be created, and of which image.
type relayFlags struct {
	wanted bool
	image  string
}

func (f *relayFlags) add(flags *pflag.FlagSet) {
	flags.BoolVar(&f.wanted, "relay", false, "use the nodes' own certificates through short-lived pods there; the keys stay on the nodes")
	flags.StringVar(&f.image, "relay-image", relayImage, "the image of those pods, which holds this program")
}

func (t *target) validateRelay() error {
	switch {
	case !t.relay.wanted:
		return nil
	case len(t.endpoints) > 0:
		return usagef("--relay needs Kubernetes, --endpoints does without it")
	case t.files != tlsFiles{} || t.certSecret != "":
		return usagef("--relay uses the nodes' certificates: leave out --cacert, --cert, --key and --cert-secret")
	case t.relay.image == "":
		return withHint(usagef("--relay needs --relay-image: this build has no image of its own"),
			"make image writes one for your registry or the nodes")
	}
	return nil
}

// memberRelay is what a *relay.Relay does.
type memberRelay interface {
	DialContext(ctx context.Context, stream relay.Stream) (net.Conn, error)
	Connects(ctx context.Context, peer string, count int) ([]time.Duration, error)
	Close(ctx context.Context) error
}

// relayAgreed tells whether pods may be created for a command that can't do without a
// certificate: by --relay, or by who sits at the terminal.
func (t *target) relayAgreed(ctx context.Context, cluster discover.Cluster) (bool, error) {
	if t.relay.wanted {
		return true, nil
	}
	places, err := relayPlaces(cluster)
	if err != nil || t.relay.image == "" || !t.interactive() {
		return false, nil // why there is no certificate is the better error
	}
	t.notice("etcd %q wants a client certificate, and none was given.\n%s", cluster.Name, describeRelays(places, t.relay.image))
	return t.confirm(ctx, "Start them?")
}

// describeRelays says what --relay does, before it does it.
func describeRelays(places []relay.Place, image string) string {
	nodes := make([]string, len(places))
	for i, place := range places {
		nodes[i] = place.Node
	}
	first := places[0]
	return fmt.Sprintf("Relays can use the nodes' own: for as long as this command runs, a pod %s/kubectl-etcd-relay-… on each of %s,\n"+
		"of image %s.\n"+
		"It reads three files, %s, %s and %s,\n"+
		"and reaches that node's etcd alone. The keys stay on the nodes. The pods go with this command;\n"+
		"if it is killed they end by themselves within a minute.",
		first.Namespace, strings.Join(nodes, ", "), image, first.CA, first.Cert, first.Key)
}

// throughRelays reaches a cluster's pods through a relay on each one's node.
func (t *target) throughRelays(ctx context.Context, k *kubeTarget, cluster discover.Cluster) (*reach, error) {
	places, err := relayPlaces(cluster)
	if err != nil {
		return nil, err
	}
	options, err := t.clientOptions(nil)
	if err != nil {
		return nil, err
	}
	if err := t.preflight(ctx, k.client, needs(wayRelay, cluster.Namespace)); err != nil {
		return nil, err
	}
	r := &reach{cluster: cluster, way: wayRelay, refused: &refusals{client: k.client}, stays: t.relayStays}
	r.probes = make([]peerProbe, len(places))
	shown := make([]shownCertificates, len(places))
	relays, errs := t.startRelays(ctx, k, r, places, shown)
	for i, pod := range cluster.Pods {
		if relays[i] == nil {
			source := podSource(pod)
			source.Err = errs[i]
			r.sources, r.clients = append(r.sources, source), append(r.clients, nil)
			continue
		}
		r.closers = append(r.closers, func() error { return relays[i].Close(ctx) })
		r.probes[i] = relays[i].Connects
		r.addRelay(relays[i], pod, etcd.Endpoint{
			Name: pod.Name, URL: "http://" + places[i].Members[0], Certificates: shown[i].list,
		}, options)
	}
	if err := ctx.Err(); err != nil || len(r.closers) == 0 {
		return nil, errors.Join(err, errors.Join(errs...), r.Close())
	}
	return r, nil
}

// relayStays is told of a relay that can't be taken away. What it was for is done: that is
// worth a word, and no error.
func (t *target) relayStays(err error) {
	t.notice("warning: a relay is left, and the next command with --relay deletes it: %v", err)
}

// startRelays starts all at once; for each place there is a relay or an error.
func (t *target) startRelays(ctx context.Context, k *kubeTarget, r *reach, places []relay.Place, shown []shownCertificates) ([]memberRelay, []error) {
	relays, errs := make([]memberRelay, len(places)), make([]error, len(places))
	var starting sync.WaitGroup
	for i, place := range places {
		if !r.cluster.Pods[i].NodeReady {
			errs[i] = fmt.Errorf("no relay: node %s is not ready", place.Node)
			continue
		}
		t.notice("relay on %s: a pod in %s for as long as this command runs", place.Node, place.Namespace)
		starting.Go(func() {
			relays[i], errs[i] = t.startRelay(ctx, relay.Options{
				Place: place, Image: t.relay.image, Client: k.client, Logger: t.log, Shown: shown[i].note,
				Dial: func(ctx context.Context, namespace, pod string, port int) (net.Conn, error) {
					conn, err := k.dialer.DialContext(ctx, tunnel.Pod{Namespace: namespace, Name: pod}, port)
					r.refused.note(err, "pods/portforward", namespace)
					return conn, err
				},
			})
		})
	}
	starting.Wait()
	return relays, errs
}

// addRelay adds a member behind a relay. TLS ends there: gRPC goes without.
func (r *reach) addRelay(through memberRelay, pod discover.Pod, endpoint etcd.Endpoint, options etcd.Options) {
	stream := relay.Stream{Member: strings.TrimPrefix(endpoint.URL, "http://"), ALPN: relay.HTTP2}
	endpoint.Dial = func(ctx context.Context) (net.Conn, error) { return through.DialContext(ctx, stream) }
	r.open(podSource(pod), endpoint, options)
}

// shownCertificates are what a relay last showed of its connection to the member.
type shownCertificates struct {
	mu   sync.Mutex
	last []etcd.Certificate
}

func (s *shownCertificates) note(member, client *x509.Certificate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = []etcd.Certificate{etcd.NewCertificate(etcd.ServerSide, member), etcd.NewCertificate(etcd.ClientSide, client)}
}

func (s *shownCertificates) list() []etcd.Certificate {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// relayPlaces are the places beside the cluster's pods, in their order.
func relayPlaces(cluster discover.Cluster) ([]relay.Place, error) {
	var peers []string
	for _, pod := range cluster.Pods {
		peers = append(peers, addressesOf(pod.PeerURLs, pod.HostIP, pod.PeerPort)...)
	}
	places := make([]relay.Place, len(cluster.Pods))
	for i, pod := range cluster.Pods {
		if pod.NodeFiles == nil {
			return nil, withHint(fmt.Errorf("no relay: where the nodes of etcd %q (%s) keep a client certificate is not known", cluster.Name, cluster.Distro),
				"give --cacert, --cert and --key, or --cert-secret NAMESPACE/NAME")
		}
		places[i] = relay.Place{
			Namespace: pod.Namespace, Node: pod.Node,
			CA: pod.NodeFiles.CA, Cert: pod.NodeFiles.Cert, Key: pod.NodeFiles.Key,
			Members: addressesOf(pod.ClientURLs, pod.HostIP, pod.ClientPort), Peers: peers,
		}
	}
	return places, nil
}

// addressesOf are the hosts and ports of urls as a pod on that node can dial them; without
// any, the node's own.
func addressesOf(urls []string, hostIP string, port int) []string {
	var addresses []string
	for _, text := range urls {
		u, err := url.Parse(text)
		if err != nil || u.Port() == "" || u.Hostname() == "localhost" {
			continue
		}
		if ip := net.ParseIP(u.Hostname()); ip == nil || !ip.IsLoopback() && !ip.IsUnspecified() {
			addresses = append(addresses, u.Host)
		}
	}
	if len(addresses) == 0 && hostIP != "" && port > 0 {
		addresses = []string{net.JoinHostPort(hostIP, strconv.Itoa(port))}
	}
	return addresses
}

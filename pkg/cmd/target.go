package cmd

import (
	"context"
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
)

// target says which etcd a command is about and how to reach it. Every command's
// options embed it.
type target struct {
	*session

	name       string // --etcd, or the argument CLUSTER
	all        bool
	endpoints  []string
	onNode     bool
	nodeRoot   string
	files      tlsFiles
	certSecret string
	user       string
	timeout    time.Duration
	relay      relayFlags
	helper     helperFlags

	urls []*url.URL // endpoints, parsed

	// admit is asked about a cluster before anything is created on the way to it; nil: any will do.
	admit func(discover.Cluster) error

	ways
}

// addFlags adds the flags and marks them as the target's for the help.
func (t *target) addFlags(flags *pflag.FlagSet) {
	own := pflag.NewFlagSet("target", pflag.ContinueOnError)
	own.StringVar(&t.name, "etcd", "", "the etcd cluster, where there are several: main, events, NAME or NAMESPACE/NAME")
	own.BoolVar(&t.all, "all-etcd", false, "look at every etcd in the cluster, not only the control plane's")
	own.StringSliceVar(&t.endpoints, "endpoints", nil, "reach etcd directly, without Kubernetes: URLs or host:port, with commas between")
	own.BoolVar(&t.onNode, "on-node", false, "as root on a control plane node: everything from its disk, without the API server")
	own.StringVar(&t.nodeRoot, "node-root", "/", "with --on-node: where the node's disk is mounted")
	own.StringVar(&t.files.ca, "cacert", "", "file with the authority of etcd's certificates (or ETCDCTL_CACERT)")
	own.StringVar(&t.files.cert, "cert", "", "file with the client certificate for etcd (or ETCDCTL_CERT)")
	own.StringVar(&t.files.key, "key", "", "file with its key (or ETCDCTL_KEY)")
	own.StringVar(&t.certSecret, "cert-secret", "", "take the certificates from this Secret: NAMESPACE/NAME")
	own.StringVar(&t.user, "etcd-user", "", "etcd's user: NAME:PASSWORD, or NAME with ETCDCTL_PASSWORD (or ETCDCTL_USER)")
	t.relay.add(own)
	t.helper.add(own)
	own.DurationVar(&t.timeout, "timeout", 5*time.Second, "how long one member may take to answer")
	own.VisitAll(func(f *pflag.Flag) { f.Annotations = map[string][]string{targetGroup: {"true"}} })
	flags.AddFlagSet(own)
}

// complete takes the arguments and parses what can be parsed.
func (t *target) complete(args []string) error {
	if len(args) > 0 {
		if args[0] == "" {
			return usagef("the argument CLUSTER is given, but empty")
		}
		if t.name != "" && t.name != args[0] {
			return usagef("both --etcd %s and the argument %s name a cluster", t.name, args[0])
		}
		if n, err := strconv.Atoi(args[0]); err == nil && t.verbosity > 0 {
			return usagef("%d names a cluster here: write -v=%d", n, n)
		}
		if t.name == "" {
			t.wayToEtcd = append(t.wayToEtcd, "--etcd", args[0])
		}
		t.name = args[0]
	}
	if t.timeout <= 0 {
		return usagef("--timeout must be more than 0")
	}
	if t.certSecret != "" && strings.Count(strings.Trim(t.certSecret, "/"), "/") != 1 {
		return usagef("--cert-secret %q is not NAMESPACE/NAME", t.certSecret)
	}
	if t.certSecret != "" && t.files.cert != "" {
		return usagef("--cert-secret and --cert exclude each other")
	}
	if t.certSecret != "" && len(t.endpoints) > 0 {
		return usagef("--cert-secret needs Kubernetes, --endpoints does without it: give --cacert, --cert and --key")
	}
	if len(t.endpoints) > 0 && (t.name != "" || t.all) {
		return usagef("--endpoints says which etcd is meant: leave out --etcd, --all-etcd and the cluster's name")
	}
	if (t.files.cert == "") != (t.files.key == "") {
		return usagef("--cert and --key go together")
	}
	if err := t.checkOnNode(); err != nil {
		return err
	}
	if err := t.validateRelay(); err != nil {
		return err
	}
	if err := t.validateHelper(); err != nil {
		return err
	}
	return t.parseEndpoints()
}

// checkOnNode refuses what --on-node does without.
func (t *target) checkOnNode() error {
	switch {
	case !t.onNode && t.nodeRoot != "" && t.nodeRoot != "/":
		return usagef("--node-root goes with --on-node")
	case !t.onNode:
		return nil
	case len(t.endpoints) > 0:
		return usagef("--on-node and --endpoints exclude each other: the one finds the members on this node's disk, the other is told")
	case t.certSecret != "":
		return usagef("--cert-secret needs Kubernetes, --on-node does without it: it takes the node's own certificates, or --cacert, --cert and --key")
	case t.relay.wanted:
		return usagef("--relay needs Kubernetes, --on-node does without it: it has the node's own certificates")
	case t.all:
		return usagef("--all-etcd needs Kubernetes, --on-node does without it")
	}
	return nil
}

// parseEndpoints accepts what etcdctl does: URLs, host:port, and host for port 2379.
// Without a scheme it is https as soon as a certificate is given.
func (t *target) parseEndpoints() error {
	t.urls = nil
	for _, text := range t.endpoints {
		u, err := parseEndpoint(strings.TrimSpace(text), !t.tlsFiles().empty())
		if err != nil {
			return usagef("--endpoints %q: %w", withoutPassword(text), err)
		}
		t.urls = append(t.urls, u)
	}
	return nil
}

// withoutPassword is a URL as it may be shown.
func withoutPassword(text string) string {
	if at := strings.LastIndex(text, "@"); at >= 0 {
		return "…" + text[at:]
	}
	return text
}

func parseEndpoint(text string, secure bool) (*url.URL, error) {
	if !strings.Contains(text, "://") {
		scheme := "http://"
		if secure {
			scheme = "https://"
		}
		text = scheme + text
	}
	u, err := url.Parse(text)
	if err != nil {
		var parse *url.Error
		if errors.As(err, &parse) {
			err = parse.Err
		}
		return nil, err
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("scheme %s is neither http nor https", u.Scheme)
	case u.Hostname() == "":
		return nil, errors.New("no host in it")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil:
		return nil, errors.New("only scheme, host and port, please")
	}
	port := u.Port()
	if port == "" {
		port = "2379"
	}
	return &url.URL{Scheme: u.Scheme, Host: net.JoinHostPort(u.Hostname(), port)}, nil
}

// way is how a member is reached.
type way string

const (
	wayDirect  way = "direct"
	wayForward way = "port-forward"
	wayExec    way = "exec"
	wayNode    way = "on-node"
)

// reach is one etcd cluster with a way to each of its members.
type reach struct {
	cluster discover.Cluster // only Name is set with --endpoints
	way     way
	sources []etcd.Source
	clients []*etcd.Client // beside sources; nil where there is none
	refused *refusals
	probes  []peerProbe            // beside sources; nil where nothing of ours runs there
	kube    *kubeTarget            // nil: reached without Kubernetes
	notes   []string               // what could not be looked at
	own     *discover.LocalCluster // with --on-node: what the disk says
	closers []func() error         // of what the clients go through
	stays   func(error)            // told of what could not be closed
}

// Close ends the clients, then what they go through.
func (r *reach) Close() error {
	var errs []error
	for _, client := range r.clients {
		if client != nil {
			errs = append(errs, client.Close())
		}
	}
	left := make([]error, len(r.closers))
	var closing sync.WaitGroup
	for i, end := range r.closers {
		closing.Go(func() { left[i] = end() })
	}
	closing.Wait()
	for _, err := range left {
		if err != nil {
			r.stays(err)
		}
	}
	return errors.Join(errs...)
}

func closeAll(reached []*reach) error {
	var errs []error
	for _, r := range reached {
		errs = append(errs, r.Close())
	}
	return errors.Join(errs...)
}

// readers reaches every cluster that is meant, for looking: where there are no
// certificates, through etcdctl in the pods.
func (t *target) readers(ctx context.Context) ([]*reach, error) {
	if len(t.urls) > 0 {
		r, err := t.direct()
		if err != nil {
			return nil, err
		}
		return []*reach{r}, nil
	}
	if t.onNode {
		return t.nodeReaders(ctx)
	}
	k, err := t.kubernetes(ctx)
	if err != nil {
		return nil, err
	}
	var reached []*reach
	for _, cluster := range k.clusters {
		r, err := t.throughPods(ctx, k, cluster, true)
		switch {
		case err != nil && len(k.clusters) == 1:
			return nil, err
		case err != nil: // it hides no other cluster
			r = unreachedCluster(cluster, err)
		}
		r.notes, r.kube = k.notes, k
		reached = append(reached, r)
	}
	return reached, nil
}

// unreachedCluster has a row for every pod, and why none was asked.
func unreachedCluster(cluster discover.Cluster, err error) *reach {
	r := &reach{cluster: cluster, refused: &refusals{}}
	for _, pod := range cluster.Pods {
		source := podSource(pod)
		source.Err = err
		r.sources = append(r.sources, source)
		r.clients = append(r.clients, nil)
	}
	return r
}

// one reaches exactly one cluster by gRPC.
func (t *target) one(ctx context.Context) (*reach, error) {
	if len(t.urls) > 0 {
		return t.direct()
	}
	if t.onNode {
		return t.nodeOne(ctx)
	}
	k, err := t.kubernetes(ctx)
	if err != nil {
		return nil, err
	}
	if len(k.clusters) > 1 {
		return nil, errSeveral(k.clusters)
	}
	if t.admit != nil {
		if err := t.admit(k.clusters[0]); err != nil {
			return nil, err
		}
	}
	r, err := t.throughPods(ctx, k, k.clusters[0], false)
	if err != nil {
		return nil, err
	}
	r.kube = k
	return r, nil
}

func errSeveral(clusters []discover.Cluster) error {
	names := clusterNames(clusters)
	return withHint(usagef("there are %d etcd clusters: %s", len(names), strings.Join(names, ", ")),
		"choose one: --etcd "+names[0])
}

// direct reaches the members that --endpoints names.
func (t *target) direct() (*reach, error) {
	bundle, err := t.readGiven(t.tlsFiles())
	if err != nil {
		return nil, err
	}
	options, err := t.clientOptions(bundle)
	if err != nil {
		return nil, err
	}
	r := &reach{cluster: discover.Cluster{Name: t.urls[0].Host}, way: wayDirect, refused: &refusals{}}
	for _, u := range t.urls {
		r.open(etcd.Source{Name: u.Host, Clients: []string{u.String()}}, etcd.Endpoint{Name: u.Host, URL: u.String()}, options)
	}
	return r, nil
}

// open adds a member reached by gRPC. One that can't be opened stays in the list,
// with the reason.
func (r *reach) open(source etcd.Source, endpoint etcd.Endpoint, options etcd.Options) {
	client, err := etcd.Open(endpoint, options)
	if err != nil {
		source.Err = err
	} else {
		source.Reader = client
	}
	r.sources = append(r.sources, source)
	r.clients = append(r.clients, client)
}

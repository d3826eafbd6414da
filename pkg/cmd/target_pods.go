package cmd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/discover"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/tunnel"
)

// apiTimeout bounds the search for etcd; --request-timeout changes it.
const apiTimeout = 15 * time.Second

// kubeTarget is a Kubernetes cluster and the etcd clusters in it that are meant.
type kubeTarget struct {
	host     string // the API server's URL
	client   kubeClient
	dialer   podDialer
	clusters []discover.Cluster
	servers  []discover.APIServer
	notes    []string
}

// kubernetes looks for etcd and keeps what --etcd names.
func (t *target) kubernetes(ctx context.Context) (*kubeTarget, error) {
	config, err := t.restConfig()
	if err != nil {
		return nil, err
	}
	client, err := newKubeClient(config)
	if err != nil {
		return nil, fmt.Errorf("make Kubernetes client: %w", err)
	}
	timeout := apiTimeout
	if config.Timeout > 0 {
		timeout = config.Timeout
	}
	searchCtx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	found, err := t.find(searchCtx, client, discover.Options{Namespace: *t.kube.Namespace, All: t.all})
	if err != nil {
		return nil, apiError(ctx, config.Host, err)
	}
	clusters, err := choose(found.Clusters, t.name)
	if err != nil {
		return nil, err
	}
	config.Timeout = 0 // a stream lives longer than a request
	dialer, err := t.dialer(config, tunnel.Options{Alternatives: apiServerURLs(found), Logger: t.log})
	if err != nil {
		return nil, fmt.Errorf("prepare tunnel: %w", err)
	}
	return &kubeTarget{host: config.Host, client: client, dialer: dialer, clusters: clusters, servers: found.APIServers, notes: found.Notes}, nil
}

// apiError marks what means that the API server can't be used. host is its URL.
func apiError(ctx context.Context, host string, err error) error {
	var notFound *discover.NotFoundError
	switch {
	case ctx.Err() != nil, errors.As(err, &notFound), errors.Is(err, tunnel.ErrUnreachable):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: %s gave no answer in time: %w", tunnel.ErrUnreachable, host, err)
	case unreachable(err):
		return fmt.Errorf("%w: %s: %w", tunnel.ErrUnreachable, host, err)
	}
	return fmt.Errorf("look for etcd: %w", err)
}

func apiServerURLs(found *discover.Found) []string {
	var urls []string
	for _, server := range found.APIServers {
		if server.URL != "" {
			urls = append(urls, server.URL)
		}
	}
	return urls
}

// choose keeps the clusters that name means: a name, or namespace/name; empty: all.
func choose(clusters []discover.Cluster, name string) ([]discover.Cluster, error) {
	if name == "" {
		return clusters, nil
	}
	var chosen []discover.Cluster
	for _, c := range clusters {
		if c.Name == name || c.Namespace+"/"+c.Name == name {
			chosen = append(chosen, c)
		}
	}
	if len(chosen) == 0 {
		return nil, withHint(usagef("no etcd cluster is named %q", name),
			"there are "+strings.Join(clusterNames(clusters), ", ")+"; others with -n NAMESPACE or --all-etcd")
	}
	return chosen, nil
}

// clusterNames gives each a name that choose takes; with the namespace where it must.
func clusterNames(clusters []discover.Cluster) []string {
	count := map[string]int{}
	for _, c := range clusters {
		count[c.Name]++
	}
	names := make([]string, len(clusters))
	for i, c := range clusters {
		names[i] = c.Name
		if count[c.Name] > 1 {
			names[i] = c.Namespace + "/" + c.Name
		}
	}
	return names
}

// throughPods reaches a cluster's pods: by port-forward, or, for reading and without
// the certificates that etcd wants, by exec.
func (t *target) throughPods(ctx context.Context, k *kubeTarget, cluster discover.Cluster, reading bool) (*reach, error) {
	switch {
	case !needsCertificates(cluster):
	case t.relay.wanted:
		return t.throughRelays(ctx, k, cluster)
	case t.helper.wanted:
		return t.throughHelper(ctx, k, cluster)
	}
	bundle, err := t.podCredentials(ctx, k, cluster, reading)
	if err != nil {
		return nil, err
	}
	w := wayForward
	if bundle.empty() && needsCertificates(cluster) {
		if !reading {
			return t.withoutCertificates(ctx, k, cluster)
		}
		w = wayExec
	}
	if err := t.preflight(ctx, k.client, needs(w, cluster.Namespace)); err != nil {
		return nil, err
	}
	return t.openPods(k, cluster, w, bundle)
}

// openPods opens every pod, the rights given.
func (t *target) openPods(k *kubeTarget, cluster discover.Cluster, w way, bundle *pemBundle) (*reach, error) {
	options, err := t.clientOptions(bundle)
	if err != nil {
		return nil, err
	}
	r := &reach{cluster: cluster, way: w, refused: &refusals{client: k.client}}
	for _, pod := range cluster.Pods {
		if w == wayExec {
			r.addExec(k.dialer, pod)
		} else {
			r.addForward(k.dialer, pod, options)
		}
	}
	return r, nil
}

// podCredentials are the certificates for a cluster's pods. For reading, one that may not
// be read is like none.
func (t *target) podCredentials(ctx context.Context, k *kubeTarget, cluster discover.Cluster, reading bool) (*pemBundle, error) {
	if t.certSecret != "" {
		namespace, name, _ := strings.Cut(strings.Trim(t.certSecret, "/"), "/")
		secret := right{namespace: namespace, verb: "get", resource: "secrets", name: name}
		if err := t.preflight(ctx, k.client, append(needs(wayForward, cluster.Namespace), secret)); err != nil {
			return nil, err
		}
	}
	bundle, err := t.credentials(ctx, k.client, cluster)
	switch {
	case reading && t.certSecret == "" && apierrors.IsForbidden(err):
		t.log.Info("ask etcdctl in the pods instead", "cluster", cluster.Name, "because", err)
		return nil, nil
	case err != nil && unreachable(err):
		return nil, apiError(ctx, k.host, err)
	case err == nil && bundle.empty() && needsCertificates(cluster):
		t.log.Info("no client certificate was given or found", "cluster", cluster.Name)
	}
	return bundle, err
}

// needsCertificates: without an authority a server can't be verified, and there is no
// way around verification.
func needsCertificates(cluster discover.Cluster) bool {
	for _, pod := range cluster.Pods {
		if pod.TLS {
			return true
		}
	}
	return false
}

// withoutCertificates reaches a cluster for what exec can't do.
func (t *target) withoutCertificates(ctx context.Context, k *kubeTarget, cluster discover.Cluster) (*reach, error) {
	switch agreed, err := t.relayAgreed(ctx, cluster); {
	case err != nil:
		return nil, err
	case agreed:
		return t.throughRelays(ctx, k, cluster)
	}
	switch agreed, err := t.helperAgreed(ctx, k, cluster); {
	case err != nil:
		return nil, err
	case agreed:
		return t.throughHelper(ctx, k, cluster)
	}
	return nil, errNoCertificates(cluster)
}

func errNoCertificates(cluster discover.Cluster) error {
	return withHint(fmt.Errorf("etcd %q wants a client certificate, and none was given", cluster.Name),
		"give --cacert, --cert and --key (or ETCDCTL_CACERT, ETCDCTL_CERT, ETCDCTL_KEY), or --cert-secret NAMESPACE/NAME",
		kubeadmCerts,
		"or let short-lived pods on the nodes use theirs: --relay; or read one node's into memory: --helper")
}

func podSource(pod discover.Pod) etcd.Source {
	quota, _ := strconv.ParseInt(pod.Settings["quota-backend-bytes"].Value, 10, 64)
	return etcd.Source{Name: pod.Name, Pod: pod.Name, Node: pod.Node, Quota: quota, Peers: pod.PeerURLs, Clients: pod.ClientURLs}
}

func (r *reach) addForward(dialer podDialer, pod discover.Pod, options etcd.Options) {
	scheme := "http"
	if pod.TLS {
		scheme = "https"
	}
	id := tunnel.Pod{Namespace: pod.Namespace, Name: pod.Name}
	r.open(podSource(pod), etcd.Endpoint{
		Name:       pod.Name,
		URL:        fmt.Sprintf("%s://127.0.0.1:%d", scheme, pod.ClientPort),
		ServerName: pod.ServerName,
		Dial: func(ctx context.Context) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, id, pod.ClientPort)
			r.refused.note(err, "pods/portforward", pod.Namespace)
			return conn, err
		},
	}, options)
}

// addExec reads a member through etcdctl in its pod. etcdctl says how long its own
// call took nowhere, so there is no latency this way.
func (r *reach) addExec(dialer podDialer, pod discover.Pod) {
	source := podSource(pod)
	if len(pod.Exec) == 0 {
		source.Err = errors.New("no certificate was given, and its image holds no etcdctl to ask instead")
	} else {
		source.Reader = &etcd.Ctl{Run: func(ctx context.Context, args ...string) ([]byte, error) {
			argv := append(append([]string{}, pod.Exec...), args...)
			var out answer
			err := dialer.Exec(ctx, tunnel.Pod{Namespace: pod.Namespace, Name: pod.Name}, pod.ExecContainer, argv, &out)
			r.refused.note(err, "pods/exec", pod.Namespace)
			return out.text.Bytes(), err
		}}
	}
	r.sources = append(r.sources, source)
	r.clients = append(r.clients, nil)
}

// refusals remembers that RBAC refused a tunnel: a row shows only words, but the whole
// command must name the missing right.
type refusals struct {
	client kubeClient

	mu                  sync.Mutex
	err                 error
	resource, namespace string
}

func (r *refusals) note(err error, resource, namespace string) {
	if !errors.Is(err, tunnel.ErrForbidden) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err, r.resource, r.namespace = err, resource, namespace
	}
}

// explain is the first refusal with the exact right that is missing; nil: there was none.
func (r *refusals) explain(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		return nil
	}
	return withHint(fmt.Errorf("reach etcd: %w", r.err),
		"ask for this right, and check it with: "+canI(r.missingVerb(ctx), r.resource, r.namespace))
}

// missingVerb asks the API server, bounded; create is what each of these ways needs.
func (r *refusals) missingVerb(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	for _, verb := range []string{"create", "get"} {
		if allowed, err := (right{namespace: r.namespace, verb: verb, resource: r.resource}).allowed(ctx, r.client); err == nil && !allowed {
			return verb
		}
	}
	return "create"
}

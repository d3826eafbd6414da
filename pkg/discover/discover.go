// Package discover finds etcd in a Kubernetes cluster: which pods run it, which
// clusters they form, who owns them, and with which settings each runs.
//
// Its one idea: everything that is known about a distribution is a row of one
// ordered table; a row is a struct of funcs, and the last row is generic.
package discover

import (
	"context"
	"fmt"

	"k8s.io/client-go/kubernetes"
)

// Options says where to look.
type Options struct {
	// Namespace limits the search to one namespace and takes any etcd there.
	// Empty: only the etcd of this Kubernetes' own control plane.
	Namespace string
	// All takes every etcd pod of every namespace.
	All bool
}

// Found is what Find saw, at one moment.
type Found struct {
	Clusters   []Cluster   // sorted: main, events, then by namespace and name
	APIServers []APIServer // the kube-apiserver pods, sorted by node
	Notes      []string    // what could not be looked at, and why
}

// Cluster is one etcd cluster as its pods show it, not yet confirmed by its cluster ID.
type Cluster struct {
	Name         string // "main" or "events" for the control plane's own, else the owner's name
	Namespace    string
	Distro       string // id of the table's row: "kubeadm", "rke2", "openshift", …, "generic"
	Owner        Owner
	ControlPlane bool // it is the etcd of this Kubernetes' own API servers
	Pods         []Pod
}

// Owner is what manages members and data, so that commands that change them
// name its own way.
type Owner struct {
	Kind string // "kubeadm", "RKE2", "cluster-etcd-operator", "etcd-manager", "etcd-druid", "StatefulSet", …
	Name string // object name where it has one
	// Managed: the owner adds, removes or replaces members by itself; changing them
	// behind its back is undone or harmful.
	Managed bool
	Advice  string // the owner's own way, one sentence; empty where there is none
}

// Pod is one pod that runs etcd.
type Pod struct {
	Namespace, Name string
	Container       string // the container whose process is etcd
	Node            string
	PodIP, HostIP   string
	Zone            string // topology.kubernetes.io/zone of the node, if it could be read
	NodeReady       bool   // the node's Ready condition is True, or could not be read
	Ready           bool   // the container is ready
	Restarts        int32
	Image           string
	Settings        Settings
	ClientPort      int    // as reachable through the pod: 2379, 4001, …
	PeerPort        int    // 0 when unknown
	MetricsPort     int    // plain http, reachable on the pod's localhost; 0 when there is none
	TLS             bool   // clients are served over TLS
	ClientCertAuth  bool   // … and need a certificate
	ServerName      string // a name the server certificate carries when reached through the pod
	// Exec is how to run etcdctl inside the container with the certificates that
	// are mounted there; nil when the image is known to hold no etcdctl.
	// The endpoint and the certificates are part of it: append the subcommand.
	Exec []string
	// PeerURLs are the initial-advertise-peer-urls, to match pods with members.
	PeerURLs []string
	// ClientURLs are the advertise-client-urls.
	ClientURLs []string
}

// APIServer is one kube-apiserver pod.
type APIServer struct {
	Pod, Node   string
	URL         string // https://<advertise address>:<secure port>
	EtcdServers []string
	// EtcdOverrides are --etcd-servers-overrides: "/events" → URLs.
	EtcdOverrides map[string][]string
	EtcdPrefix    string // default "/registry"
	Flags         map[string]string
}

// NotFoundError says why there is nothing to be found, and what to use instead.
type NotFoundError struct {
	Reason  string // "this is a managed control plane (EKS): its etcd is not visible"
	Instead string // the next step, one sentence
}

func (e *NotFoundError) Error() string { return fmt.Sprintf("no etcd found: %s", e.Reason) }

// Find looks for etcd. It returns *NotFoundError when there is none.
func Find(ctx context.Context, client kubernetes.Interface, options Options) (*Found, error) {
	panic("discover: internal error: not written yet")
}

// Package discover finds etcd in a Kubernetes cluster: which pods run it, which
// clusters they form, who owns them, and with which settings each runs.
//
// Its one idea: everything that is known about a distribution is a row of one
// ordered table; a row is a struct of funcs, and the last row is generic.
package discover

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
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
	// Upkeep is what the owner does by itself about free space and alarms, or how it is told
	// to; empty where it does nothing.
	Upkeep string
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
	Started         time.Time // of the container that runs; zero: none does, or it is not known
	LastEnd         time.Time // of the container before it; zero: there was none
	LastReason      string    // why that ended: "OOMKilled", "Error", …
	PriorityClass   string
	CPURequest      float64 // cores; 0: none
	MemoryLimit     int64   // bytes; 0: none
	NodeMemory      int64   // allocatable bytes of its node; 0: it could not be read
	Image           string
	// Liveness is for how long etcd may answer nothing before the kubelet ends it; 0: no
	// probe asks it.
	Liveness       time.Duration
	Settings       Settings
	ClientPort     int    // as reachable through the pod: 2379, 4001, …
	PeerPort       int    // 0 when unknown
	MetricsPort    int    // plain http, reachable on the pod's localhost; 0 when there is none
	TLS            bool   // clients are served over TLS
	ClientCertAuth bool   // … and need a certificate
	ServerName     string // a name the server certificate carries when reached through the pod
	// Exec is how to run etcdctl inside the container with the certificates that
	// are mounted there; nil when the image is known to hold no etcdctl.
	// The endpoint and the certificates are part of it: append the subcommand.
	Exec []string
	// ExecContainer is the container to run Exec in: Container, but for distributions
	// that have one for this alone. Empty when Exec is nil.
	ExecContainer string
	// NodeFiles are where its node keeps a client's certificate; nil when that is not
	// known.
	NodeFiles *NodeFiles
	// PodFiles are the same inside the container; nil where they are not mounted there.
	PodFiles *NodeFiles
	// DataDir is etcd's data directory on its node's disk; empty where it is not known, or
	// on no node's disk.
	DataDir string
	// Manifest is what a static pod is called in its file; the kubelet adds the node's name.
	Manifest string
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

// Find looks for etcd. It returns *NotFoundError when there is none, and an error that
// wraps Kubernetes' Forbidden when it may not look anywhere.
func Find(ctx context.Context, client Client, options Options) (*Found, error) {
	if options.All {
		options.Namespace = ""
	}
	rows := distros()
	listings, err := look(ctx, client, rows, options)
	if err != nil {
		return nil, err
	}
	pods := uniquePods(listings)
	candidates := recogniseAll(rows, pods, options)
	servers := readAPIServers(pods)
	configNotes := addConfigMaps(ctx, client, candidates)
	nodes, nodeNote := readNodes(ctx, client, nodeNames(candidates))
	found := &Found{Clusters: groupClusters(describeAll(candidates, nodes), servers, nodes), APIServers: servers}
	if len(found.Clusters) == 0 {
		return nil, notFound(ctx, client, options, listings, servers)
	}
	found.Notes = append(listingNotes(listings, found.Clusters, options), nodeNote)
	found.Notes = append(found.Notes, configNotes...)
	found.Notes = slices.DeleteFunc(found.Notes, func(note string) bool { return note == "" })
	return found, nil
}

// look lists the pods where options says, and the API servers in any case. Where all
// namespaces are forbidden, the control plane's own remain.
func look(ctx context.Context, client Client, rows []distro, options Options) ([]listing, error) {
	places := controlPlanePlaces(rows)
	switch {
	case options.All:
		places = append(places, place{})
	case options.Namespace != "":
		places = append(places, place{namespace: options.Namespace})
	}
	return listPods(ctx, client, places)
}

// uniquePods are the pods of all listings, each once, by namespace and name.
func uniquePods(listings []listing) []corev1.Pod {
	var pods []corev1.Pod
	for _, l := range listings {
		pods = append(pods, l.pods...)
	}
	slices.SortStableFunc(pods, func(a, b corev1.Pod) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return slices.CompactFunc(pods, func(a, b corev1.Pod) bool {
		return a.Namespace == b.Namespace && a.Name == b.Name
	})
}

// recogniseAll finds the etcd pods that options asks for.
func recogniseAll(rows []distro, pods []corev1.Pod, options Options) []candidate {
	var seen []candidate
	for i := range pods {
		pod := &pods[i]
		if options.Namespace != "" && pod.Namespace != options.Namespace {
			continue
		}
		if row, container := recognise(rows, pod); row != nil {
			seen = append(seen, candidate{row, newProcess(pod, container)})
		}
	}
	return seen
}

func nodeNames(candidates []candidate) []string {
	names := make([]string, len(candidates))
	for i, c := range candidates {
		names[i] = c.process.pod.Spec.NodeName
	}
	return names
}

func describeAll(candidates []candidate, nodes nodeSet) []sighting {
	seen := make([]sighting, len(candidates))
	for i, c := range candidates {
		seen[i] = describe(c.row, c.process)
		seen[i].addNode(nodes)
	}
	return seen
}

// listingNotes says what could not be looked at, or only in a cache. OpenShift's
// namespace is not worth a word once another control plane was found, nor is the
// control plane to who asked for one namespace.
func listingNotes(listings []listing, clusters []Cluster, options Options) []string {
	var notes []string
	controlPlane := slices.ContainsFunc(clusters, func(c Cluster) bool { return c.ControlPlane })
	for _, l := range listings {
		switch {
		case options.Namespace != "" && l.namespace != options.Namespace:
		case l.err != nil && l.namespace == "":
			notes = append(notes, "only the control plane's own namespaces were looked at: "+l.err.Error())
		case l.err != nil && (!controlPlane || l.namespace != openshiftNamespace):
			notes = append(notes, "not looked at: "+l.err.Error())
		case l.stale:
			notes = append(notes, "the API server could not read its etcd: pods of "+l.where()+" are as it last knew them")
		}
	}
	slices.Sort(notes)
	return slices.Compact(notes)
}

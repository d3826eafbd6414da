package discover

import (
	corev1 "k8s.io/api/core/v1"
)

// distro is one row of the table: everything that is known about one way to run etcd
// in pods. Every func is set; a row says only what differs from generic.
type distro struct {
	id string
	// places are where its pods are found without listing every pod.
	places []place
	// controlPlane: what it runs stores the objects of the API servers around it.
	controlPlane bool
	// container is the container of pod that runs etcd; nil: not this row's pod.
	container func(pod *corev1.Pod) *corev1.Container
	// configMap names the ConfigMap, in the pod's namespace, that settings reads; "": none.
	configMap func(pod *corev1.Pod, container *corev1.Container) string
	settings  func(p process) Settings
	// serving is what the settings mean for who wants to connect.
	serving func(p process, s Settings) serving
	// exec is the argv of etcdctl and the container to run it in; nil: there is none.
	exec func(p process, s Settings) (argv []string, container string)
	// client are the files of a client's certificate in the container; empty where
	// clients need none.
	client func(p process, s Settings) clientFiles
	// nodeFiles are where the node keeps a client's certificate; nil: not known.
	nodeFiles func(p process, s Settings) *NodeFiles
	// cluster names the cluster by the pod alone; "": grouping finds the name.
	cluster func(pod *corev1.Pod) string
	owner   func(pods []*corev1.Pod, nodes nodeSet) Owner
	// onNode are the client certificates that its nodes hold, best first; ca is the
	// authority of etcd's certificates there.
	onNode func(ca string) []clientFiles
	// secrets are the Secrets known to hold a client's certificate for a cluster, best first.
	secrets func(c Cluster) []secretPlace
}

// place is where to list pods.
type place struct {
	namespace string // "": all
	selector  string // a label selector; "": all
}

// secretPlace names a client certificate's Secret.
type secretPlace struct {
	namespace, secret string
	cert, key         string // of its data; "": by their usual names
	// caConfigMap or caSecret has the CA that signed the servers' certificates; neither:
	// the Secret itself.
	caConfigMap, caSecret string
}

// serving is how a pod serves clients, peers and metrics.
type serving struct {
	clientPort, peerPort, metricsPort int
	tls, clientCertAuth               bool
	serverName                        string
}

// distros is the table. The first row that knows a pod's container has it.
func distros() []distro {
	return []distro{
		openshift(), kops(), rke2(), kubeadm(),
		hypershift(), druid(), kamaji(), vcluster(), // tenants' control planes
		generic(),
	}
}

// controlPlanePlaces are where the API servers' own etcd and the API servers are
// found. Several rows share a place. Tenants' control planes are in none: they are found
// in the namespace that was asked for, or in all.
func controlPlanePlaces(rows []distro) []place {
	var places []place
	seen := map[place]bool{}
	for _, row := range rows {
		for _, p := range row.places {
			if !seen[p] {
				places = append(places, p)
			}
			seen[p] = true
		}
	}
	return places
}

// recognise finds the row for pod and the container that runs etcd.
func recognise(rows []distro, pod *corev1.Pod) (*distro, *corev1.Container) {
	for i := range rows {
		if c := rows[i].container(pod); c != nil {
			return &rows[i], c
		}
	}
	return nil, nil
}

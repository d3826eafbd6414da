package discover

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// notFound is why there is no cluster: not allowed to look, or a reason that the API servers
// or the nodes give away.
func notFound(ctx context.Context, client Client, options Options, listings []listing, servers []APIServer) error {
	asked := cmp.Or(options.Namespace, systemNamespace)
	if err := forbiddenIn(listings, asked); err != nil {
		return err
	}
	if options.Namespace != "" {
		return &NotFoundError{
			Reason:  "no pod in namespace " + options.Namespace + " runs etcd",
			Instead: "look in every namespace with 'kubectl etcd status --all-etcd'",
		}
	}
	nodes := someNodes(ctx, client)
	for _, reason := range []*NotFoundError{byEtcdServers(servers), byNodes(nodes)} {
		if reason != nil {
			return reason
		}
	}
	if err := forbiddenIn(listings, openshiftNamespace); err != nil {
		return err
	}
	if reason := byControlPlane(nodes); reason != nil {
		return reason
	}
	return &NotFoundError{
		Reason: "this cluster shows neither etcd nor API servers: its control plane is hosted elsewhere",
		Instead: "on the cluster that hosts it (Kamaji's, vcluster's …) use --all-etcd; else ask for backups whoever runs it, " +
			"or use --endpoints from where its etcd can be reached",
	}
}

// forbiddenIn is why namespace could not be looked at, or all of them.
func forbiddenIn(listings []listing, namespace string) error {
	for _, l := range listings {
		if l.err != nil && (l.namespace == namespace || l.namespace == "") {
			return fmt.Errorf("find etcd: %w", l.err)
		}
	}
	return nil
}

// byEtcdServers: the API servers name the etcd that they use.
func byEtcdServers(servers []APIServer) *NotFoundError {
	var remote, local []string
	for _, server := range servers {
		for _, url := range server.EtcdServers {
			if strings.HasPrefix(url, "unix") {
				return &NotFoundError{
					Reason:  "the API servers store through a local socket (" + url + "): kine on an SQL database, not etcd",
					Instead: "back up that database with its own tools",
				}
			}
			if slices.ContainsFunc(parseAddresses(url), address.isLocal) {
				local = append(local, url)
			} else {
				remote = append(remote, url)
			}
		}
	}
	if len(remote) > 0 {
		slices.Sort(remote)
		return external(servers[0], strings.Join(slices.Compact(remote), ","))
	}
	if len(local) > 0 {
		return onNodes("the API servers use an etcd on their own nodes at " + local[0] + " that is no pod: a system service")
	}
	return nil
}

// external is an etcd that server reaches at urls, with files of its own node: so kubespray's,
// which runs on the nodes as a system service and has them in /etc/ssl/etcd/ssl.
func external(server APIServer, urls string) *NotFoundError {
	reason := &NotFoundError{Reason: "the API servers use an external etcd at " + urls}
	files := clientFiles{server.Flags["etcd-cafile"], server.Flags["etcd-certfile"], server.Flags["etcd-keyfile"]}
	reason.Instead = "on node " + server.Node + ", which has the files: " + directly(urls, files)
	if files == (clientFiles{}) {
		reason.Instead = "from a host that reaches it: " + directly(urls, files)
	}
	return reason
}

func onNodes(reason string) *NotFoundError {
	return &NotFoundError{
		Reason: reason,
		Instead: "on a control plane node: kubectl etcd status --endpoints https://127.0.0.1:2379 " +
			"--cacert FILE --cert FILE --key FILE",
	}
}

// sign is how a node gives away who runs its control plane.
type sign struct {
	label   string // a label that is there
	version string // or part of the kubelet's version
	osImage string // or the start of the OS image's name
	NotFoundError
}

func (s sign) isOn(node *corev1.Node) bool {
	_, labelled := node.Labels[s.label]
	info := node.Status.NodeInfo
	return labelled ||
		s.version != "" && strings.Contains(info.KubeletVersion, s.version) ||
		s.osImage != "" && strings.HasPrefix(info.OSImage, s.osImage)
}

// byNodes goes by the first sign that a node shows.
func byNodes(nodes []corev1.Node) *NotFoundError {
	for _, s := range signs() {
		for i := range nodes {
			if s.isOn(&nodes[i]) {
				return &s.NotFoundError
			}
		}
	}
	return nil
}

func signs() []sign { return slices.Concat(hostedSigns(), outsideSigns(), managedSigns()) }

// hostedSigns: the control plane is pods, but on another cluster.
func hostedSigns() []sign {
	return []sign{
		{label: "worker.gardener.cloud/pool", NotFoundError: NotFoundError{
			Reason:  "this is a shoot of Gardener: its etcd runs on its seed",
			Instead: "with the seed's kubeconfig: kubectl etcd status -n NAMESPACE, the shoot's own (shoot--PROJECT--NAME)",
		}},
		{label: "hypershift.openshift.io/nodePool", NotFoundError: NotFoundError{
			Reason:  "this is a cluster hosted by HyperShift: its etcd runs on the management cluster",
			Instead: "with that one's kubeconfig: kubectl etcd status -n NAMESPACE, the hosted control plane's own (clusters-NAME)",
		}},
	}
}

// outsideSigns: etcd is there, but in no pod.
func outsideSigns() []sign {
	return []sign{
		{label: "microk8s.io/cluster", NotFoundError: NotFoundError{
			Reason:  "MicroK8s stores in dqlite, not etcd",
			Instead: "back up with 'microk8s dbctl backup' on a node",
		}},
		{osImage: "Talos", NotFoundError: NotFoundError{
			Reason:  "Talos runs etcd as a system service, not in a pod",
			Instead: "use 'talosctl -n NODE etcd status' and 'talosctl -n NODE etcd snapshot etcd.db'",
		}},
		{version: "+k3s", NotFoundError: NotFoundError{
			Reason: "k3s runs etcd inside its own process (or stores in an SQL database), not in a pod",
			Instead: "use 'k3s etcd-snapshot save' on a server node, or there --endpoints https://127.0.0.1:2379 " +
				"with the certificates in /var/lib/rancher/k3s/server/tls/etcd",
		}},
		{version: "+k0s", NotFoundError: NotFoundError{
			Reason:  "k0s runs etcd as a process of its controllers, not in a pod",
			Instead: "use 'k0s etcd member-list' and 'k0s backup' on a controller",
		}},
	}
}

func managedSigns() []sign {
	var all []sign
	for _, cloud := range []struct{ name, label, version string }{
		{"EKS", "eks.amazonaws.com/nodegroup", ""}, {"EKS", "", "-eks-"},
		{"GKE", "cloud.google.com/gke-nodepool", ""}, {"GKE", "", "-gke."},
		{"AKS", "kubernetes.azure.com/cluster", ""},
		{"DigitalOcean", "doks.digitalocean.com/node-id", ""},
		{"Linode", "lke.linode.com/pool-id", ""},
		{"IBM Cloud", "ibm-cloud.kubernetes.io/worker-id", ""},
		{"Alibaba Cloud", "alibabacloud.com/nodepool-id", ""},
		{"Scaleway", "k8s.scaleway.com/pool", ""},
	} {
		all = append(all, sign{label: cloud.label, version: cloud.version, NotFoundError: NotFoundError{
			Reason:  "this is a managed control plane (" + cloud.name + "): its etcd is not visible",
			Instead: "back up the objects instead, for example with Velero: the provider keeps etcd to itself",
		}})
	}
	return all
}

// byControlPlane: there are control plane nodes, but no pods on them.
func byControlPlane(nodes []corev1.Node) *NotFoundError {
	for _, role := range []string{"control-plane", "master", "etcd"} {
		for i := range nodes {
			if _, ok := nodes[i].Labels["node-role.kubernetes.io/"+role]; ok {
				return onNodes("etcd and the API servers run on the control plane nodes (" + nodes[i].Name +
					", …) as system services, not in pods, as kubespray's and hand-made ones do")
			}
		}
	}
	return nil
}

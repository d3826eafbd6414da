package discover

import (
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

const systemNamespace = "kube-system"

// What Cluster API writes on the nodes it makes (api/core/v1beta2/common_types.go).
const (
	capiClusterAnnotation   = "cluster.x-k8s.io/cluster-name"
	capiOwnerKindAnnotation = "cluster.x-k8s.io/owner-kind"
	capiOwnerNameAnnotation = "cluster.x-k8s.io/owner-name"
)

// kubeadm is a static pod a node as kubeadm writes it (cmd/kubeadm/app/phases/etcd/local.go,
// v1.37): so kind, minikube and Cluster API's kubeadm provider, too. Whoever adds a
// second etcd, for events, copies that pod: the row takes every static pod of the
// control plane that runs etcd.
func kubeadm() distro {
	row := generic()
	row.id = "kubeadm"
	row.controlPlane = true
	row.places = []place{
		{systemNamespace, "tier=control-plane"},
		{systemNamespace, "component=etcd,tier!=control-plane"},
	}
	row.container = func(pod *corev1.Pod) *corev1.Container {
		if pod.Namespace != systemNamespace || !isStatic(pod) && pod.Labels["tier"] != "control-plane" {
			return nil
		}
		return etcdContainer(pod)
	}
	row.serving = localhostServing
	row.nodeFiles = kubeadmNodeFiles
	row.owner = kubeadmOwner
	row.onNode = kubeadmCertificates
	return row
}

// kubeadmCertificates: the liveness probe's client of etcd, and one directory up the API
// server's (cmd/kubeadm/app/constants, EtcdHealthcheckClient and APIServerEtcdClient).
func kubeadmCertificates(ca string) []clientFiles {
	dir := path.Dir(ca)
	probe, server := path.Join(dir, "healthcheck-client"), path.Join(dir, "../apiserver-etcd-client")
	return []clientFiles{{ca, probe + ".crt", probe + ".key"}, {ca, server + ".crt", server + ".key"}}
}

// isStatic: the kubelet reads the pod from its disk; what the API has is a mirror.
func isStatic(pod *corev1.Pod) bool { return pod.Annotations[corev1.MirrorPodAnnotationKey] != "" }

// manifestName is a static pod's own name: of its mirror the kubelet made NAME-NODE
// (pkg/kubelet/config/common.go, generatePodName).
func manifestName(pod *corev1.Pod) string {
	if !isStatic(pod) {
		return ""
	}
	return strings.TrimSuffix(pod.Name, "-"+strings.ToLower(pod.Spec.NodeName))
}

// localhostServing is for server certificates that carry "localhost", as kubeadm's
// (util/pkiutil/pki_helpers.go, GetEtcdAltNames) and RKE2's and OpenShift's do.
func localhostServing(p process, s Settings) serving {
	found := genericServing(p, s)
	found.serverName = "localhost"
	return found
}

// kubeadmOwner goes by the nodes: what made them tells its own way to change them.
func kubeadmOwner(pods []*corev1.Pod, nodes nodeSet) Owner {
	for _, pod := range pods {
		if node := nodes[pod.Spec.NodeName].node; node != nil {
			if owner, ok := nodeOwner(node); ok {
				return owner
			}
		}
	}
	return Owner{
		Kind:   "kubeadm",
		Advice: "add a member with 'kubeadm join --control-plane' on a new node, remove one with 'kubeadm reset' on its node",
	}
}

// nodeOwner is what made node and called kubeadm on it. kind's provider ID is
// kind://PROVIDER/CLUSTER/NODE (pkg/cluster/internal/kubeadm/config.go).
func nodeOwner(node *corev1.Node) (Owner, bool) {
	if node.Annotations[capiClusterAnnotation] != "" {
		return capiOwner(node.Annotations), true
	}
	if id, ok := strings.CutPrefix(node.Spec.ProviderID, "kind://"); ok {
		return Owner{
			Kind: "kind", Name: path.Base(path.Dir(id)),
			Advice: "kind makes its nodes once: for other members create another cluster",
		}, true
	}
	if profile := node.Labels["minikube.k8s.io/name"]; profile != "" {
		return Owner{
			Kind: "minikube", Name: profile,
			Advice: "add a member with 'minikube node add --control-plane', remove one with 'minikube node delete'",
		}, true
	}
	return Owner{}, false
}

func capiOwner(annotations map[string]string) Owner {
	owner := Owner{Kind: "KubeadmControlPlane", Name: annotations[capiClusterAnnotation], Managed: true}
	// A Machine's owner kind is KubeadmControlPlane, or that of another provider.
	if kind := annotations[capiOwnerKindAnnotation]; kind != "" {
		owner.Kind, owner.Name = kind, annotations[capiOwnerNameAnnotation]
	}
	owner.Advice = "change spec.replicas of the " + owner.Kind +
		" or delete the Machine in the management cluster: Cluster API adds and removes members"
	return owner
}

package discover

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// vcluster is the StatefulSet that the vcluster chart deploys beside a virtual cluster,
// where its backing store is deploy.etcd (chart/templates/etcd-statefulset.yaml). Etcd that is
// embedded in the virtual cluster's own pod shows nowhere.
func vcluster() distro {
	row := generic()
	row.id = "vcluster"
	row.container = func(pod *corev1.Pod) *corev1.Container {
		if pod.Labels["app"] != "vcluster-etcd" {
			return nil
		}
		return genericContainer(pod)
	}
	// Certificates are made with kubeadm's code (pkg/certs/ensure.go, generateCertificates).
	row.serving = localhostServing
	row.owner = func(pods []*corev1.Pod, _ nodeSet) Owner {
		return Owner{
			Kind: "vcluster", Name: pods[0].Labels["release"],
			Advice: "the members are those of the chart's controlPlane.backingStore.etcd.deploy.statefulSet.highAvailability; " +
				"back up and restore with 'vcluster snapshot' and 'vcluster restore'",
		}
	}
	// All of the virtual cluster's certificates (pkg/certs/constants.go, certMap).
	row.secrets = func(c Cluster) []secretPlace {
		return []secretPlace{{
			namespace: c.Namespace, secret: strings.TrimSuffix(c.Name, "-etcd") + "-certs",
			cert: "etcd-healthcheck-client.crt", key: "etcd-healthcheck-client.key",
		}}
	}
	return row
}

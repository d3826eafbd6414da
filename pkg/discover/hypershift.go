package discover

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// hypershiftComponent is on every pod of a hosted control plane
// (support/controlplane-component/defaults.go, setLabels): "etcd", or "etcd-" and a shard.
const hypershiftComponent = "hypershift.openshift.io/control-plane-component"

// hypershift is the StatefulSet of a hosted OpenShift control plane, on its management
// cluster; settings stand in the environment
// (control-plane-operator/controllers/hostedcontrolplane/v2/assets/etcd/statefulset.yaml).
func hypershift() distro {
	row := generic()
	row.id = "hypershift"
	row.container = func(pod *corev1.Pod) *corev1.Container {
		component := pod.Labels[hypershiftComponent]
		if component != "etcd" && !strings.HasPrefix(component, "etcd-") {
			return nil
		}
		return genericContainer(pod)
	}
	// The certificate is for the client service and "localhost", not for the pods' own
	// names that they advertise (hostedcontrolplane/pki/etcd.go, ReconcileEtcdServerSecret).
	row.serving = localhostServing
	row.client = func(process, Settings) clientFiles {
		return clientFiles{
			ca:   "/etc/etcd/tls/etcd-ca/ca.crt",
			cert: "/etc/etcd/tls/client/etcd-client.crt",
			key:  "/etc/etcd/tls/client/etcd-client.key",
		}
	}
	row.exec = func(p process, s Settings) ([]string, string) { return execAs(p, s, row.client(p, s)) }
	row.owner = func(pods []*corev1.Pod, _ nodeSet) Owner {
		return Owner{
			Kind: "HyperShift", Name: pods[0].Namespace, Managed: true,
			Advice: "HyperShift replaces members by itself; restore into a new HostedCluster with " +
				"spec.etcd.managed.storage.restoreSnapshotURL",
		}
	}
	// Shards share the client's certificate (v2/etcd/shard.go).
	row.secrets = func(c Cluster) []secretPlace {
		return []secretPlace{{namespace: c.Namespace, secret: "etcd-client-tls", caConfigMap: "etcd-ca"}}
	}
	return row
}

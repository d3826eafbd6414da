package discover

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

const openshiftNamespace = "openshift-etcd"

// openshift is the static pod of the cluster-etcd-operator: etcd's flags stand in a
// shell script, all containers share the environment, and one of them, etcdctl, is
// there to be entered (bindata/etcd/pod.gotpl.yaml, pkg/etcdenvvar/etcd_env.go).
func openshift() distro {
	row := generic()
	row.id = "openshift"
	row.controlPlane = true
	row.places = []place{{openshiftNamespace, "etcd=true"}}
	row.container = func(pod *corev1.Pod) *corev1.Container {
		if pod.Namespace != openshiftNamespace || pod.Labels["etcd"] != "true" {
			return nil
		}
		return etcdContainer(pod)
	}
	row.serving = localhostServing
	row.exec = openshiftExec
	row.owner = func([]*corev1.Pod, nodeSet) Owner {
		return Owner{
			Kind: "cluster-etcd-operator", Managed: true,
			Advice: "replace control plane machines: the operator adds and removes members; " +
				"restore with /usr/local/bin/cluster-restore.sh on a control plane node",
			// pkg/operator/defragcontroller
			Upkeep: "the operator defragments members by itself; see whether it does: oc get configmap -n openshift-etcd-operator etcd-disable-defrag",
		}
	}
	row.secrets = func(Cluster) []secretPlace {
		return []secretPlace{{namespace: openshiftNamespace, secret: "etcd-client", caConfigMap: "etcd-ca-bundle"}}
	}
	return row
}

// openshiftExec prefers the container etcdctl, which lives on while etcd restarts.
// ETCDCTL_CACERT, _CERT and _KEY are set there.
func openshiftExec(p process, s Settings) ([]string, string) {
	at := slices.IndexFunc(p.pod.Spec.Containers, func(c corev1.Container) bool { return c.Name == "etcdctl" })
	if at < 0 {
		return genericExec(p, s)
	}
	argv, _ := genericExec(newProcess(p.pod, &p.pod.Spec.Containers[at]), s)
	return argv, "etcdctl"
}

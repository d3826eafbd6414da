package discover

import corev1 "k8s.io/api/core/v1"

// kamaji is the StatefulSet of the chart kamaji-etcd: one etcd for the control planes of
// many tenants. Its cluster token is the one thing that no value of the chart changes
// (charts/kamaji-etcd/templates/etcd_sts.yaml).
func kamaji() distro {
	row := generic()
	row.id = "kamaji"
	row.container = func(pod *corev1.Pod) *corev1.Container {
		c := genericContainer(pod)
		if c == nil || readSettings(newProcess(pod, c))["initial-cluster-token"].Value != "kamaji" {
			return nil
		}
		return c
	}
	row.owner = func(pods []*corev1.Pod, _ nodeSet) Owner {
		return Owner{
			Kind: "Kamaji", Name: instanceOf(pods[0]),
			Advice: "the members are those that the chart kamaji-etcd was installed with; " +
				"restore with the chart's scripts/restore.sh, for every tenant of this DataStore at once",
		}
	}
	// Etcd has roles here; that client is its root. The chart makes it by itself, or by
	// cert-manager, which adds the CA (templates/etcd_job_preinstall_1.yaml and
	// etcd_cert-manager_clientcert.yaml).
	row.secrets = func(c Cluster) []secretPlace {
		return []secretPlace{
			{namespace: c.Namespace, secret: c.Name + "-root-client-certs", caSecret: c.Name + "-certs"},
			{namespace: c.Namespace, secret: c.Name + "-client-certs"},
		}
	}
	return row
}

package discover

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
)

const kopsAppPrefix = "etcd-manager-"

// kops is the static pod of etcd-manager, which starts etcd as a child: one pod a
// cluster and node, and a cluster for main, events and others
// (pkg/model/components/etcdmanager/model.go). Which etcdctl under /opt fits, and where the child's
// certificates are, can't be told from the pod: there is no exec.
func kops() distro {
	row := generic()
	row.id = "kops"
	row.controlPlane = true
	row.places = []place{{
		systemNamespace,
		"k8s-app in (etcd-manager-main,etcd-manager-events,etcd-manager-cilium,etcd-manager-leases,kube-apiserver)",
	}}
	row.container = kopsContainer
	row.settings = kopsSettings
	row.serving = func(p process, s Settings) serving {
		found := genericServing(p, s)
		// etcd-manager signs for the member's name and 127.0.0.1 (pkg/etcd/pki.go).
		found.serverName = "127.0.0.1"
		found.clientCertAuth = found.tls
		return found
	}
	row.exec = func(process, Settings) ([]string, string) { return nil, "" }
	row.cluster = func(pod *corev1.Pod) string { return strings.TrimPrefix(pod.Labels["k8s-app"], kopsAppPrefix) }
	row.owner = func(pods []*corev1.Pod, _ nodeSet) Owner {
		return Owner{
			Kind: "etcd-manager", Name: pods[0].Labels["k8s-app"], Managed: true,
			Advice: "use etcd-manager-ctl with the backup store of 'kops get cluster -o yaml' (list-backups, restore-backup); " +
				"etcd-manager adds and removes members with the instance groups",
		}
	}
	return row
}

func kopsContainer(pod *corev1.Pod) *corev1.Container {
	if pod.Namespace != systemNamespace || !strings.HasPrefix(pod.Labels["k8s-app"], kopsAppPrefix) {
		return nil
	}
	for i := range pod.Spec.Containers {
		if pod.Spec.Containers[i].Name == "etcd-manager" {
			return &pod.Spec.Containers[i]
		}
	}
	return nil
}

// kopsSettings: ETCD_* reach the child as they are; etcd-manager's own URLs become
// the child's, with __name__ filled in.
func kopsSettings(p process) Settings {
	settings := Settings{}
	settings.addEnv(p.env, FromEnv)
	run, _ := findInvocation(p.argv(), "etcd-manager")
	origin := FromFlag
	if run.script {
		origin = FromScript
	}
	names := map[string][]string{
		"client-urls": {"listen-client-urls", "advertise-client-urls"},
		"peer-urls":   {"listen-peer-urls", "initial-advertise-peer-urls"},
	}
	for _, f := range parseFlags(run.args) {
		for _, name := range names[f.name] {
			settings[name] = Setting{f.value, origin}
		}
	}
	return settings
}

package discover

import (
	"encoding/json"
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// rke2ConfigPath is where RKE2 puts etcd's config file, below its data directory.
const rke2ConfigPath = "/server/db/etcd/config"

// rke2 is a static pod with kubeadm's labels, whose settings stand in a file on the
// node's disk (pkg/executor/staticpod/staticpod.go, pkg/podtemplate/spec.go). What the
// file holds by default is known (k3s pkg/etcd/etcd.go).
func rke2() distro {
	row := kubeadm()
	row.id = "rke2"
	row.container = func(pod *corev1.Pod) *corev1.Container {
		c := kubeadm().container(pod)
		if c == nil || !strings.HasSuffix(rke2ConfigFile(newProcess(pod, c)), rke2ConfigPath) {
			return nil
		}
		return c
	}
	row.settings = rke2Settings
	row.serving = func(process, Settings) serving {
		return serving{
			clientPort: 2379, peerPort: 2380, metricsPort: 2381,
			tls: true, clientCertAuth: true, serverName: "localhost",
		}
	}
	row.exec = rke2Exec
	row.onNode = func(ca string) []clientFiles { // k3s pkg/daemons/control/deps, ClientETCDCert
		dir := path.Dir(ca)
		return []clientFiles{{ca, path.Join(dir, "client.crt"), path.Join(dir, "client.key")}}
	}
	row.nodeFiles = rke2NodeFiles
	row.owner = func([]*corev1.Pod, nodeSet) Owner {
		return Owner{
			Kind: "RKE2", Managed: true,
			Advice: "join or delete server nodes: RKE2 adds and removes members with them; " +
				"restore with 'rke2 server --cluster-reset --cluster-reset-restore-path=FILE'",
			// k3s pkg/etcd/etcd.go, ETCD.Test
			Upkeep: "restart rke2-server on one node after the other: it defragments its member and disarms alarms when it starts",
		}
	}
	return row
}

// rke2Settings adds to the file's path what RKE2 wrote into it at the first start, and
// notes in an annotation (k3s pkg/daemons/executor/executor.go, InitialOptions).
func rke2Settings(p process) Settings {
	settings := readSettings(p)
	var initial map[string]string
	if json.Unmarshal([]byte(p.pod.Annotations["etcd.k3s.io/initial"]), &initial) != nil {
		return settings // the path alone will do
	}
	for name, value := range initial {
		if value != "" {
			settings[name] = Setting{value, FromFile}
		}
	}
	return settings
}

func rke2ConfigFile(p process) string { return readSettings(p)["config-file"].Value }

// rke2Exec: server-client.crt is good for both sides and mounted; the image holds
// etcdctl and no shell.
func rke2Exec(p process, s Settings) ([]string, string) {
	tls := path.Join(strings.TrimSuffix(s["config-file"].Value, rke2ConfigPath), "server/tls/etcd")
	return etcdctl(p, "https://127.0.0.1:2379", clientFiles{
		ca:   path.Join(tls, "server-ca.crt"),
		cert: path.Join(tls, "server-client.crt"),
		key:  path.Join(tls, "server-client.key"),
	}), p.container.Name
}

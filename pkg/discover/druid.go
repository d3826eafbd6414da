package discover

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// What etcd-druid calls its things (internal/common/constants.go).
const (
	druidConfigVolume = "etcd-config-file"
	druidConfigKey    = "etcd.conf.yaml"
	druidSidecar      = "backup-restore"
)

// druid is the StatefulSet of Gardener's etcd-druid, on a seed. The etcd container runs a
// wrapper that gets etcd's config from the sidecar beside it, which has it from a
// ConfigMap (internal/component/statefulset/builder.go). How etcd is reached, the sidecar's own
// flags tell too, so that it does not take the right to read ConfigMaps.
func druid() distro {
	row := generic()
	row.id = "druid"
	row.container = druidContainer
	row.configMap = func(pod *corev1.Pod, _ *corev1.Container) string {
		if volume := volumeOf(pod, druidConfigVolume); volume != nil && volume.ConfigMap != nil {
			return volume.ConfigMap.Name
		}
		return ""
	}
	row.settings = druidSettings
	row.serving = druidServing
	row.client = func(p process, _ Settings) clientFiles {
		flags := druidFlags(p.pod)
		return clientFiles{flags["cacert"], flags["cert"], flags["key"]}
	}
	// The images hold neither etcdctl nor a shell.
	row.exec = func(process, Settings) ([]string, string) { return nil, "" }
	row.owner = func(pods []*corev1.Pod, _ nodeSet) Owner {
		return Owner{
			Kind: "etcd-druid", Name: pods[0].Labels[partOfLabel], Managed: true,
			Advice: "change spec.replicas of the Etcd " + pods[0].Labels[partOfLabel] + ": etcd-druid adds members, " +
				"and gives a member that lost its data new data by itself, from its peers or its backups",
			// api/core/v1alpha1/etcd.go, EtcdConfig
			Upkeep: "set spec.etcd.defragmentationSchedule of the Etcd " + pods[0].Labels[partOfLabel] + ": the sidecar defragments by it",
		}
	}
	// The Secrets have the names that the Etcd object says: those that the pod mounts.
	row.secrets = func(Cluster) []secretPlace { return nil }
	return row
}

func druidContainer(pod *corev1.Pod) *corev1.Container {
	if pod.Labels[managedByLabel] != "etcd-druid" || pod.Labels[componentLabel] != "etcd-sts" {
		return nil
	}
	return containerNamed(pod, "etcd")
}

func containerNamed(pod *corev1.Pod, name string) *corev1.Container {
	at := slices.IndexFunc(pod.Spec.Containers, func(c corev1.Container) bool { return c.Name == name })
	if at < 0 {
		return nil
	}
	return &pod.Spec.Containers[at]
}

// druidFlags are the sidecar's.
func druidFlags(pod *corev1.Pod) map[string]string {
	flags := map[string]string{}
	if c := containerNamed(pod, druidSidecar); c != nil {
		for _, f := range parseFlags(newProcess(pod, c).argv()) {
			flags[f.name] = f.value
		}
	}
	return flags
}

// druidSettings are those of the ConfigMap, as the sidecar fills them in for each member
// (etcd-backup-restore pkg/server/httpAPI.go, serveConfig). Without it the paths that the sidecar
// is given too remain.
func druidSettings(p process) Settings {
	settings := Settings{}
	for name, flag := range map[string]string{"trusted-ca-file": "cacert", "data-dir": "data-dir"} {
		if value := druidFlags(p.pod)[flag]; value != "" {
			settings[name] = Setting{value, FromFlag}
		}
	}
	values, err := decodeConfigFile([]byte(p.configMap[druidConfigKey]))
	if err != nil || len(values) == 0 {
		return settings // what is no config tells nothing
	}
	fillInMember(values, p.pod.Name)
	maps.Copy(settings, configSettings(values, FromConfig))
	return settings
}

// fillInMember puts in what differs from member to member (api/core/v1alpha1/helper.go, GetMemberName).
func fillInMember(values map[string]any, pod string) {
	for _, name := range []string{"initial-advertise-peer-urls", "advertise-client-urls"} {
		if byPod, ok := values[name].(map[string]any); ok {
			values[name] = byPod[pod]
		}
	}
	values["name"] = pod
	if prefix, ok := values["member-name-prefix"].(string); ok && prefix != "" {
		values["name"] = prefix + "-" + pod
	}
	delete(values, "member-name-prefix")
}

// druidServing goes by the endpoint that the sidecar uses, whose name stands in the
// certificate: clients that are served over TLS need a certificate.
func druidServing(p process, s Settings) serving {
	found := serving{clientPort: defaultClientPort, peerPort: s.peerPort(), metricsPort: s.metricsPort(), serverName: "localhost"}
	for _, a := range parseAddresses(druidFlags(p.pod)["endpoints"]) {
		found.clientPort, found.serverName = a.port, a.host
		found.tls = a.scheme == "https"
		found.clientCertAuth = found.tls
	}
	return found
}

package discover

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// defaultClientPort is etcd's own.
const defaultClientPort = 2379

// commandTimeout ends an etcdctl that nobody waits for any more. A later
// --command-timeout on the same command line wins.
const commandTimeout = "10s"

// generic is the last row: any pod whose container runs etcd, known by its command
// line and environment only.
func generic() distro {
	return distro{
		id:        "generic",
		container: genericContainer,
		configMap: environmentMap,
		settings:  readSettings,
		serving:   genericServing,
		exec:      genericExec,
		client:    func(_ process, s Settings) clientFiles { return servedFiles(s) },
		nodeFiles: noNodeFiles,
		cluster:   func(*corev1.Pod) string { return "" },
		owner:     genericOwner,
		onNode:    func(string) []clientFiles { return nil },
		secrets:   genericSecrets,
	}
}

// genericContainer wants a pod that has not ended: a finished Job that ran etcd once
// is no member.
func genericContainer(pod *corev1.Pod) *corev1.Container {
	if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return nil
	}
	return etcdContainer(pod)
}

// etcdContainer is the first container of pod that starts an etcd server.
func etcdContainer(pod *corev1.Pod) *corev1.Container {
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		if _, ok := newProcess(pod, c).etcd(); ok {
			return c
		}
	}
	return nil
}

func genericServing(_ process, s Settings) serving {
	client := s.clientAddress()
	found := serving{
		clientPort: client.port, peerPort: s.peerPort(), metricsPort: s.metricsPort(),
		tls: s.servesTLS(), clientCertAuth: s.wantsCertificate(), serverName: s.serverName(),
	}
	if found.clientPort == 0 {
		found.clientPort = defaultClientPort
	}
	return found
}

// genericExec uses the server's own certificate as the client's, which works where it
// is good for both, and needs the settings, so it has nothing behind a config file.
func genericExec(p process, s Settings) ([]string, string) { return execAs(p, s, servedFiles(s)) }

// ciliumImage has etcd, and leaves etcdctl out (cilium/cilium images/clustermesh-apiserver/Dockerfile).
const ciliumImage = "clustermesh-apiserver"

// execAs is etcdctl with a client's certificate that the container has.
func execAs(p process, s Settings, client clientFiles) ([]string, string) {
	if s["config-file"].From == FromFile || p.image() == ciliumImage {
		return nil, ""
	}
	endpoint := s.clientAddress()
	if endpoint.port == 0 {
		endpoint = address{"http", "127.0.0.1", defaultClientPort}
		if s.servesTLS() {
			endpoint.scheme = "https"
		}
	}
	return etcdctl(p, endpoint.dialable().String(), client), p.container.Name
}

// clientFiles are the paths of a client's certificate inside a container, or on a node.
type clientFiles struct{ ca, cert, key string }

func servedFiles(s Settings) clientFiles {
	if !s.servesTLS() {
		return clientFiles{}
	}
	return clientFiles{s["trusted-ca-file"].Value, s["cert-file"].Value, s["key-file"].Value}
}

// etcdctl is its argv. etcdctl ends at once when a flag and its ETCDCTL_ variable are
// both set (package flags, "conflicting environment variable is shadowed"), so what
// the container has set stays, and the endpoint goes through env.
func etcdctl(p process, endpoint string, files clientFiles) []string {
	argv := []string{"etcdctl"}
	if p.env["ETCDCTL_ENDPOINTS"] != "" {
		argv = []string{"env", "ETCDCTL_ENDPOINTS=" + endpoint, "etcdctl"}
	}
	for _, f := range []option{
		{"endpoints", endpoint},
		{"cacert", files.ca}, {"cert", files.cert}, {"key", files.key},
		{"command-timeout", commandTimeout},
	} {
		preset := p.env["ETCDCTL_"+strings.ToUpper(strings.ReplaceAll(f.name, "-", "_"))]
		if f.value != "" && preset == "" {
			argv = append(argv, "--"+f.name+"="+f.value)
		}
	}
	return argv
}

package discover

import (
	"cmp"
	"net"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// What kube-apiserver takes for unset flags (pkg/controlplane/apiserver/options, storage/storagebackend).
const (
	defaultSecurePort = "6443"
	defaultEtcdPrefix = "/registry"
)

// readAPIServers picks the kube-apiserver pods of this Kubernetes out of pods.
func readAPIServers(pods []corev1.Pod) []APIServer {
	var servers []APIServer
	for i := range pods {
		if pods[i].Namespace != systemNamespace {
			continue
		}
		if server, ok := readAPIServer(&pods[i]); ok {
			servers = append(servers, server)
		}
	}
	slices.SortFunc(servers, func(a, b APIServer) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Pod, b.Pod))
	})
	return servers
}

func readAPIServer(pod *corev1.Pod) (APIServer, bool) {
	for i := range pod.Spec.Containers {
		p := newProcess(pod, &pod.Spec.Containers[i])
		if run, ok := findInvocation(p.argv(), "kube-apiserver"); ok {
			return newAPIServer(pod, parseFlags(run.args)), true
		}
	}
	return APIServer{}, false
}

func newAPIServer(pod *corev1.Pod, flags []option) APIServer {
	values := map[string]string{}
	for _, f := range flags {
		if values[f.name] != "" && strings.HasPrefix(f.name, "etcd-servers") {
			f.value = values[f.name] + "," + f.value // a list flag may be repeated
		}
		values[f.name] = f.value
	}
	host := cmp.Or(values["advertise-address"], pod.Status.HostIP, pod.Status.PodIP)
	server := APIServer{
		Pod: pod.Name, Node: pod.Spec.NodeName,
		EtcdServers:   splitList(values["etcd-servers"], ","),
		EtcdOverrides: parseOverrides(values["etcd-servers-overrides"]),
		EtcdPrefix:    cmp.Or(values["etcd-prefix"], defaultEtcdPrefix),
		Flags:         values,
	}
	if host != "" {
		server.URL = "https://" + net.JoinHostPort(host, cmp.Or(values["secure-port"], defaultSecurePort))
	}
	return server
}

// parseOverrides reads --etcd-servers-overrides: "group/resource#URL;URL,…".
func parseOverrides(value string) map[string][]string {
	overrides := map[string][]string{}
	for _, one := range splitList(value, ",") {
		if resource, urls, ok := strings.Cut(one, "#"); ok {
			overrides[resource] = splitList(urls, ";")
		}
	}
	if len(overrides) == 0 {
		return nil
	}
	return overrides
}

func splitList(value, separator string) []string {
	var parts []string
	for part := range strings.SplitSeq(value, separator) {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}

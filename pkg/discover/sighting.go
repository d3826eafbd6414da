package discover

import (
	"cmp"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// sighting is one etcd pod with the row that knows it.
type sighting struct {
	row    *distro
	object *corev1.Pod
	pod    Pod
}

// candidate is one etcd pod that a row knows, before it is described.
type candidate struct {
	row     *distro
	process process
}

// describe tells what is known of a process.
func describe(row *distro, p process) sighting {
	object, container := p.pod, p.container
	settings := row.settings(p)
	serves := row.serving(p, settings)
	argv, execContainer := row.exec(p, settings)
	pod := Pod{
		Namespace: object.Namespace, Name: object.Name, Container: container.Name,
		Node: object.Spec.NodeName, PodIP: object.Status.PodIP, HostIP: object.Status.HostIP,
		NodeReady: true, Image: container.Image,
		Settings:   settings,
		ClientPort: serves.clientPort, PeerPort: serves.peerPort, MetricsPort: serves.metricsPort,
		TLS: serves.tls, ClientCertAuth: serves.clientCertAuth, ServerName: serves.serverName,
		Exec: argv, ExecContainer: execContainer, NodeFiles: row.nodeFiles(p, settings),
		DataDir:    hostPathOf(p, settings["data-dir"].Value),
		Manifest:   manifestName(object),
		PeerURLs:   settings.concreteURLs("initial-advertise-peer-urls"),
		ClientURLs: settings.concreteURLs("advertise-client-urls"),
	}
	pod.PodFiles = pod.NodeFiles.mounted(p)
	pod.addResources(object, container)
	pod.Liveness = patience(container.LivenessProbe)
	statuses := object.Status.ContainerStatuses
	at := slices.IndexFunc(statuses, func(s corev1.ContainerStatus) bool { return s.Name == container.Name })
	if at >= 0 {
		pod.addState(statuses[at])
	}
	return sighting{row, object, pod}
}

func (p *Pod) addResources(object *corev1.Pod, container *corev1.Container) {
	p.PriorityClass = object.Spec.PriorityClassName
	p.CPURequest = container.Resources.Requests.Cpu().AsApproximateFloat64()
	p.MemoryLimit = container.Resources.Limits.Memory().Value()
}

// patience is for how long etcd may answer nothing before the kubelet ends it. A probe that only
// opens a connection is answered all the same; what is not set is as the API server defaults it.
func patience(probe *corev1.Probe) time.Duration {
	if probe == nil || probe.TCPSocket != nil {
		return 0
	}
	return time.Duration(cmp.Or(probe.FailureThreshold, 3)) * time.Duration(cmp.Or(probe.PeriodSeconds, 10)) * time.Second
}

func (p *Pod) addState(status corev1.ContainerStatus) {
	p.Ready, p.Restarts = status.Ready, status.RestartCount
	if running := status.State.Running; running != nil {
		p.Started = running.StartedAt.Time
	}
	if ended := status.LastTerminationState.Terminated; ended != nil {
		p.LastEnd, p.LastReason = ended.FinishedAt.Time, ended.Reason
	}
}

// addNode adds what the pod's node tells.
func (s *sighting) addNode(nodes nodeSet) {
	node := nodes[s.pod.Node]
	s.pod.Zone, s.pod.NodeReady, s.pod.NodeMemory = node.zone(), node.isReady(), node.memory()
}

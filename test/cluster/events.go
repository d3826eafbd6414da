//go:build unix

package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// EventsEtcd is the second etcd of a node, where there is one: that of the events.
const EventsEtcd Part = "etcd-events"

// What an administrator changes in a copy of kubeadm's manifest, so that a second etcd
// runs beside the first.
const (
	eventsClientPort = "2389"
	eventsPeerPort   = "2390"
	eventsHealthPort = 2391
	dataDir          = "/var/lib/etcd"
	eventsDataDir    = "/var/lib/etcd-events"
)

// addEvents gives every node a second etcd, and makes every API server keep Kubernetes'
// Events there.
func (c *Cluster) addEvents(ctx context.Context) error {
	for _, n := range c.nodes {
		if err := n.addEventsEtcd(c.eventsMembers()); err != nil {
			return fmt.Errorf("add an etcd for events to %s: %w", n.Name, err)
		}
	}
	return c.onAll(ctx, (*Node).useEvents)
}

func (c *Cluster) onAll(ctx context.Context, do func(*Node, context.Context) error) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, n := range c.nodes {
		group.Go(func() error { return do(n, ctx) })
	}
	return group.Wait()
}

// eventsMembers is the --initial-cluster of the second etcd.
func (c *Cluster) eventsMembers() string {
	var members []string
	for _, n := range c.nodes {
		members = append(members, n.Name+"=https://"+n.IP+":"+eventsPeerPort)
	}
	return strings.Join(members, ",")
}

func (n *Node) addEventsEtcd(members string) error {
	pod, err := n.manifest(Etcd)
	if err != nil {
		return err
	}
	pod.Name = string(EventsEtcd)
	pod.Labels["component"] = string(EventsEtcd)
	pod.Annotations = nil // kubeadm's own, with the first etcd's address
	container := &pod.Spec.Containers[0]
	container.Command = eventsFlags(container.Command, members)
	for i := range container.Ports {
		container.Ports[i].ContainerPort, container.Ports[i].HostPort = eventsHealthPort, eventsHealthPort
	}
	for i, mount := range container.VolumeMounts {
		if mount.MountPath == dataDir {
			container.VolumeMounts[i].MountPath = eventsDataDir
		}
	}
	for _, volume := range pod.Spec.Volumes {
		if volume.HostPath != nil && volume.HostPath.Path == dataDir {
			volume.HostPath.Path = eventsDataDir
		}
	}
	return n.writeManifest(EventsEtcd, pod)
}

// eventsFlags are the first etcd's, with other ports, another directory and all members.
func eventsFlags(command []string, members string) []string {
	ports := strings.NewReplacer(":2379", ":"+eventsClientPort, ":2380", ":"+eventsPeerPort, ":2381", fmt.Sprint(":", eventsHealthPort))
	var flags []string
	for _, flag := range command {
		name, _, _ := strings.Cut(flag, "=")
		switch name {
		case "--initial-cluster", "--initial-cluster-state":
			continue // a member that joined was started with another list
		case "--data-dir":
			flag = "--data-dir=" + eventsDataDir
		}
		flags = append(flags, ports.Replace(flag))
	}
	return append(flags, "--initial-cluster="+members, "--initial-cluster-state=new", "--initial-cluster-token=events")
}

// useEvents waits until the node's second etcd serves, and points its API server there.
func (n *Node) useEvents(ctx context.Context) error {
	_, err := n.Run(ctx, fmt.Sprintf(
		"timeout 180 sh -c 'until %s --endpoints https://127.0.0.1:%s endpoint health >/dev/null 2>&1; do sleep 1; done'", Etcdctl, eventsClientPort))
	if err != nil {
		return fmt.Errorf("wait for the etcd for events of %s: %w", n.Name, err)
	}
	pod, err := n.manifest(APIServer)
	if err != nil {
		return err
	}
	container := &pod.Spec.Containers[0]
	container.Command = append(container.Command, "--etcd-servers-overrides=/events#https://127.0.0.1:"+eventsClientPort)
	return n.writeManifest(APIServer, pod)
}

func (n *Node) manifest(part Part) (*corev1.Pod, error) {
	raw, err := os.ReadFile(n.manifestPath(part))
	if err != nil {
		return nil, err
	}
	var pod corev1.Pod
	if err := yaml.Unmarshal(raw, &pod); err != nil {
		return nil, fmt.Errorf("read %s: %w", n.manifestPath(part), err)
	}
	return &pod, nil
}

// writeManifest puts the manifest in place whole: kubelet reads the folder at any moment.
func (n *Node) writeManifest(part Part, pod *corev1.Pod) error {
	raw, err := yaml.Marshal(pod)
	if err != nil {
		return err
	}
	temp := n.Path("/etc/kubernetes/" + string(part) + ".yaml.tmp")
	if err := os.WriteFile(temp, raw, 0o600); err != nil {
		return err
	}
	return os.Rename(temp, n.manifestPath(part))
}

func (n *Node) manifestPath(part Part) string {
	return filepath.Join(n.Path("/etc/kubernetes/manifests"), string(part)+".yaml")
}

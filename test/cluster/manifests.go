//go:build unix

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

const dataDir = "/var/lib/etcd"

// SetFlags puts flags, as "--name=value", in part's manifest, in the place of those of the same
// name, as an administrator does in an editor. kubelet, once it runs, starts the pod anew. undo
// puts the manifest back as it was.
func (n *Node) SetFlags(part Part, flags ...string) (undo func() error, err error) {
	before, err := os.ReadFile(n.manifestPath(part))
	if err != nil {
		return nil, fmt.Errorf("set flags of %s of %s: %w", part, n.Name, err)
	}
	pod, err := n.manifest(part)
	if err != nil {
		return nil, fmt.Errorf("set flags of %s of %s: %w", part, n.Name, err)
	}
	container := &pod.Spec.Containers[0]
	kept := slices.DeleteFunc(container.Command, func(flag string) bool {
		name, _, _ := strings.Cut(flag, "=")
		return hasFlag(flags, name)
	})
	container.Command = append(kept, flags...)
	if err := n.writeManifest(part, pod); err != nil {
		return nil, fmt.Errorf("set flags of %s of %s: %w", part, n.Name, err)
	}
	return func() error { return n.placeManifest(part, before) }, nil
}

// Runs waits until the one process of part has the command line that its manifest has.
func (n *Node) Runs(ctx context.Context, part Part) error {
	pod, err := n.manifest(part)
	if err != nil {
		return fmt.Errorf("wait for %s of %s: %w", part, n.Name, err)
	}
	want := pod.Spec.Containers[0].Command
	what := fmt.Sprintf("%s of %s runs as its manifest says", part, n.Name)
	return eventually(ctx, leverTimeout, 200*time.Millisecond, what, func() (bool, error) {
		pids, err := n.processes(part)
		return len(pids) == 1 && slices.Equal(arguments(pids[0]), want), err
	})
}

// TwinEtcd is one more member of the first etcd's cluster on a node, where StartTwin made one.
const TwinEtcd Part = "etcd-twin"

const twinDataDir = "/var/lib/etcd-twin"

// TwinName is what the member calls itself, TwinPeer its peer URL: who adds it has to know.
func (n *Node) TwinName() string { return n.Name + "-twin" }

// TwinPeer is the twin's peer URL.
func (n *Node) TwinPeer() string { return "https://" + n.IP + ":2480" }

// StartTwin starts a second member on the node, as a static pod beside kubeadm's. It has to be
// in the member list, and members is that list as --initial-cluster takes it.
func (n *Node) StartTwin(ctx context.Context, members string) error {
	pod, err := n.manifest(Etcd)
	if err != nil {
		return fmt.Errorf("start a second etcd on %s: %w", n.Name, err)
	}
	further{
		part: TwinEtcd, client: "2479", peer: "2480", health: 2481, dir: twinDataDir,
		flags: []string{"--name=" + n.TwinName(), "--initial-cluster=" + members, "--initial-cluster-state=existing"},
	}.become(pod)
	delete(pod.Labels, "tier") // it is no part of the control plane that WaitReady waits for
	if err := n.writeManifest(TwinEtcd, pod); err != nil {
		return fmt.Errorf("start a second etcd on %s: %w", n.Name, err)
	}
	return n.until(ctx, TwinEtcd, true)
}

// RemoveTwin ends the second member and empties its directory; it stays in the member list.
func (n *Node) RemoveTwin(ctx context.Context) error {
	if err := os.Remove(n.manifestPath(TwinEtcd)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the second etcd of %s: %w", n.Name, err)
	}
	if err := n.until(ctx, TwinEtcd, false); err != nil {
		return err
	}
	return os.RemoveAll(filepath.Join(n.Path(twinDataDir), "member"))
}

// further is what an administrator changes in a copy of kubeadm's manifest, so that one more
// etcd runs on the node.
type further struct {
	part         Part
	client, peer string // ports
	health       int32  // port
	dir          string
	flags        []string // in the place of those of the same names
}

// become makes f of the pod of the node's first etcd.
func (f further) become(pod *corev1.Pod) {
	pod.Name = string(f.part)
	pod.Annotations = nil // kubeadm's own, with the first etcd's address
	container := &pod.Spec.Containers[0]
	container.Command = f.command(container.Command)
	for i := range container.Ports {
		container.Ports[i].ContainerPort, container.Ports[i].HostPort = f.health, f.health
	}
	for i, mount := range container.VolumeMounts {
		if mount.MountPath == dataDir {
			container.VolumeMounts[i].MountPath = f.dir
		}
	}
	for _, volume := range pod.Spec.Volumes {
		if volume.HostPath != nil && volume.HostPath.Path == dataDir {
			volume.HostPath.Path = f.dir
		}
	}
}

// command is the first etcd's, with other ports and another directory.
func (f further) command(command []string) []string {
	ports := strings.NewReplacer(":2379", ":"+f.client, ":2380", ":"+f.peer, ":2381", fmt.Sprint(":", f.health))
	var flags []string
	for _, flag := range command {
		name, _, _ := strings.Cut(flag, "=")
		switch {
		case hasFlag(f.flags, name):
			continue // a member that joined was started with another list
		case name == "--data-dir":
			flag = "--data-dir=" + f.dir
		}
		flags = append(flags, ports.Replace(flag))
	}
	return append(flags, f.flags...)
}

func hasFlag(flags []string, name string) bool {
	return slices.ContainsFunc(flags, func(flag string) bool { return strings.HasPrefix(flag, name+"=") })
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

func (n *Node) writeManifest(part Part, pod *corev1.Pod) error {
	raw, err := yaml.Marshal(pod)
	if err != nil {
		return err
	}
	return n.placeManifest(part, raw)
}

// placeManifest puts a manifest in place whole: kubelet reads the folder at any moment.
func (n *Node) placeManifest(part Part, raw []byte) error {
	temp := n.Path("/etc/kubernetes/" + string(part) + ".yaml.tmp")
	if err := os.WriteFile(temp, raw, 0o600); err != nil {
		return err
	}
	return os.Rename(temp, n.manifestPath(part))
}

func (n *Node) manifestPath(part Part) string {
	return filepath.Join(n.Path("/etc/kubernetes/manifests"), string(part)+".yaml")
}

package discover

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

const (
	kubeadmManifests  = "/etc/kubernetes/manifests"
	kubeletConfig     = "/var/lib/kubelet/config.yaml"
	rke2DataDir       = "/var/lib/rancher/rke2"
	rke2Config        = "/etc/rancher/rke2/config.yaml"
	rke2ManifestsPath = "/agent/pod-manifests"
)

// manifest is one static pod as it stands on the node's disk.
type manifest struct {
	path string // as this process opens it
	pod  corev1.Pod
}

// manifestDirs are where a node's kubelet looks for static pods: where its own
// configuration says, kubeadm's place, and RKE2's below its data directory.
func (d disk) manifestDirs() []string {
	dirs := []string{kubeadmManifests, d.rke2DataDir() + rke2ManifestsPath}
	var kubelet struct {
		StaticPodPath string `json:"staticPodPath"`
	}
	data, err := d.read(kubeletConfig)
	if err == nil && yaml.Unmarshal(data, &kubelet) == nil && kubelet.StaticPodPath != "" &&
		filepath.Clean(kubelet.StaticPodPath) != kubeadmManifests {
		dirs = append([]string{kubelet.StaticPodPath}, dirs...)
	}
	return dirs
}

// rke2DataDir is the data-dir of RKE2's config file and those beside it, the last one
// winning, else the default (docs.rke2.io, install/configuration).
func (d disk) rke2DataDir() string {
	found := rke2DataDir
	for _, name := range append([]string{d.at(rke2Config)}, d.glob(rke2Config+".d/*.yaml")...) {
		var config struct {
			DataDir string `json:"data-dir"`
		}
		data, err := os.ReadFile(name)
		if err == nil && yaml.Unmarshal(data, &config) == nil {
			found = cmp.Or(config.DataDir, found)
		}
	}
	return found
}

// readManifests reads the static pods of every place that exists. looked are those
// places' paths; notes name the files that are no pods. Only a place that is there and
// may not be read is an error.
func (d disk) readManifests(node string) (manifests []manifest, looked, notes []string, err error) {
	for _, dir := range d.manifestDirs() {
		dir = d.at(dir)
		looked = append(looked, dir)
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, looked, nil, fmt.Errorf("read static pod manifests: %w", bareOp(err))
		}
		for _, entry := range entries {
			if entry.IsDir() || strings.HasPrefix(entry.Name(), ".") { // as kubelet does (config/file.go)
				continue
			}
			m, err := readManifest(filepath.Join(dir, entry.Name()), node)
			switch {
			case errors.Is(err, fs.ErrPermission):
				return nil, looked, nil, err
			case err != nil:
				notes = append(notes, err.Error())
			default:
				manifests = append(manifests, *m)
			}
		}
	}
	return manifests, looked, notes, nil
}

// readManifest reads one static pod and gives it what kubelet adds: a namespace, the
// node's name, and the mark of a static pod (kubelet/config/common.go, applyDefaults).
func readManifest(name, node string) (*manifest, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read static pod manifest %w", bareOp(err))
	}
	m := &manifest{path: name}
	if err := yaml.Unmarshal(data, &m.pod); err != nil {
		return nil, fmt.Errorf("%s is no pod: %w", name, err)
	}
	if m.pod.Kind != "Pod" || len(m.pod.Spec.Containers) == 0 {
		return nil, fmt.Errorf("%s is no pod: its kind is %q, with %d containers", name, m.pod.Kind, len(m.pod.Spec.Containers))
	}
	m.pod.Namespace = cmp.Or(m.pod.Namespace, corev1.NamespaceDefault)
	m.pod.Name += "-" + node
	m.pod.Spec.NodeName = node
	if m.pod.Annotations == nil {
		m.pod.Annotations = map[string]string{}
	}
	m.pod.Annotations[corev1.MirrorPodAnnotationKey] = "manifest"
	return m, nil
}

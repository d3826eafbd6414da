package discover

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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
	for _, name := range append([]string{rke2Config}, d.glob(rke2Config+".d/*.yaml")...) {
		var config struct {
			DataDir string `json:"data-dir"`
		}
		data, err := d.read(name)
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
		looked = append(looked, d.at(dir))
		entries, err := os.ReadDir(d.at(dir))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, looked, nil, fmt.Errorf("read static pod manifests: %w", bareOp(err))
		}
		for _, entry := range entries {
			name := filepath.Join(dir, entry.Name())
			if strings.HasPrefix(entry.Name(), ".") || d.isDir(name) { // as kubelet does (config/file.go)
				continue
			}
			m, err := d.readManifest(name, node)
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

// onePerPod keeps the first manifest of each pod, and notes the others: kubelet may run
// either.
func onePerPod(manifests []manifest) (kept []manifest, notes []string) {
	for _, m := range manifests {
		at := slices.IndexFunc(kept, func(k manifest) bool { return k.pod.Namespace == m.pod.Namespace && k.pod.Name == m.pod.Name })
		switch {
		case at < 0:
			kept = append(kept, m)
		case !sameFile(kept[at].path, m.path):
			notes = append(notes, fmt.Sprintf("two manifests are of one pod, and kubelet may run either: %s, which is taken here, and %s: "+
				"move the one that is not meant out of its directory", kept[at].path, m.path))
		}
	}
	return kept, notes
}

// sameFile is true as well for one name of a file and another.
func sameFile(a, b string) bool {
	first, err := os.Stat(a)
	if err != nil {
		return false
	}
	second, err := os.Stat(b)
	return err == nil && os.SameFile(first, second)
}

// readManifest reads one static pod and gives it what kubelet adds: a namespace, the
// node's name, and the mark of a static pod (kubelet/config/common.go, applyDefaults).
func (d disk) readManifest(name, node string) (*manifest, error) {
	data, err := d.read(name)
	if err != nil {
		return nil, fmt.Errorf("static pod manifest: %w", err)
	}
	m := &manifest{path: d.at(name)}
	if err := yaml.Unmarshal(data, &m.pod); err != nil {
		return nil, fmt.Errorf("%s is no pod: %w", m.path, err)
	}
	if m.pod.Kind != "Pod" || len(m.pod.Spec.Containers) == 0 {
		return nil, fmt.Errorf("%s is no pod: its kind is %q, with %d containers", m.path, m.pod.Kind, len(m.pod.Spec.Containers))
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

package discover

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// file is a file of a container that comes from a Secret or a ConfigMap.
type file struct {
	secret, configMap string // one of them: the object's name
	key               string // of its data
}

// mounted takes the certificates that the cluster's own pods mount from Secrets: a client's
// that row knows, the server's, where it is good for clients as well, else one beside
// it that is.
func (r secretReader) mounted(ctx context.Context, cluster Cluster, row distro) (*Secret, error) {
	pod, container, err := r.somePod(ctx, cluster)
	if err != nil {
		return nil, err
	}
	settings := cluster.Pods[0].Settings
	client := row.client(newProcess(pod, container), settings)
	for _, candidate := range mountedPairs(pod, container, client, servedFiles(settings)) {
		found, err := r.pair(ctx, pod.Namespace, candidate[0], candidate[1])
		if err != nil && !apierrors.IsNotFound(err) { // an optional one may not be there
			return nil, err
		}
		if found == nil || !isForClients(found.Cert) {
			continue
		}
		if ca, ok := fileAt(pod, container, settings["trusted-ca-file"].Value); ok {
			data, err := r.data(ctx, pod.Namespace, ca)
			if err != nil {
				return nil, err
			}
			found.CA = data[ca.key]
		}
		return found, nil
	}
	return nil, fmt.Errorf("read certificates of pod %s/%s: %w", pod.Namespace, pod.Name, ErrNoCredentials)
}

// somePod gets the first of the cluster's pods that still exists.
func (r secretReader) somePod(ctx context.Context, cluster Cluster) (*corev1.Pod, *corev1.Container, error) {
	for _, p := range cluster.Pods {
		pod, err := r.client.CoreV1().Pods(p.Namespace).Get(ctx, p.Name, metav1.GetOptions{ResourceVersion: cached})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, nil, fmt.Errorf("get pod %s/%s: %w", p.Namespace, p.Name, err)
		}
		at := slices.IndexFunc(pod.Spec.Containers, func(c corev1.Container) bool { return c.Name == p.Container })
		if at >= 0 {
			return pod, &pod.Spec.Containers[at], nil
		}
	}
	return nil, nil, fmt.Errorf("read certificates of cluster %s: %w: no pod is left", cluster.Name, ErrNoCredentials)
}

// mountedPairs are the certificate files that may be a client's: the preferred ones first,
// then by name those of every Secret that the container mounts.
func mountedPairs(pod *corev1.Pod, container *corev1.Container, preferred ...clientFiles) [][2]file {
	var pairs [][2]file
	for _, files := range preferred {
		cert, certOK := fileAt(pod, container, files.cert)
		key, keyOK := fileAt(pod, container, files.key)
		if certOK && keyOK {
			pairs = append(pairs, [2]file{cert, key})
		}
	}
	for _, mount := range container.VolumeMounts {
		volume := volumeOf(pod, mount.Name)
		if volume == nil {
			continue
		}
		for _, source := range secretSources(volume) {
			for _, names := range pairNames {
				pairs = append(pairs, [2]file{{secret: source.secret, key: names[0]}, {secret: source.secret, key: names[1]}})
			}
		}
	}
	return pairs
}

// pair reads a certificate and its key; nil: the Secret is there, but not its keys.
func (r secretReader) pair(ctx context.Context, namespace string, cert, key file) (*Secret, error) {
	if cert.secret == "" || cert.secret != key.secret {
		return nil, nil
	}
	secret, err := r.secret(ctx, namespace, cert.secret)
	if err != nil {
		return nil, err
	}
	return pairAt(secret, cert.key, key.key), nil
}

func (r secretReader) data(ctx context.Context, namespace string, f file) (map[string][]byte, error) {
	if f.configMap != "" {
		return r.configMap(ctx, namespace, f.configMap)
	}
	secret, err := r.secret(ctx, namespace, f.secret)
	if err != nil {
		return nil, err
	}
	return secret.Data, nil
}

// fileAt finds the Secret or ConfigMap behind a path in container.
func fileAt(pod *corev1.Pod, container *corev1.Container, name string) (file, bool) {
	for _, mount := range container.VolumeMounts {
		inside, ok := below(mount.MountPath, name)
		volume := volumeOf(pod, mount.Name)
		if !ok || volume == nil {
			continue
		}
		inside = path.Join(mount.SubPath, inside)
		for _, source := range append(secretSources(volume), configMapSources(volume)...) {
			if f, ok := source.at(inside); ok {
				return f, true
			}
		}
	}
	return file{}, false
}

// below is name relative to dir; dir may be the file itself, mounted by its subPath.
func below(dir, name string) (string, bool) {
	inside, ok := strings.CutPrefix(path.Clean(name), path.Clean(dir))
	if !ok || inside != "" && inside[0] != '/' {
		return "", false
	}
	return strings.TrimPrefix(inside, "/"), true
}

func volumeOf(pod *corev1.Pod, name string) *corev1.Volume {
	at := slices.IndexFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == name })
	if at < 0 {
		return nil
	}
	return &pod.Spec.Volumes[at]
}

// source is an object behind a volume, with the paths that its keys get; no items:
// each key is its own path.
type source struct {
	secret, configMap string
	items             []corev1.KeyToPath
}

func (s source) at(name string) (file, bool) {
	f := file{secret: s.secret, configMap: s.configMap, key: name}
	if len(s.items) == 0 {
		return f, !strings.Contains(name, "/")
	}
	for _, item := range s.items {
		if item.Path == name {
			f.key = item.Key
			return f, true
		}
	}
	return f, false
}

func secretSources(volume *corev1.Volume) []source {
	var sources []source
	if volume.Secret != nil {
		sources = append(sources, source{secret: volume.Secret.SecretName, items: volume.Secret.Items})
	}
	if volume.Projected != nil {
		for _, p := range volume.Projected.Sources {
			if p.Secret != nil {
				sources = append(sources, source{secret: p.Secret.Name, items: p.Secret.Items})
			}
		}
	}
	return sources
}

func configMapSources(volume *corev1.Volume) []source {
	var sources []source
	if volume.ConfigMap != nil {
		sources = append(sources, source{configMap: volume.ConfigMap.Name, items: volume.ConfigMap.Items})
	}
	if volume.Projected != nil {
		for _, p := range volume.Projected.Sources {
			if p.ConfigMap != nil {
				sources = append(sources, source{configMap: p.ConfigMap.Name, items: p.ConfigMap.Items})
			}
		}
	}
	return sources
}

// isForClients: the certificate may prove a client. One without extended key usages
// is good for everything.
func isForClients(certificate []byte) bool {
	cert, err := leaf(certificate)
	if err != nil {
		return false
	}
	unrestricted := len(cert.ExtKeyUsage) == 0 && len(cert.UnknownExtKeyUsage) == 0
	return unrestricted || slices.ContainsFunc(cert.ExtKeyUsage, func(u x509.ExtKeyUsage) bool {
		return u == x509.ExtKeyUsageClientAuth || u == x509.ExtKeyUsageAny
	})
}

func leaf(certificate []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(certificate)
	if block == nil {
		return nil, errors.New("decode certificate: no PEM in it")
	}
	return x509.ParseCertificate(block.Bytes)
}

package discover

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// The files are where the node has them, whatever the container calls them; what comes
// from elsewhere than the node's disk is nowhere on it.
func TestNodeFiles(t *testing.T) {
	hostPath := func(path string) corev1.VolumeSource {
		return corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: path}}
	}
	const ca = "/etc/kubernetes/pki/etcd/ca.crt"
	for _, test := range []struct {
		name   string
		volume corev1.VolumeSource
		mount  corev1.VolumeMount
		ca     string
		want   *NodeFiles
	}{
		{"kubeadm's", hostPath("/etc/kubernetes/pki/etcd"), corev1.VolumeMount{MountPath: "/etc/kubernetes/pki/etcd"}, ca,
			&NodeFiles{ca, "/etc/kubernetes/pki/etcd/healthcheck-client.crt", "/etc/kubernetes/pki/etcd/healthcheck-client.key"}},
		{"another folder of the node's", hostPath("/srv/pki"), corev1.VolumeMount{MountPath: "/etc/kubernetes/pki/etcd/"}, ca,
			&NodeFiles{"/srv/pki/ca.crt", "/srv/pki/healthcheck-client.crt", "/srv/pki/healthcheck-client.key"}},
		{"a part of a volume", hostPath("/srv"), corev1.VolumeMount{MountPath: "/etc/kubernetes/pki", SubPath: "pki"}, ca,
			&NodeFiles{"/srv/pki/etcd/ca.crt", "/srv/pki/etcd/healthcheck-client.crt", "/srv/pki/etcd/healthcheck-client.key"}},
		{"a Secret", corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "etcd-certs"}}, corev1.VolumeMount{MountPath: "/etc/kubernetes/pki/etcd"}, ca, nil},
		{"another folder", hostPath("/etc/kubernetes/pki/etcd"), corev1.VolumeMount{MountPath: "/etc/kubernetes/pki/etcd2"}, ca, nil},
		{"no authority", hostPath("/etc/kubernetes/pki/etcd"), corev1.VolumeMount{MountPath: "/etc/kubernetes/pki/etcd"}, "", nil},
	} {
		test.mount.Name = "certs"
		container := &corev1.Container{VolumeMounts: []corev1.VolumeMount{test.mount}}
		pod := &corev1.Pod{Spec: corev1.PodSpec{Volumes: []corev1.Volume{{Name: "certs", VolumeSource: test.volume}}}}
		got := kubeadmNodeFiles(newProcess(pod, container), Settings{"trusted-ca-file": {Value: test.ca}})
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

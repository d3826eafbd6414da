package relay

import (
	"errors"
	"fmt"
	"net"
	"path"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Place is a node, and what a relay may do there.
type Place struct {
	Namespace, Node string
	// CA, Cert and Key are files on the node's disk: the members' authority, and a client
	// certificate with its key.
	CA, Cert, Key string
	// Members are addresses that streams may go to ("10.0.0.1:2379"): those of the node's
	// own member. Peers may be probed.
	Members, Peers []string
}

// The labels of every pod of ours, by which a later run knows them.
const (
	nameLabel    = "app.kubernetes.io/name"
	managedLabel = "app.kubernetes.io/managed-by"
	podName      = "kubectl-etcd-relay"
	helperName   = "kubectl-etcd-helper"
	managedBy    = "kubectl-etcd"
	selector     = nameLabel + " in (" + podName + "," + helperName + ")," + managedLabel + "=" + managedBy
)

const (
	container = "relay"
	// inPod is where the files are, each mounted by itself.
	inPod = "/etcd"
	// overtime is what the kubelet gives a relay beyond its lifetime: it ends by itself.
	overtime = 30 * time.Second
)

// validate refuses what would make a relay useless.
func (p Place) validate() error {
	if len(p.Members) == 0 {
		return errors.New("the member's address is not known")
	}
	for _, address := range append(append([]string{}, p.Members...), p.Peers...) {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return fmt.Errorf("%q is no address: %w", address, err)
		}
	}
	return p.validateFiles()
}

// validateFiles refuses what would give a pod more than three files.
func (p Place) validateFiles() error {
	if p.Node == "" || p.Namespace == "" {
		return errors.New("the member's node or namespace is not known")
	}
	for _, file := range []string{p.CA, p.Cert, p.Key} {
		if !path.IsAbs(file) || path.Clean(file) != file || strings.HasSuffix(file, "/") {
			return fmt.Errorf("%q is no path of a file on the node", file)
		}
	}
	return nil
}

// newPod is the pod of one relay.
func newPod(name string, place Place, image string, caller Pin, lifetime time.Duration) *corev1.Pod {
	pod := filesPod(name, podName, place, lifetime+overtime)
	relay := &pod.Spec.Containers[0]
	relay.Name, relay.Image, relay.ImagePullPolicy = container, image, corev1.PullIfNotPresent
	relay.Args = args(place, caller, lifetime)
	return pod
}

// filesPod is a pod of ours but for what it runs: nothing but three files of the node, one
// image, and the network of any pod. It runs as root without a single capability, because
// the key's file is root's own, and the node is chosen here, since no scheduler may be left
// to do it.
func filesPod(name, kind string, place Place, deadline time.Duration) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: place.Namespace,
			Labels: map[string]string{nameLabel: kind, managedLabel: managedBy},
		},
		Spec: corev1.PodSpec{
			NodeName:                      place.Node,
			RestartPolicy:                 corev1.RestartPolicyNever,
			ActiveDeadlineSeconds:         new(int64(deadline / time.Second)),
			TerminationGracePeriodSeconds: new(int64(1)),
			AutomountServiceAccountToken:  new(bool),
			EnableServiceLinks:            new(bool),
			DNSPolicy:                     corev1.DNSDefault,
			Tolerations:                   []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			SecurityContext: &corev1.PodSecurityContext{
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{{
				SecurityContext: &corev1.SecurityContext{
					RunAsUser: new(int64), RunAsGroup: new(int64),
					AllowPrivilegeEscalation: new(bool), ReadOnlyRootFilesystem: new(true),
					Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
				Resources: corev1.ResourceRequirements{
					Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("32Mi")},
					Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("512Mi")},
				},
				TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
			}},
		},
	}
	for _, file := range []struct{ name, path string }{{"ca", place.CA}, {"cert", place.Cert}, {"key", place.Key}} {
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: file.name, VolumeSource: corev1.VolumeSource{
			HostPath: &corev1.HostPathVolumeSource{Path: file.path, Type: new(corev1.HostPathFile)},
		}})
		pod.Spec.Containers[0].VolumeMounts = append(pod.Spec.Containers[0].VolumeMounts, corev1.VolumeMount{
			Name: file.name, MountPath: path.Join(inPod, file.name), ReadOnly: true,
		})
	}
	return pod
}

// args are those of "kubectl-etcd relay".
func args(place Place, caller Pin, lifetime time.Duration) []string {
	args := []string{
		"relay",
		"--caller=" + caller.String(),
		"--lifetime=" + lifetime.String(),
		"--cacert=" + path.Join(inPod, "ca"),
		"--cert=" + path.Join(inPod, "cert"),
		"--key=" + path.Join(inPod, "key"),
	}
	for _, member := range place.Members {
		args = append(args, "--member="+member)
	}
	for _, peer := range place.Peers {
		args = append(args, "--peer="+peer)
	}
	return args
}

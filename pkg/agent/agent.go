// Package agent holds the objects that run the continuous backup inside a cluster.
//
// Its one idea: a backup that hangs on somebody's laptop is none. One pod on a control-plane
// node follows etcd with that node's own certificates, which it gets one file each, and
// needs no right in Kubernetes at all.
package agent

import (
	"path"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Options say what the agent backs up, and to where.
type Options struct {
	Namespace string
	Name      string
	Image     string
	// Args are the command's own: kubectl-etcd backup --follow …, or defrag --auto …
	Args []string
	// CA, Cert and Key are files on the node.
	CA, Cert, Key string
	// Folder is the archive where it is a folder of the node; empty: it is elsewhere.
	Folder string
	// EnvFrom is a Secret in Namespace with what the object store wants, as AWS_ACCESS_KEY_ID;
	// empty: none.
	EnvFrom string
	// SignKey is a Secret in Namespace with the writer's key under "sign-key"; empty: nothing
	// is signed.
	SignKey string
	// NodeSelector chooses the node; empty: any of the control plane.
	NodeSelector map[string]string
}

// Where things are in the container. Scratch holds what waits for the store, encrypted.
const (
	CertDir = "/etcd-certs"
	KeyDir  = "/writer-key"
	Scratch = "/scratch"
)

// Objects are what has to be applied.
func Objects(o Options) []runtime.Object {
	labels := map[string]string{"app.kubernetes.io/name": "kubectl-etcd-agent", "app.kubernetes.io/instance": o.Name}
	one, none := int32(1), int32(0)
	return []runtime.Object{&appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: o.Name, Labels: labels},
		Spec: appsv1.DeploymentSpec{
			Replicas: &one, RevisionHistoryLimit: &none,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: podSpec(o, backup(o), flush)},
		},
	}}
}

// flush is how many seconds the backup gets to put what was captured before it ends.
const flush = 60

func podSpec(o Options, c corev1.Container, grace int64) corev1.PodSpec {
	no, root := false, int64(0)
	selector := o.NodeSelector
	if len(selector) == 0 {
		selector = map[string]string{"node-role.kubernetes.io/control-plane": ""}
	}
	return corev1.PodSpec{
		AutomountServiceAccountToken: &no, EnableServiceLinks: &no,
		HostNetwork: true, DNSPolicy: corev1.DNSClusterFirstWithHostNet, // the members' addresses are the nodes'
		NodeSelector:                  selector,
		Tolerations:                   []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
		PriorityClassName:             "system-cluster-critical",
		TerminationGracePeriodSeconds: &grace,
		SecurityContext:               &corev1.PodSecurityContext{RunAsUser: &root, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
		Containers:                    []corev1.Container{c},
		Volumes:                       volumes(o),
	}
}

// container runs a command of ours with the node's certificates.
func container(o Options, name string, command ...string) corev1.Container {
	no, yes := false, true
	command = append(command, "--cacert", path.Join(CertDir, "ca.crt"), "--cert", path.Join(CertDir, "client.crt"), "--key", path.Join(CertDir, "client.key"))
	return corev1.Container{
		Name: name, Image: o.Image, ImagePullPolicy: corev1.PullIfNotPresent,
		Args: append(command, o.Args...),
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes,
			Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("50m"), corev1.ResourceMemory: resource.MustParse("128Mi")},
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")},
		},
		VolumeMounts: []corev1.VolumeMount{
			{Name: "ca", MountPath: path.Join(CertDir, "ca.crt"), ReadOnly: true},
			{Name: "cert", MountPath: path.Join(CertDir, "client.crt"), ReadOnly: true},
			{Name: "key", MountPath: path.Join(CertDir, "client.key"), ReadOnly: true},
			{Name: "scratch", MountPath: Scratch},
		},
	}
}

func backup(o Options) corev1.Container {
	c := container(o, "backup", "backup", "--follow", "--scratch-dir", Scratch)
	if o.Folder != "" {
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "archive", MountPath: o.Folder})
	}
	if o.SignKey != "" {
		c.Args = append(c.Args, "--sign-key", path.Join(KeyDir, "sign-key"))
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "sign-key", MountPath: KeyDir, ReadOnly: true})
	}
	if o.EnvFrom != "" {
		c.EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: o.EnvFrom}}}}
	}
	return c
}

// volumes are the node's three files, one by one: beside them lies the authority's own key.
func volumes(o Options) []corev1.Volume {
	file := func(name, path string) corev1.Volume {
		kind := corev1.HostPathFile
		return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: path, Type: &kind}}}
	}
	list := []corev1.Volume{
		file("ca", o.CA), file("cert", o.Cert), file("key", o.Key),
		{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
	}
	if o.Folder != "" {
		kind := corev1.HostPathDirectoryOrCreate
		list = append(list, corev1.Volume{Name: "archive", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: o.Folder, Type: &kind}}})
	}
	if o.SignKey != "" {
		mode := int32(0o400)
		list = append(list, corev1.Volume{Name: "sign-key", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: o.SignKey, DefaultMode: &mode}}})
	}
	return list
}

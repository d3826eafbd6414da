package agent

import (
	"path"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// The pod gets three files of the node and no folder beside the archive's, no token, no
// capability, and what it is asked to do.
func TestObjects(t *testing.T) {
	objects := Objects(Options{
		Namespace: "kube-system", Name: "agent", Image: "image@sha256:0", Args: []string{"--archive", "/mnt/x"},
		CA: "/etc/kubernetes/pki/etcd/ca.crt", Cert: "/etc/kubernetes/pki/etcd/client.crt", Key: "/etc/kubernetes/pki/etcd/client.key",
		Folder: "/mnt/x", EnvFrom: "credentials",
	})
	if len(objects) != 1 {
		t.Fatalf("%d objects, want one", len(objects))
	}
	d := objects[0].(*appsv1.Deployment)
	pod := d.Spec.Template.Spec
	if d.Spec.Strategy.Type != appsv1.RecreateDeploymentStrategyType || *d.Spec.Replicas != 1 {
		t.Error("two of them may run at once")
	}
	if *pod.AutomountServiceAccountToken {
		t.Error("it has a token")
	}
	for _, v := range pod.Volumes {
		if h := v.HostPath; h != nil && *h.Type != corev1.HostPathFile && h.Path != "/mnt/x" {
			t.Errorf("it gets the folder %s", h.Path)
		}
	}
	c := pod.Containers[0]
	if s := c.SecurityContext; *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || s.Capabilities.Drop[0] != "ALL" || len(s.Capabilities.Add) > 0 {
		t.Errorf("it may do %+v", s)
	}
	mounted := map[string]bool{}
	for _, m := range c.VolumeMounts {
		mounted[m.MountPath] = m.ReadOnly
	}
	args := strings.Join(c.Args, " ")
	for _, name := range []string{"ca.crt", "client.crt", "client.key"} {
		if file := path.Join(CertDir, name); !mounted[file] || !strings.Contains(args, file) {
			t.Errorf("%s is not mounted to be read, or not used: %s", file, args)
		}
	}
	if !strings.HasPrefix(args, "backup --follow ") || !strings.HasSuffix(args, "--archive /mnt/x") {
		t.Errorf("it runs %s", args)
	}
	if c.EnvFrom[0].SecretRef.Name != "credentials" {
		t.Errorf("its environment is of %+v", c.EnvFrom)
	}
}

// Without a folder of the node the archive is elsewhere, and nothing can be written there.
func TestObjectsWithoutAFolder(t *testing.T) {
	pod := Objects(Options{CA: "/a", Cert: "/b", Key: "/c"})[0].(*appsv1.Deployment).Spec.Template.Spec
	for _, m := range pod.Containers[0].VolumeMounts {
		if !m.ReadOnly && m.MountPath != Scratch {
			t.Errorf("%s can be written to", m.MountPath)
		}
	}
}

// The key to sign with comes from a Secret, and only where it is asked for.
func TestObjectsSigning(t *testing.T) {
	pod := Objects(Options{SignKey: "writer"})[0].(*appsv1.Deployment).Spec.Template.Spec
	volume, mount := pod.Volumes[len(pod.Volumes)-1], pod.Containers[0].VolumeMounts[4]
	if volume.Secret == nil || volume.Secret.SecretName != "writer" || mount.Name != volume.Name || mount.MountPath != KeyDir || !mount.ReadOnly {
		t.Errorf("the key is %+v, mounted as %+v", volume, mount)
	}
	if args := strings.Join(pod.Containers[0].Args, " "); !strings.HasSuffix(args, "--sign-key /writer-key/sign-key") {
		t.Errorf("it runs %s", args)
	}
	if pod = Objects(Options{})[0].(*appsv1.Deployment).Spec.Template.Spec; len(pod.Volumes) != 4 || slices.Contains(pod.Containers[0].Args, "--sign-key") {
		t.Errorf("unasked it signs: %+v", pod)
	}
}

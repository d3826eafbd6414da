package relay

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the golden files anew")

var kubeadmPlace = Place{
	Namespace: "kube-system", Node: "node0",
	CA:      "/etc/kubernetes/pki/etcd/ca.crt",
	Cert:    "/etc/kubernetes/pki/etcd/healthcheck-client.crt",
	Key:     "/etc/kubernetes/pki/etcd/healthcheck-client.key",
	Members: []string{"10.0.0.1:2379"},
	Peers:   []string{"10.0.0.1:2380", "10.0.0.2:2380"},
}

func TestPod(t *testing.T) {
	got, err := yaml.Marshal(newPod("kubectl-etcd-relay-abc", kubeadmPlace, "example.com/relay@sha256:0", Pin{}, time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "pod.yaml")
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("pod (-want +got):\n%s", diff)
	}
}

// What the pod may never be, whatever else changes.
func TestPodIsHarmless(t *testing.T) {
	spec := newPod("x", kubeadmPlace, "i", Pin{}, time.Hour).Spec
	if spec.HostNetwork || spec.HostPID || spec.HostIPC || *spec.AutomountServiceAccountToken || spec.ServiceAccountName != "" {
		t.Errorf("it is more than a pod: %+v", spec)
	}
	if len(spec.Volumes) != 3 || len(spec.Containers) != 1 {
		t.Fatalf("%d volumes, %d containers", len(spec.Volumes), len(spec.Containers))
	}
	for i, volume := range spec.Volumes {
		if volume.HostPath == nil || *volume.HostPath.Type != corev1.HostPathFile || filepath.Ext(volume.HostPath.Path) == "" {
			t.Errorf("volume %s is no single file: %+v", volume.Name, volume.HostPath)
		}
		if mount := spec.Containers[0].VolumeMounts[i]; !mount.ReadOnly || mount.Name != volume.Name {
			t.Errorf("mount %+v", mount)
		}
	}
	security := spec.Containers[0].SecurityContext
	if !*security.ReadOnlyRootFilesystem || *security.AllowPrivilegeEscalation || security.Privileged != nil ||
		len(security.Capabilities.Drop) != 1 || security.Capabilities.Drop[0] != "ALL" || len(security.Capabilities.Add) > 0 {
		t.Errorf("security %+v", security)
	}
}

func TestPlaceValidate(t *testing.T) {
	if err := kubeadmPlace.validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Place){
		"a folder":        func(p *Place) { p.CA = "/etc/kubernetes/pki/etcd/" },
		"a relative path": func(p *Place) { p.Key = "ca.crt" },
		"a way up":        func(p *Place) { p.Cert = "/etc/kubernetes/pki/etcd/../ca.crt" },
		"no file":         func(p *Place) { p.Cert = "" },
		"the root":        func(p *Place) { p.Cert = "/" },
		"no node":         func(p *Place) { p.Node = "" },
		"no namespace":    func(p *Place) { p.Namespace = "" },
		"no member":       func(p *Place) { p.Members = nil },
		"no port":         func(p *Place) { p.Peers = []string{"10.0.0.1"} },
	} {
		place := kubeadmPlace
		change(&place)
		if err := place.validate(); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

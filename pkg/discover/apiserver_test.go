package discover

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

func TestReadAPIServer(t *testing.T) {
	for _, test := range []struct {
		name    string
		command []string
		want    *APIServer // nil: it is none
	}{
		{"defaults", []string{"kube-apiserver", "--etcd-servers=https://127.0.0.1:2379"}, &APIServer{
			Pod: "a", Node: "n", URL: "https://10.0.0.9:6443", EtcdServers: []string{"https://127.0.0.1:2379"}, EtcdPrefix: "/registry",
			Flags: map[string]string{"etcd-servers": "https://127.0.0.1:2379"},
		}},
		{"all set, behind go-runner", []string{
			"/go-runner", "--log-file=/x", "--also-stdout=true", "/usr/local/bin/kube-apiserver",
			"--advertise-address=fd00::1", "--secure-port", "443", "--etcd-prefix=/k8s",
			"--etcd-servers=https://a:1,https://b:1", "--etcd-servers=https://c:1",
			"--etcd-servers-overrides=/events#https://a:2;https://b:2,coordination.k8s.io/leases#https://a:3",
			"--v=1", "--v=2",
		}, &APIServer{
			Pod: "a", Node: "n", URL: "https://[fd00::1]:443", EtcdPrefix: "/k8s",
			EtcdServers: []string{"https://a:1", "https://b:1", "https://c:1"},
			EtcdOverrides: map[string][]string{
				"/events": {"https://a:2", "https://b:2"}, "coordination.k8s.io/leases": {"https://a:3"},
			},
			Flags: map[string]string{
				"advertise-address": "fd00::1", "secure-port": "443", "etcd-prefix": "/k8s", "v": "2",
				"etcd-servers":           "https://a:1,https://b:1,https://c:1",
				"etcd-servers-overrides": "/events#https://a:2;https://b:2,coordination.k8s.io/leases#https://a:3",
			},
		}},
		{"in a script", []string{"/bin/sh", "-c", "exec kube-apiserver --secure-port=1 >/log"}, &APIServer{
			Pod: "a", Node: "n", URL: "https://10.0.0.9:1", EtcdPrefix: "/registry", Flags: map[string]string{"secure-port": "1"},
		}},
		{"another program", []string{"kube-scheduler", "--x=kube-apiserver"}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			pod := corev1.Pod{}
			pod.Name, pod.Namespace, pod.Spec.NodeName, pod.Status.HostIP = "a", systemNamespace, "n", "10.0.0.9"
			pod.Spec.Containers = []corev1.Container{{Name: "c", Command: test.command}}
			got := readAPIServers([]corev1.Pod{pod})
			var want []APIServer
			if test.want != nil {
				want = []APIServer{*test.want}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A tenant's API server is not this Kubernetes'.
func TestAPIServersOfOtherNamespaces(t *testing.T) {
	pod := corev1.Pod{}
	pod.Namespace = "tenant"
	pod.Spec.Containers = []corev1.Container{{Command: []string{"kube-apiserver"}}}
	if got := readAPIServers([]corev1.Pod{pod}); got != nil {
		t.Errorf("got %v", got)
	}
}

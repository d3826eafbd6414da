package discover

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
)

func someNode(version, osImage string, labels ...string) *corev1.Node {
	node := &corev1.Node{}
	node.Name, node.Labels = "n1", map[string]string{}
	for _, label := range labels {
		name, value, _ := strings.Cut(label, "=")
		node.Labels[name] = value
	}
	node.Status.NodeInfo.KubeletVersion, node.Status.NodeInfo.OSImage = version, osImage
	return node
}

// apiServersOnly are the API server pods of the kubeadm fixture, with other etcd servers.
func apiServersOnly(t *testing.T, servers string) []runtime.Object {
	t.Helper()
	objects := readFixture(t, "kubeadm/cluster.yaml")
	setFlag(objects, "kube-apiserver", "etcd-servers", servers)
	var kept []runtime.Object
	for _, pod := range podsOf(objects) {
		if strings.HasPrefix(pod.Name, "kube-apiserver") {
			kept = append(kept, pod)
		}
	}
	return kept
}

func TestNotFound(t *testing.T) {
	const controlPlane = "node-role.kubernetes.io/control-plane="
	for _, test := range []struct {
		name            string
		options         Options
		objects         []runtime.Object
		reason, instead string // parts of them
	}{
		{"EKS", Options{}, []runtime.Object{someNode("v1.35.1-eks-1b3fd7", "Amazon Linux 2023")}, "managed control plane (EKS)", "Velero"},
		{"EKS by label", Options{}, []runtime.Object{someNode("v1.35.1", "", "eks.amazonaws.com/nodegroup=a")}, "(EKS)", "Velero"},
		{"GKE", Options{}, []runtime.Object{someNode("v1.35.1-gke.100", "COS")}, "(GKE)", "Velero"},
		{"AKS", Options{}, []runtime.Object{someNode("v1.35.1", "Ubuntu", "kubernetes.azure.com/cluster=a")}, "(AKS)", "Velero"},
		{"DigitalOcean", Options{}, []runtime.Object{someNode("v1.35.1", "Debian", "doks.digitalocean.com/node-id=a")}, "(DigitalOcean)", "Velero"},
		{"k3s", Options{}, []runtime.Object{someNode("v1.35.1+k3s1", "Debian", controlPlane)}, "k3s", "k3s etcd-snapshot save"},
		{"k0s", Options{}, []runtime.Object{someNode("v1.35.1+k0s", "Debian")}, "k0s", "k0s backup"},
		{"Talos", Options{}, []runtime.Object{someNode("v1.35.1", "Talos (v1.12.0)", controlPlane)}, "Talos", "talosctl -n NODE etcd snapshot"},
		{"MicroK8s", Options{}, []runtime.Object{someNode("v1.35.1", "Ubuntu", "microk8s.io/cluster=true")}, "dqlite", "microk8s dbctl backup"},
		{"system service", Options{}, []runtime.Object{someNode("v1.35.1", "Ubuntu", controlPlane)}, "system services", "--endpoints https://127.0.0.1:2379"},
		{"hosted", Options{}, []runtime.Object{someNode("v1.35.1", "Ubuntu")}, "hosted elsewhere", "--endpoints"},
		{"Gardener", Options{}, []runtime.Object{someNode("v1.35.1", "Garden Linux", "worker.gardener.cloud/pool=a")}, "shoot of Gardener", "seed's kubeconfig"},
		{"HyperShift", Options{}, []runtime.Object{someNode("v1.35.1", "RHCOS", "hypershift.openshift.io/nodePool=a")}, "HyperShift", "-n NAMESPACE"},
		{"external etcd, the node's files", Options{}, apiServersOnly(t, "https://10.9.0.1:2379"), "external etcd",
			"on node node0, which has the files: kubectl etcd status --endpoints https://10.9.0.1:2379 --cacert /etc/kubernetes/pki/etcd/ca.crt " +
				"--cert /etc/kubernetes/pki/apiserver-etcd-client.crt"},
		{"external etcd", Options{}, apiServersOnly(t, "https://10.9.0.2:2379,https://10.9.0.1:2379"),
			"external etcd at https://10.9.0.1:2379,https://10.9.0.2:2379", "--endpoints https://10.9.0.1:2379,https://10.9.0.2:2379"},
		{"etcd of the node", Options{}, apiServersOnly(t, "https://127.0.0.1:2379"), "no pod", "on a control plane node"},
		{"kine", Options{}, apiServersOnly(t, "unixs:///var/lib/rancher/rke2/server/kine.sock"), "kine", "database"},
		{"namespace", Options{Namespace: "shop"}, readFixture(t, "generic/other.yaml"), "no pod in namespace shop", "--all-etcd"},
		{"all", Options{All: true}, []runtime.Object{someNode("v1.35.1-eks-1b3fd7", "")}, "(EKS)", "Velero"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := findIn(t, test.options, test.objects...)
			var absent *NotFoundError
			if !errors.As(err, &absent) {
				t.Fatalf("error: %v", err)
			}
			if !strings.Contains(absent.Reason, test.reason) || !strings.Contains(absent.Instead, test.instead) {
				t.Errorf("reason: %s\ninstead: %s", absent.Reason, absent.Instead)
			}
		})
	}
}

// Where it may be that etcd is just out of sight, the answer is not "there is none".
func TestNotFoundNeedsRights(t *testing.T) {
	client := fake.NewClientset(someNode("v1.35.1", "Debian", "node-role.kubernetes.io/control-plane="))
	forbid(client, "list", "pods", openshiftNamespace)
	if _, err := Find(t.Context(), client, Options{}); !apierrors.IsForbidden(err) {
		t.Errorf("error: %v", err)
	}
	client = fake.NewClientset(someNode("v1.35.1-eks-1b3fd7", ""))
	forbid(client, "list", "pods", openshiftNamespace)
	var absent *NotFoundError
	if _, err := Find(t.Context(), client, Options{}); !errors.As(err, &absent) {
		t.Errorf("error: %v", err)
	}
}

package discover

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime"
)

func TestFindGolden(t *testing.T) {
	for _, test := range []struct {
		dir     string
		options Options
	}{
		{"kubeadm", Options{}},
		{"kubeadm-events", Options{}},
		{"kubeadm-ipv6", Options{}},
		{"capi", Options{}},
		{"rke2", Options{}},
		{"openshift", Options{}},
		{"kops", Options{}},
		{"kind", Options{}},
		{"minikube", Options{}},
		{"hypershift", Options{All: true}},
		{"druid", Options{All: true}},
		{"kamaji", Options{All: true}},
		{"vcluster", Options{All: true}},
		{"generic", Options{All: true}},
		{"bitnami", Options{All: true}},
		{"apisix", Options{All: true}},
		{"milvus", Options{All: true}},
		{"etcd-operator", Options{All: true}},
		{"cozystack", Options{All: true}},
		{"cilium", Options{All: true}},
	} {
		t.Run(test.dir, func(t *testing.T) {
			found := mustFind(t, test.options, readFixture(t, test.dir+"/cluster.yaml")...)
			checkGolden(t, test.dir+"/found.json", found)
		})
	}
}

// Each row takes the pods of its own fixture, and none of the others' or of those that
// only look like it.
func TestRows(t *testing.T) {
	rows := distros()
	for _, test := range []struct {
		fixture, row, container string
		pods                    int // that the row takes
	}{
		{"kubeadm/cluster.yaml", "kubeadm", "etcd", 3},
		{"kubeadm-events/cluster.yaml", "kubeadm", "etcd", 6},
		{"capi/cluster.yaml", "kubeadm", "etcd", 1},
		{"rke2/cluster.yaml", "rke2", "etcd", 3},
		{"openshift/cluster.yaml", "openshift", "etcd", 3},
		{"kops/cluster.yaml", "kops", "etcd-manager", 7},
		{"kind/cluster.yaml", "kubeadm", "etcd", 1},
		{"minikube/cluster.yaml", "kubeadm", "etcd", 1},
		{"hypershift/cluster.yaml", "hypershift", "etcd", 3},
		{"druid/cluster.yaml", "druid", "etcd", 3},
		{"kamaji/cluster.yaml", "kamaji", "etcd", 3},
		{"vcluster/cluster.yaml", "vcluster", "etcd", 3},
		{"generic/cluster.yaml", "generic", "etcd", 4},
		{"bitnami/cluster.yaml", "generic", "etcd", 3},
		{"apisix/cluster.yaml", "generic", "etcd", 3},
		{"milvus/cluster.yaml", "generic", "etcd", 1},
		{"etcd-operator/cluster.yaml", "generic", "etcd", 3},
		{"cozystack/cluster.yaml", "generic", "etcd", 3},
		{"cilium/cluster.yaml", "generic", "etcd", 2},
		// What only looks like the row's; another row may know it.
		{"kubeadm/other.yaml", "generic", "etcd", 1},
		{"rke2/other.yaml", "kubeadm", "etcd", 1},
		{"openshift/other.yaml", "", "", 0},
		{"kops/other.yaml", "", "", 0},
		{"kubeadm-events/other.yaml", "", "", 0},
		{"kubeadm-ipv6/other.yaml", "", "", 0},
		{"capi/other.yaml", "generic", "etcd", 1},
		{"kind/other.yaml", "", "", 0},
		{"minikube/other.yaml", "", "", 0},
		{"hypershift/other.yaml", "generic", "etcd", 1},
		{"druid/other.yaml", "", "", 0},
		{"kamaji/other.yaml", "generic", "etcd", 1},
		{"vcluster/other.yaml", "", "", 0},
		{"bitnami/other.yaml", "", "", 0},
		{"apisix/other.yaml", "", "", 0},
		{"milvus/other.yaml", "", "", 0},
		{"etcd-operator/other.yaml", "", "", 0},
		{"cozystack/other.yaml", "", "", 0},
		{"cilium/other.yaml", "", "", 0},
		{"generic/other.yaml", "", "", 0},
	} {
		t.Run(test.fixture, func(t *testing.T) {
			taken := 0
			for _, pod := range podsOf(readFixture(t, test.fixture)) {
				row, container := recognise(rows, pod)
				if row == nil {
					continue
				}
				taken++
				if row.id != test.row || container.Name != test.container {
					t.Errorf("pod %s: row %s, container %s", pod.Name, row.id, container.Name)
				}
			}
			if taken != test.pods {
				t.Errorf("took %d pods, want %d", taken, test.pods)
			}
		})
	}
}

func TestRowsAreComplete(t *testing.T) {
	for _, row := range distros() {
		if row.id == "" || row.container == nil || row.settings == nil || row.serving == nil ||
			row.exec == nil || row.cluster == nil || row.owner == nil || row.onNode == nil ||
			row.configMap == nil || row.client == nil || row.nodeFiles == nil || row.secrets == nil {
			t.Errorf("row %q has a func missing", row.id)
		}
		if row.controlPlane && len(row.places) == 0 {
			t.Errorf("row %q: nothing says where its pods are", row.id)
		}
	}
}

func TestExec(t *testing.T) {
	const certs = "/etc/kubernetes/pki/etcd/"
	const openshiftEndpoint = "ETCDCTL_ENDPOINTS=https://127.0.0.1:2379"
	for _, test := range []struct {
		dir       string
		container string
		want      []string
	}{
		{"kubeadm", "etcd", []string{
			"etcdctl", "--endpoints=https://127.0.0.1:2379", "--cacert=" + certs + "ca.crt",
			"--cert=" + certs + "server.crt", "--key=" + certs + "server.key", "--command-timeout=10s",
		}},
		{"kubeadm-ipv6", "etcd", []string{
			"etcdctl", "--endpoints=https://[::1]:2379", "--cacert=/var/lib/minikube/certs/etcd/ca.crt",
			"--cert=/var/lib/minikube/certs/etcd/server.crt", "--key=/var/lib/minikube/certs/etcd/server.key",
			"--command-timeout=10s",
		}},
		{"rke2", "etcd", []string{
			"etcdctl", "--endpoints=https://127.0.0.1:2379", "--cacert=/var/lib/rancher/rke2/server/tls/etcd/server-ca.crt",
			"--cert=/var/lib/rancher/rke2/server/tls/etcd/server-client.crt",
			"--key=/var/lib/rancher/rke2/server/tls/etcd/server-client.key", "--command-timeout=10s",
		}},
		{"openshift", "etcdctl", []string{"env", openshiftEndpoint, "etcdctl", "--command-timeout=10s"}},
		{"kops", "", nil},
		{"druid", "", nil},
		{"cilium", "", nil},
		{"hypershift", "etcd", []string{
			"etcdctl", "--endpoints=https://localhost:2379", "--cacert=/etc/etcd/tls/etcd-ca/ca.crt",
			"--cert=/etc/etcd/tls/client/etcd-client.crt", "--key=/etc/etcd/tls/client/etcd-client.key", "--command-timeout=10s",
		}},
		{"vcluster", "etcd", []string{
			"etcdctl", "--endpoints=https://127.0.0.1:2379", "--cacert=/run/config/pki/etcd-ca.crt",
			"--cert=/run/config/pki/etcd-server.crt", "--key=/run/config/pki/etcd-server.key", "--command-timeout=10s",
		}},
		{"apisix", "etcd", []string{"etcdctl", "--endpoints=http://127.0.0.1:2379", "--command-timeout=10s"}},
	} {
		pod := mustFind(t, Options{All: true}, readFixture(t, test.dir+"/cluster.yaml")...).Clusters[0].Pods[0]
		if !slices.Equal(pod.Exec, test.want) || pod.ExecContainer != test.container {
			t.Errorf("%s: exec in %q %q\nwant in %q %q", test.dir, pod.ExecContainer, pod.Exec, test.container, test.want)
		}
	}
}

// Tenants' etcd is not this Kubernetes' own: it is found where it was asked for.
func TestTenantsAreAskedFor(t *testing.T) {
	for _, test := range []struct{ dir, namespace, name string }{
		{"hypershift", "clusters-prod", "etcd"},
		{"druid", "shoot--garden--prod", "etcd-main"},
		{"kamaji", "kamaji-system", "kamaji-etcd"},
		{"vcluster", "team-a", "dev-etcd"},
		{"bitnami", "store", "store-etcd"},
		{"apisix", "ingress-apisix", "apisix-etcd"},
		{"milvus", "milvus", "milvus-etcd"},
		{"etcd-operator", "store", "store"},
		{"cozystack", "tenants", "tenant"},
	} {
		objects := append(readFixture(t, "kubeadm/cluster.yaml"), podObjects(readFixture(t, test.dir+"/cluster.yaml"))...)
		for _, look := range []struct {
			options Options
			want    []string
		}{
			{Options{}, []string{"kube-system/main"}},
			{Options{Namespace: test.namespace}, []string{test.namespace + "/" + test.name}},
			{Options{All: true}, []string{"kube-system/main", test.namespace + "/" + test.name}},
		} {
			found := mustFind(t, look.options, objects...)
			var got []string
			for _, c := range found.Clusters {
				got = append(got, c.Namespace+"/"+c.Name)
				if c.ControlPlane != (c.Name == "main") {
					t.Errorf("%s: %s: control plane: %v", test.dir, c.Name, c.ControlPlane)
				}
			}
			if !slices.Equal(got, look.want) {
				t.Errorf("%s, %+v: found %v, want %v", test.dir, look.options, got, look.want)
			}
		}
	}
}

// podObjects leaves out what the fixture of a control plane has, too.
func podObjects(objects []runtime.Object) []runtime.Object {
	var pods []runtime.Object
	for _, pod := range podsOf(objects) {
		pods = append(pods, pod)
	}
	return pods
}

// The kubeadm row says who made the nodes.
func TestKubeadmOwner(t *testing.T) {
	for dir, want := range map[string]string{
		"kubeadm": "kubeadm ", "kind": "kind kind", "minikube": "minikube minikube", "capi": "KubeadmControlPlane prod-control-plane",
	} {
		owner := mustFind(t, Options{}, readFixture(t, dir+"/cluster.yaml")...).Clusters[0].Owner
		if got := owner.Kind + " " + owner.Name; got != want || owner.Advice == "" {
			t.Errorf("%s: owner %q, advice %q", dir, got, owner.Advice)
		}
	}
}

// Replicas of a Deployment don't know each other; one alone goes by the Deployment's name,
// which outlives its pod.
func TestDeploymentIsNoCluster(t *testing.T) {
	objects := readFixture(t, "cilium/cluster.yaml")
	if found := mustFind(t, Options{All: true}, objects...); len(found.Clusters) != 2 {
		t.Errorf("two replicas: %v", layout(found))
	}
	found := mustFind(t, Options{All: true}, objects[0])
	want := map[string][]string{"kube-system/clustermesh-apiserver": {"clustermesh-apiserver-6b9d4f7c8-x2k4p"}}
	if diff := cmp.Diff(want, layout(found)); diff != "" {
		t.Errorf("one replica (-want +got):\n%s", diff)
	}
}

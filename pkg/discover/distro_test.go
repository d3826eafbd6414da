package discover

import (
	"slices"
	"testing"
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
			row.exec == nil || row.cluster == nil || row.owner == nil || row.onNode == nil {
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
	} {
		pod := mustFind(t, Options{}, readFixture(t, test.dir+"/cluster.yaml")...).Clusters[0].Pods[0]
		if !slices.Equal(pod.Exec, test.want) || pod.ExecContainer != test.container {
			t.Errorf("%s: exec in %q %q\nwant in %q %q", test.dir, pod.ExecContainer, pod.Exec, test.container, test.want)
		}
	}
}

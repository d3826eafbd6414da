package discover

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
)

// everything is a control plane, a tenant's etcd, and pods that only look like etcd.
func everything(t *testing.T) []runtime.Object {
	t.Helper()
	objects := append(readFixture(t, "kubeadm/cluster.yaml"), readFixture(t, "generic/cluster.yaml")...)
	return append(objects, readFixture(t, "generic/other.yaml")...)
}

func TestFindLooksWhereAsked(t *testing.T) {
	controlPlane := []string{"etcd-node0", "etcd-node1", "etcd-node2"}
	shop := []string{"shop-etcd-0", "shop-etcd-1", "shop-etcd-2"}
	for _, test := range []struct {
		name    string
		options Options
		want    map[string][]string
	}{
		{"the control plane by default", Options{}, map[string][]string{"kube-system/main": controlPlane}},
		{"one namespace", Options{Namespace: "shop"}, map[string][]string{"shop/shop-etcd": shop}},
		{"the control plane's namespace", Options{Namespace: "kube-system"}, map[string][]string{"kube-system/main": controlPlane}},
		{"all", Options{All: true}, map[string][]string{
			"kube-system/main": controlPlane, "milvus/milvus-etcd": {"milvus-etcd-0"}, "shop/shop-etcd": shop,
		}},
		{"all, whatever the namespace", Options{All: true, Namespace: "shop"}, map[string][]string{
			"kube-system/main": controlPlane, "milvus/milvus-etcd": {"milvus-etcd-0"}, "shop/shop-etcd": shop,
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			found := mustFind(t, test.options, everything(t)...)
			if diff := cmp.Diff(test.want, layout(found)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if len(found.APIServers) != 3 {
				t.Errorf("%d API servers", len(found.APIServers))
			}
		})
	}
}

// The default look must stay cheap: labels in two namespaces, and just the nodes of
// the etcd pods.
func TestFindListsNoMoreThanNeeded(t *testing.T) {
	client := fake.NewClientset(everything(t)...)
	if _, err := Find(t.Context(), client, Options{}); err != nil {
		t.Fatal(err)
	}
	gets := 0
	for _, action := range client.Actions() {
		switch {
		case action.Matches("list", "pods"):
			if action.GetNamespace() == "" {
				t.Error("listed the pods of all namespaces")
			}
		case action.Matches("get", "nodes"):
			gets++
		default:
			t.Errorf("unexpected: %s %s", action.GetVerb(), action.GetResource().Resource)
		}
	}
	if gets != 3 {
		t.Errorf("got %d nodes, want those of the 3 pods", gets)
	}
}

func TestFindKeepsPodsOfDeadNodes(t *testing.T) {
	objects := readFixture(t, "kubeadm/cluster.yaml")
	kept := objects[:0]
	for _, object := range objects {
		node, ok := object.(*corev1.Node)
		if ok && node.Name == "node2" {
			continue // deleted
		}
		if ok && node.Name == "node1" {
			for i := range node.Status.Conditions {
				node.Status.Conditions[i].Status = corev1.ConditionUnknown
			}
			node.Labels[corev1.LabelTopologyZone] = "b"
		}
		if pod, ok := object.(*corev1.Pod); ok && pod.Name == "etcd-node1" {
			pod.Status.Phase = corev1.PodFailed // as a graceful shutdown of the node leaves it
		}
		kept = append(kept, object)
	}
	found := mustFind(t, Options{}, kept...)
	type state struct {
		Ready bool
		Zone  string
	}
	got := map[string]state{}
	for _, p := range found.Clusters[0].Pods {
		got[p.Name] = state{p.NodeReady, p.Zone}
	}
	want := map[string]state{"etcd-node0": {Ready: true}, "etcd-node1": {Zone: "b"}, "etcd-node2": {}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(found.Notes) != 0 {
		t.Errorf("notes: %q", found.Notes)
	}
}

func TestFindWithoutRights(t *testing.T) {
	for _, test := range []struct {
		name             string
		options          Options
		resource, within string // what is forbidden
		verb             string
		clusters         int    // 0: the error is Forbidden
		note             string // in Found.Notes; "": there is none
	}{
		{"pods everywhere", Options{}, "pods", "", "list", 0, ""},
		{"pods of the control plane", Options{}, "pods", "kube-system", "list", 0, ""},
		{"another distribution's namespace", Options{}, "pods", "openshift-etcd", "list", 1, ""},
		{"nodes", Options{}, "nodes", "", "get", 1, "nodes could not be read"},
		{"only the control plane, for the asked namespace", Options{Namespace: "shop"}, "pods", "kube-system", "list", 1, ""},
		{"the asked namespace", Options{Namespace: "shop"}, "pods", "shop", "list", 0, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			client := fake.NewClientset(everything(t)...)
			forbid(client, test.verb, test.resource, test.within)
			found, err := Find(t.Context(), client, test.options)
			if test.clusters == 0 {
				if !apierrors.IsForbidden(err) {
					t.Fatalf("error: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(found.Clusters) != test.clusters {
				t.Errorf("%d clusters", len(found.Clusters))
			}
			notes := strings.Join(found.Notes, "\n")
			if (notes == "") != (test.note == "") || !strings.Contains(notes, test.note) {
				t.Errorf("notes: %q", found.Notes)
			}
			for _, p := range found.Clusters[0].Pods {
				if !p.NodeReady {
					t.Errorf("%s: the node is said to be not ready", p.Name)
				}
			}
		})
	}
}

func TestFindFallsBackToTheControlPlane(t *testing.T) {
	client := fake.NewClientset(everything(t)...)
	client.PrependReactor("list", "pods", forbidClusterWide)
	found, err := Find(t.Context(), client, Options{All: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(found.Clusters) != 1 || found.Clusters[0].Name != "main" {
		t.Errorf("found %v", layout(found))
	}
	if len(found.Notes) != 1 || !strings.Contains(found.Notes[0], "only the control plane's own namespaces") {
		t.Errorf("notes: %q", found.Notes)
	}
}

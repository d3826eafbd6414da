package discover

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// setFlag replaces a flag's value in the only container of the pods whose names start
// with prefix; "" takes it away.
func setFlag(objects []runtime.Object, prefix, name, value string) {
	for _, pod := range podsOf(objects) {
		if !strings.HasPrefix(pod.Name, prefix) {
			continue
		}
		c := &pod.Spec.Containers[0]
		kept := c.Command[:0:0]
		for _, word := range c.Command {
			if !strings.HasPrefix(word, "--"+name+"=") {
				kept = append(kept, word)
			}
		}
		if value != "" {
			kept = append(kept, "--"+name+"="+value)
		}
		c.Command = kept
	}
}

// forgetNames takes from the events pods what their names tell.
func forgetNames(objects []runtime.Object) {
	for _, pod := range podsOf(objects) {
		pod.Name = strings.Replace(pod.Name, "etcd-events", "etcd-second", 1)
	}
}

// forgetPeers leaves each pod alone in its --initial-cluster, as 'kubeadm upgrade' does.
func forgetPeers(objects []runtime.Object) {
	setFlag(objects, "etcd-", "initial-cluster", "")
}

// moveEvents gives the events pods the ports of the main ones, on nodes of their own.
func moveEvents(objects []runtime.Object) {
	for _, pod := range podsOf(objects) {
		if !strings.HasPrefix(pod.Name, "etcd-events") {
			continue
		}
		pod.Spec.NodeName = "e" + pod.Spec.NodeName
		replace := strings.NewReplacer("2479", "2379", "2480", "2380", "10.0.0.1", "10.0.9.1")
		for i, word := range pod.Spec.Containers[0].Command {
			pod.Spec.Containers[0].Command[i] = replace.Replace(word)
		}
		pod.Status.HostIP = replace.Replace(pod.Status.HostIP)
		pod.Status.PodIP = pod.Status.HostIP
	}
}

func TestMainAndEventsNeverMix(t *testing.T) {
	const overrides = "etcd-servers-overrides"
	apart := map[string][]string{
		"kube-system/main":   {"etcd-node0", "etcd-node1", "etcd-node2"},
		"kube-system/events": {"etcd-events-node0", "etcd-events-node1", "etcd-events-node2"},
	}
	nameless := map[string][]string{
		"kube-system/main":   apart["kube-system/main"],
		"kube-system/events": {"etcd-second-node0", "etcd-second-node1", "etcd-second-node2"},
	}
	for _, test := range []struct {
		name   string
		change func(objects []runtime.Object)
		want   map[string][]string
	}{
		{"by ports on the loopback", func(o []runtime.Object) {
			forgetNames(o)
			forgetPeers(o)
		}, nameless},
		{"by addresses of all members", func(o []runtime.Object) {
			forgetNames(o)
			forgetPeers(o)
			setFlag(o, "kube-apiserver", "etcd-servers", "https://10.0.0.10:2379,https://10.0.0.11:2379,https://10.0.0.12:2379")
			setFlag(o, "kube-apiserver", overrides, "/events#https://10.0.0.10:2479;https://10.0.0.11:2479;https://10.0.0.12:2479")
		}, nameless},
		{"by ports behind a load balancer", func(o []runtime.Object) {
			forgetNames(o)
			forgetPeers(o)
			setFlag(o, "kube-apiserver", "etcd-servers", "https://etcd.internal:2379")
			setFlag(o, "kube-apiserver", overrides, "/events#https://etcd.internal:2479")
		}, nameless},
		{"by hosts, the ports being the same", func(o []runtime.Object) {
			moveEvents(o)
			forgetNames(o)
			forgetPeers(o)
			setFlag(o, "kube-apiserver", overrides, "/events#https://10.0.9.10:2379;https://10.0.9.11:2379;https://10.0.9.12:2379")
		}, nameless},
		{"by peers, one address being known", func(o []runtime.Object) {
			moveEvents(o)
			forgetNames(o)
			setFlag(o, "kube-apiserver", "etcd-servers", "https://10.0.0.10:2379")
			setFlag(o, "kube-apiserver", overrides, "/events#https://10.0.9.10:2379")
		}, nameless},
		{"by names, behind load balancers with the same port", func(o []runtime.Object) {
			moveEvents(o)
			setFlag(o, "kube-apiserver", "etcd-servers", "https://etcd.internal:2379")
			setFlag(o, "kube-apiserver", overrides, "/events#https://etcd-events.internal:2379")
		}, apart},
		{"by names, nothing known of the API servers", func(o []runtime.Object) {
			setFlag(o, "kube-apiserver", "etcd-servers", "")
			setFlag(o, "kube-apiserver", overrides, "")
		}, apart},
		{"by another resource", func(o []runtime.Object) {
			setFlag(o, "kube-apiserver", overrides, "coordination.k8s.io/leases#https://127.0.0.1:2479")
		}, map[string][]string{
			"kube-system/main":   apart["kube-system/main"],
			"kube-system/leases": apart["kube-system/events"],
		}},
		{"one API server is older and knows no events", func(o []runtime.Object) {
			setFlag(o, "kube-apiserver-node2", overrides, "")
		}, apart},
	} {
		t.Run(test.name, func(t *testing.T) {
			objects := readFixture(t, "kubeadm-events/cluster.yaml")
			test.change(objects)
			found := mustFind(t, Options{}, objects...)
			if diff := cmp.Diff(test.want, layout(found)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if found.Clusters[0].Name != "main" {
				t.Errorf("first is %s", found.Clusters[0].Name)
			}
		})
	}
}

// A second etcd that no API server is said to use, and whose pods don't say what it is for.
func TestUnknownSecondCluster(t *testing.T) {
	objects := readFixture(t, "kubeadm-events/cluster.yaml")
	setFlag(objects, "kube-apiserver", "etcd-servers-overrides", "")
	forgetNames(objects)
	got := layout(mustFind(t, Options{}, objects...))
	want := map[string][]string{
		"kube-system/main":      {"etcd-node0", "etcd-node1", "etcd-node2"},
		"kube-system/etcd-2479": {"etcd-second-node0", "etcd-second-node1", "etcd-second-node2"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// kubeadm may be told other ports; a cluster is one however they differ.
func TestOddPortsStayOneCluster(t *testing.T) {
	objects := readFixture(t, "kubeadm/cluster.yaml")
	for _, prefix := range []string{"etcd-node2", "kube-apiserver-node2"} {
		for _, pod := range podsOf(objects) {
			for i, word := range pod.Spec.Containers[0].Command {
				if strings.HasPrefix(pod.Name, prefix) {
					pod.Spec.Containers[0].Command[i] = strings.ReplaceAll(word, ":2379", ":12379")
				}
			}
		}
	}
	if got := layout(mustFind(t, Options{}, objects...)); len(got) != 1 {
		t.Errorf("found %v", got)
	}
}

func TestControllersGroupPods(t *testing.T) {
	objects := readFixture(t, "generic/cluster.yaml")
	for _, pod := range podsOf(objects) {
		if pod.Name == "shop-etcd-2" {
			pod.OwnerReferences[0].Name = "other-etcd"
		}
	}
	got := layout(mustFind(t, Options{Namespace: "shop"}, objects...))
	want := map[string][]string{"shop/shop-etcd": {"shop-etcd-0", "shop-etcd-1"}, "shop/other-etcd": {"shop-etcd-2"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOwner(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(pod *corev1.Pod)
		want   Owner
	}{
		{"a StatefulSet", func(*corev1.Pod) {}, Owner{Kind: "StatefulSet", Name: "shop-etcd"}},
		{"an operator by its label", func(pod *corev1.Pod) { pod.Labels["app.kubernetes.io/managed-by"] = "etcd-druid" },
			Owner{Kind: "etcd-druid", Name: "shop-etcd", Managed: true, Advice: "change members through etcd-druid/shop-etcd, which looks after them"}},
		{"an operator that owns pods", func(pod *corev1.Pod) { pod.OwnerReferences[0].Kind = "EtcdCluster" },
			Owner{Kind: "EtcdCluster", Name: "shop-etcd", Managed: true, Advice: "change members through EtcdCluster/shop-etcd, which looks after them"}},
		{"nobody", func(pod *corev1.Pod) { pod.OwnerReferences = nil }, Owner{Kind: "Pod", Name: "shop-etcd-0"}},
	} {
		pod := podsOf(readFixture(t, "generic/cluster.yaml"))[0]
		test.change(pod)
		if diff := cmp.Diff(test.want, genericOwner([]*corev1.Pod{pod}, nil)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

package registry

import (
	"strings"
	"testing"
)

func TestParseKey(t *testing.T) {
	tests := []struct {
		key  string
		want Object
		text string
	}{
		// Kubernetes' test/integration/etcd/data.go
		{"/registry/pods/kube-system/etcd-node0", Object{"", "pods", "kube-system", "etcd-node0"}, "pods kube-system/etcd-node0"},
		{"/registry/configmaps/ns/cm1", Object{"", "configmaps", "ns", "cm1"}, "configmaps ns/cm1"},
		{"/registry/services/specs/ns/service1", Object{"", "services", "ns", "service1"}, "services ns/service1"},
		{"/registry/services/endpoints/ns/ep1name", Object{"", "endpoints", "ns", "ep1name"}, "endpoints ns/ep1name"},
		{"/registry/minions/node0", Object{"", "nodes", "", "node0"}, "nodes node0"},
		{"/registry/namespaces/namespace1", Object{"", "namespaces", "", "namespace1"}, "namespaces namespace1"},
		{"/registry/persistentvolumes/pv1name", Object{"", "persistentvolumes", "", "pv1name"}, "persistentvolumes pv1name"},
		{"/registry/persistentvolumeclaims/ns/pvc1", Object{"", "persistentvolumeclaims", "ns", "pvc1"}, "persistentvolumeclaims ns/pvc1"},
		{"/registry/controllers/ns/rc1", Object{"", "replicationcontrollers", "ns", "rc1"}, "replicationcontrollers ns/rc1"},
		{"/registry/ingress/ns/ingress3", Object{"", "ingresses", "ns", "ingress3"}, "ingresses ns/ingress3"},
		{"/registry/ingressclasses/ingressclass3", Object{"", "ingressclasses", "", "ingressclass3"}, "ingressclasses ingressclass3"},
		{"/registry/deployments/ns/deployment4", Object{"", "deployments", "ns", "deployment4"}, "deployments ns/deployment4"},
		{"/registry/events/ns/event1", Object{"", "events", "ns", "event1"}, "events ns/event1"},
		{"/registry/leases/ns/leasev1", Object{"", "leases", "ns", "leasev1"}, "leases ns/leasev1"},
		{"/registry/clusterroles/system:node", Object{"", "clusterroles", "", "system:node"}, "clusterroles system:node"},
		{"/registry/storageversions/sv1.test", Object{"", "storageversions", "", "sv1.test"}, "storageversions sv1.test"},
		{"/registry/ipaddresses/192.168.2.3", Object{"", "ipaddresses", "", "192.168.2.3"}, "ipaddresses 192.168.2.3"},
		{"/registry/validatingadmissionpolicies/vap1", Object{"", "validatingadmissionpolicies", "", "vap1"}, "validatingadmissionpolicies vap1"},
		{"/registry/apiregistration.k8s.io/apiservices/as2.foo.com", Object{"apiregistration.k8s.io", "apiservices", "", "as2.foo.com"}, "apiservices.apiregistration.k8s.io as2.foo.com"},
		{"/registry/apiextensions.k8s.io/customresourcedefinitions/pandas.awesome.bears.com", Object{"apiextensions.k8s.io", "customresourcedefinitions", "", "pandas.awesome.bears.com"}, "customresourcedefinitions.apiextensions.k8s.io pandas.awesome.bears.com"},
		{"/registry/cr.bar.com/foos/ns/cr1foo", Object{"cr.bar.com", "foos", "ns", "cr1foo"}, "foos.cr.bar.com ns/cr1foo"},
		{"/registry/awesome.bears.com/pandas/cr3panda", Object{"awesome.bears.com", "pandas", "", "cr3panda"}, "pandas.awesome.bears.com cr3panda"},
		{"/registry/example.com/services/ns/a", Object{"example.com", "services", "ns", "a"}, "services.example.com ns/a"},
		{"/registry/example.com/minions/a", Object{"example.com", "minions", "", "a"}, "minions.example.com a"},
		{"/registry/podsecuritypolicy/psp1", Object{"", "podsecuritypolicies", "", "psp1"}, "podsecuritypolicies psp1"},

		// the API server's own (pkg/controlplane, pkg/registry/core/rest)
		{"/registry/ranges/serviceips", Object{"", "ranges", "", "serviceips"}, "ranges serviceips"},
		{"/registry/masterleases/10.0.0.1", Object{"", "masterleases", "", "10.0.0.1"}, "masterleases 10.0.0.1"},
		{"/registry/masterleases/fd00::1", Object{"", "masterleases", "", "fd00::1"}, "masterleases fd00::1"},

		// openshift/origin's test/extended/etcd/etcd_storage_path.go
		{"/kubernetes.io/minions/node1", Object{"", "nodes", "", "node1"}, "nodes node1"},
		{"/kubernetes.io/machine.openshift.io/machines/openshift-machine-api/m0", Object{"machine.openshift.io", "machines", "openshift-machine-api", "m0"}, "machines.machine.openshift.io openshift-machine-api/m0"},
		{"/openshift.io/routes/ns/route1g", Object{"", "routes", "ns", "route1g"}, "routes ns/route1g"},
		{"/openshift.io/oauth/accesstokens/sha256~x", Object{"", "oauthaccesstokens", "", "sha256~x"}, "oauthaccesstokens sha256~x"},
		{"/openshift.io/oauth/clients/clientg", Object{"", "oauthclients", "", "clientg"}, "oauthclients clientg"},
		{"/openshift.io/useridentities/github:user2g", Object{"", "identities", "", "github:user2g"}, "identities github:user2g"},
	}
	for _, test := range tests {
		got, ok := ParseKey([]byte(test.key))
		if !ok || got != test.want || got.String() != test.text {
			t.Errorf("ParseKey(%q) = %#v, %t: %q", test.key, got, ok, got)
		}
		if name, _, _ := strings.Cut(test.text, " "); got.ResourceName() != name {
			t.Errorf("ResourceName of %q is %q", test.key, got.ResourceName())
		}
	}
}

func TestParseKeyOfOthers(t *testing.T) {
	for _, key := range []string{
		"", "/", "compact_rev_key", "registry/pods/ns/a", "/registry", "/registry/", "/registry/health",
		"/registry/pods/", "/registry/pods//a", "/registry/pods/ns/", "/registry//ns/a", "/registry/pods/ns/a/b",
		"/registry/services/a", "/registry/services/ns/a", "/registry/services/specs", "/registry/services/specs/ns/a/b",
		"/registry/example.com", "/registry/example.com/foos", "/registry/example.com/foos/ns/a/b",
		"/registry/wardle.example.com/wardle.example.com/flunders/ns/a", // a second API server, sample-apiserver's prefix
		"/openshift.io/authorization/local/policybindings/ns/:default",
		"/custom/pods/ns/a", "/registry2/pods/ns/a", "\x00\xff",
	} {
		if got, ok := ParseKey([]byte(key)); ok || got != (Object{}) {
			t.Errorf("ParseKey(%q) = %#v, %t", key, got, ok)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	for _, key := range []string{"/registry/pods/ns/a", "/registry/services/specs/ns/a", "/registry/a.b/c/d", "/openshift.io/oauth/clients/a", "/registry/minions/a"} {
		f.Add([]byte(key))
	}
	f.Fuzz(func(t *testing.T, key []byte) {
		o, ok := ParseKey(key)
		if ok != (o.Resource != "" && o.Name != "") || !ok && o != (Object{}) {
			t.Fatalf("ParseKey(%q) = %#v, %t", key, o, ok)
		}
		if !ok {
			return
		}
		for _, part := range []string{o.Group, o.Resource, o.Namespace, o.Name} {
			if strings.Contains(part, "/") {
				t.Fatalf("ParseKey(%q) = %#v", key, o)
			}
		}
	})
}

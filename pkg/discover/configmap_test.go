package discover

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
)

// How etcd-druid's etcd is reached is known without the right to read its ConfigMap; what is
// not known then is said, once for all its pods.
func TestFindWithoutConfigMaps(t *testing.T) {
	objects := readFixture(t, "druid/cluster.yaml")
	client := fake.NewClientset(objects...)
	forbid(client, "get", "configmaps", "")
	found, err := Find(t.Context(), client, Options{All: true})
	if err != nil {
		t.Fatal(err)
	}
	full := mustFind(t, Options{All: true}, objects...)
	for i, got := range found.Clusters[0].Pods {
		want := full.Clusters[0].Pods[i]
		if got.ClientPort != want.ClientPort || got.TLS != want.TLS || got.ClientCertAuth != want.ClientCertAuth ||
			got.ServerName != want.ServerName || got.Settings["data-dir"].Value != want.Settings["data-dir"].Value {
			t.Errorf("with the ConfigMap: %+v\nwithout: %+v", want, got)
		}
		if _, ok := got.Settings["quota-backend-bytes"]; ok {
			t.Error("the quota is known without the ConfigMap")
		}
	}
	if len(found.Notes) != 1 || !strings.Contains(found.Notes[0], "get configmap shoot--garden--prod/etcd-main-config") {
		t.Errorf("notes: %q", found.Notes)
	}
	if len(full.Notes) != 0 {
		t.Errorf("notes with the ConfigMap: %q", full.Notes)
	}
}

func TestFindReadsEachConfigMapOnce(t *testing.T) {
	client := fake.NewClientset(readFixture(t, "druid/cluster.yaml")...)
	if _, err := Find(t.Context(), client, Options{Namespace: "shoot--garden--prod"}); err != nil {
		t.Fatal(err)
	}
	gets := 0
	for _, action := range client.Actions() {
		if action.Matches("get", "configmaps") {
			gets++
		}
	}
	if gets != 1 {
		t.Errorf("%d requests for 1 ConfigMap", gets)
	}
}

// What stands in druid's ConfigMap is not of one member, and may be nonsense.
func TestDruidSettings(t *testing.T) {
	pod := podsOf(readFixture(t, "druid/cluster.yaml"))[1]
	for _, test := range []struct {
		name, config string
		want         map[string]string
	}{
		{"one member's URLs", "advertise-client-urls: {etcd-main-0: [https://a:1], etcd-main-1: [https://b:1, https://c:1]}",
			map[string]string{"advertise-client-urls": "https://b:1,https://c:1", "name": "etcd-main-1"}},
		{"no URLs for this member", "advertise-client-urls: {etcd-main-0: [https://a:1]}",
			map[string]string{"advertise-client-urls": ""}},
		{"a prefix", "{name: etcd-config, member-name-prefix: left}",
			map[string]string{"name": "left-etcd-main-1", "member-name-prefix": ""}},
		{"nothing", "", map[string]string{"name": "", "data-dir": "/var/etcd/data/new.etcd"}},
		{"no YAML", "a: [", map[string]string{"name": "", "trusted-ca-file": "/var/etcd/ssl/ca/bundle.crt"}},
		{"the ConfigMap before the sidecar", "data-dir: /other", map[string]string{"data-dir": "/other"}},
	} {
		p := newProcess(pod, druidContainer(pod))
		p.configMap = map[string]string{druidConfigKey: test.config}
		settings := druidSettings(p)
		for name, want := range test.want {
			if got := settings[name].Value; got != want {
				t.Errorf("%s: %s is %q, want %q", test.name, name, got, want)
			}
		}
	}
}

// The environment of a container goes before the ConfigMap that fills it.
func TestEnvironmentFromConfigMap(t *testing.T) {
	p := etcdProcess([]string{"etcd", "--name=flag"},
		corev1.EnvVar{Name: "ETCD_DATA_DIR", Value: "/env"})
	p.configMap = map[string]string{"ETCD_NAME": "map", "ETCD_DATA_DIR": "/map", "ETCD_QUOTA_BACKEND_BYTES": "8", "ETCD_ROOT_PASSWORD": "x", "OTHER": "x"}
	want := Settings{"name": {"flag", FromFlag}, "data-dir": {"/env", FromEnv}, "quota-backend-bytes": {"8", FromConfig}}
	got := readSettings(p)
	if len(got) != len(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s: got %v, want %v", name, got[name], want[name])
		}
	}
}

// A missing ConfigMap is no failure either.
func TestFindWithLostConfigMap(t *testing.T) {
	var objects []runtime.Object
	for _, object := range readFixture(t, "etcd-operator/cluster.yaml") {
		if _, ok := object.(*corev1.ConfigMap); !ok {
			objects = append(objects, object)
		}
	}
	found := mustFind(t, Options{All: true}, objects...)
	if len(found.Clusters) != 1 || len(found.Notes) != 1 || !strings.Contains(found.Notes[0], "not found") {
		t.Errorf("clusters %v, notes %q", layout(found), found.Notes)
	}
}

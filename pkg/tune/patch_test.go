package tune

import "testing"

func TestKubeadmPatch(t *testing.T) {
	got := KubeadmPatch([]Change{{"heartbeat-interval", "130"}, {"feature-gates", "CompactHashCheck=true,InitialCorruptCheck=true"}})
	want := `apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
etcd:
  local:
    extraArgs:
    - name: heartbeat-interval
      value: "130"
    - name: feature-gates
      value: "CompactHashCheck=true,InitialCorruptCheck=true"
`
	if got != want {
		t.Errorf("got %s", got)
	}
	if got := KubeadmPatch(nil); got != "" {
		t.Errorf("of nothing: %s", got)
	}
}

func TestManifestPatch(t *testing.T) {
	changes := []Change{{"heartbeat-interval", "130"}, {"election-timeout", "1430"}, {"listen-metrics-urls", "http://127.0.0.1:2381"}}
	for _, test := range []struct {
		name     string
		settings Settings
		want     string
	}{
		{"flags", Settings{"heartbeat-interval": {"100", FromFlag}, "listen-metrics-urls": {"http://127.0.0.1:2381", FromFlag}}, `--- /etc/kubernetes/manifests/etcd.yaml (node1)
+++ /etc/kubernetes/manifests/etcd.yaml (node1)
-    - --heartbeat-interval=100
+    - --heartbeat-interval=130
+    - --election-timeout=1430
`},
		{"environment, where a flag beside it keeps etcd from starting", Settings{"heartbeat-interval": {"100", FromEnvironment}, "election-timeout": {"1430", FromFlag}, "listen-metrics-urls": {"http://127.0.0.1:2381", FromFlag}}, `--- /etc/kubernetes/manifests/etcd.yaml (node1)
+++ /etc/kubernetes/manifests/etcd.yaml (node1)
-    - {name: ETCD_HEARTBEAT_INTERVAL, value: "100"}
+    - {name: ETCD_HEARTBEAT_INTERVAL, value: "130"}
`},
		{"config file", Settings{"config-file": {"/etc/etcd.yaml", FromFile}, "heartbeat-interval": {"100", FromFile}}, `--- /etc/etcd.yaml (node1)
+++ /etc/etcd.yaml (node1)
-heartbeat-interval: 100
+heartbeat-interval: 130
+election-timeout: 1430
+listen-metrics-urls: "http://127.0.0.1:2381"
`},
		{"a ConfigMap, which is no part of the manifest", Settings{"heartbeat-interval": {"100", FromConfigMap}, "election-timeout": {"1430", FromFlag}, "listen-metrics-urls": {"http://127.0.0.1:2381", FromFlag}}, `--- /etc/kubernetes/manifests/etcd.yaml (node1)
+++ /etc/kubernetes/manifests/etcd.yaml (node1)
# heartbeat-interval is in a ConfigMap: change it there, from 100 to 130
`},
		{"all there", Settings{"heartbeat-interval": {"130", FromFlag}, "election-timeout": {"1430", FromFlag}, "listen-metrics-urls": {"http://127.0.0.1:2381", FromFlag}}, ""},
	} {
		if got := ManifestPatch(Member{Name: "m1", Node: "node1", Settings: test.settings}, changes); got != test.want {
			t.Errorf("%s: got %s", test.name, got)
		}
	}
}

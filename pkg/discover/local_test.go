package discover

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const onNode = "testdata/onnode/"

func TestReadNodeGolden(t *testing.T) {
	for _, dir := range []string{"kubeadm", "rke2"} {
		t.Run(dir, func(t *testing.T) {
			local, err := ReadNode(onNode + dir)
			if err != nil {
				t.Fatal(err)
			}
			checkGolden(t, "onnode/"+dir+".json", local)
		})
	}
}

// What the golden files must say, whatever else is in them.
func TestReadNode(t *testing.T) {
	const etcd = "/etc/kubernetes/pki/etcd/"
	for _, test := range []struct {
		dir  string
		want LocalCluster
	}{
		{"kubeadm", LocalCluster{
			Manifest: "/etc/kubernetes/manifests/etcd.yaml", MemberName: "node1",
			URL: "https://127.0.0.1:2379", ServerName: "localhost", DataDir: "/srv/etcd", Database: "/srv/etcd/member/snap/db",
			Peers: []Peer{{"node0", []string{"https://10.0.0.10:2380"}}, {"node1", []string{"https://10.0.0.11:2380"}}},
			Certificates: []CertificateFiles{
				{etcd + "ca.crt", etcd + "healthcheck-client.crt", etcd + "healthcheck-client.key"},
				{etcd + "ca.crt", "/etc/kubernetes/pki/apiserver-etcd-client.crt", "/etc/kubernetes/pki/apiserver-etcd-client.key"},
				{etcd + "ca.crt", etcd + "server.crt", etcd + "server.key"},
			},
		}},
		{"rke2", LocalCluster{
			Manifest: "/data/rke2/agent/pod-manifests/etcd.yaml", MemberName: "node0-3f1",
			URL: "https://127.0.0.1:2379", ServerName: "localhost", DataDir: "/data/rke2/server/db/etcd", Database: "/data/rke2/server/db/etcd/member/snap/db",
			Peers: []Peer{{"node0-3f1", []string{"https://10.0.0.10:2380"}}},
			Certificates: []CertificateFiles{
				{"/data/rke2/server/tls/etcd/server-ca.crt", "/data/rke2/server/tls/etcd/client.crt", "/data/rke2/server/tls/etcd/client.key"},
				{"/data/rke2/server/tls/etcd/server-ca.crt", "/data/rke2/server/tls/etcd/server-client.crt", "/data/rke2/server/tls/etcd/server-client.key"},
			},
		}},
	} {
		local, err := ReadNode(onNode + test.dir)
		if err != nil || len(local.Clusters) != 1 || len(local.Notes) > 0 {
			t.Fatalf("%s: %+v, %v", test.dir, local, err)
		}
		got := local.Clusters[0]
		cluster := got.Cluster
		got.Cluster = Cluster{}
		if diff := cmp.Diff(test.want, fromRoot(got, onNode+test.dir)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.dir, diff)
		}
		if cluster.Name != "main" || cluster.Distro != test.dir || !cluster.ControlPlane || !cluster.Pods[0].TLS {
			t.Errorf("%s: %+v", test.dir, cluster)
		}
	}
}

// fromRoot takes root off every path.
func fromRoot(c LocalCluster, root string) LocalCluster {
	cut := func(name *string) { *name = strings.TrimPrefix(*name, root) }
	cut(&c.Manifest)
	cut(&c.DataDir)
	cut(&c.Database)
	for i := range c.Certificates {
		cut(&c.Certificates[i].CA)
		cut(&c.Certificates[i].Cert)
		cut(&c.Certificates[i].Key)
	}
	return c
}

// The quota stands in RKE2's file only.
func TestConfigFileIsRead(t *testing.T) {
	local, err := ReadNode(onNode + "rke2")
	if err != nil {
		t.Fatal(err)
	}
	settings := local.Clusters[0].Pods[0].Settings
	for name, want := range map[string]string{
		"quota-backend-bytes": "8589934592", "cert-file": "/data/rke2/server/tls/etcd/server-client.crt",
		"peer-cert-file": "/data/rke2/server/tls/etcd/peer-server-client.crt", "client-cert-auth": "true", "log-outputs": "stderr",
	} {
		if got := settings[name]; got.Value != want || got.From != FromFile {
			t.Errorf("%s: %+v, want %s", name, got, want)
		}
	}
}

func TestConfigFileThatCannotBeRead(t *testing.T) {
	root := t.TempDir()
	if err := os.CopyFS(root, os.DirFS(onNode+"rke2")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(root, "data/rke2/server/db/etcd/config")
	for _, test := range []struct {
		name  string
		spoil func() error
		want  string
	}{
		{"no YAML", func() error { return os.WriteFile(file, []byte("a: [b"), 0o600) }, "parse config file"},
		{"gone", func() error { return os.Remove(file) }, "no such file"},
	} {
		if err := test.spoil(); err != nil {
			t.Fatal(err)
		}
		local, err := ReadNode(root)
		if err != nil {
			t.Fatal(err)
		}
		notes := strings.Join(local.Notes, "\n")
		if !strings.Contains(notes, "settings are unknown") || !strings.Contains(notes, file) || !strings.Contains(notes, test.want) {
			t.Errorf("%s: notes %q", test.name, notes)
		}
		if got := local.Clusters[0].URL; got != "https://127.0.0.1:2379" { // what RKE2 is known to write
			t.Errorf("%s: URL %s", test.name, got)
		}
	}
}

// Two clusters on one node are told apart as through the API server.
func TestReadNodeWithEvents(t *testing.T) {
	root := t.TempDir()
	if err := os.CopyFS(root, os.DirFS(onNode+"kubeadm")); err != nil {
		t.Fatal(err)
	}
	for _, change := range []struct{ from, to, old, new string }{
		{"etcd.yaml", "etcd-events.yaml", "", ""},
		{"etcd-events.yaml", "etcd-events.yaml", "name: etcd\n  namespace", "name: etcd-events\n  namespace"},
		{"etcd-events.yaml", "etcd-events.yaml", ":2379", ":2389"},
		{"etcd-events.yaml", "etcd-events.yaml", ":2380", ":2390"},
		{"etcd-events.yaml", "etcd-events.yaml", "/srv/etcd", "/srv/etcd-events"},
		{"kube-apiserver.yaml", "kube-apiserver.yaml", "    - --secure-port", "    - --etcd-servers-overrides=/events#https://127.0.0.1:2389;https://10.0.0.10:2389\n    - --secure-port"},
	} {
		dir := filepath.Join(root, kubeadmManifests)
		content, err := os.ReadFile(filepath.Join(dir, change.from))
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.ReplaceAll(string(content), change.old, change.new)
		if change.old == "" {
			changed = string(content)
		} else if changed == string(content) {
			t.Fatalf("%q is not in %s", change.old, change.from)
		}
		if err := os.WriteFile(filepath.Join(dir, change.to), []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	local, err := ReadNode(root)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range local.Clusters {
		got = append(got, strings.Join(append([]string{c.Name, c.URL, filepath.Base(c.Manifest), filepath.Base(c.DataDir)}, c.Servers...), " "))
	}
	want := []string{
		"main https://127.0.0.1:2379 etcd.yaml etcd",
		"events https://127.0.0.1:2389 etcd-events.yaml etcd-events https://10.0.0.10:2389",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("clusters (-want +got):\n%s", diff)
	}
}

// Each reason names what was looked at, and a next command with files that are there.
func TestNotOnNode(t *testing.T) {
	for _, test := range []struct {
		dir             string
		reason, instead []string
	}{
		{"worker", []string{"/etc/kubernetes/manifests", "/var/lib/rancher/rke2/agent/pod-manifests", "no control plane node"}, []string{"--on-node", "--node-root"}},
		{"moved", []string{"https://127.0.0.1:2379", "moved away"}, []string{
			"on another control plane node, as root: kubectl etcd status --on-node", "a system service: ",
			"--endpoints https://127.0.0.1:2379", "pki/apiserver-etcd-client.key",
		}},
		{"external", []string{"external etcd at https://10.9.0.1:2379,https://10.9.0.2:2379"}, []string{
			"--endpoints https://10.9.0.1:2379,https://10.9.0.2:2379 --cacert " + onNode + "external/etc/kubernetes/pki/etcd/ca.crt",
			" --cert " + onNode + "external/etc/kubernetes/pki/apiserver-etcd-client.crt --key ",
		}},
		{"k3s", []string{"k3s", "/var/lib/rancher/k3s/server/tls/etcd"}, []string{
			"--endpoints https://127.0.0.1:2379", "tls/etcd/server-ca.crt", "tls/etcd/client.crt", "tls/etcd/client.key",
		}},
		{"kubespray", []string{"system service", "/etc/etcd.env"}, []string{
			"--endpoints https://127.0.0.1:2379", "/etc/ssl/etcd/ssl/ca.pem", "ssl/admin-node0.pem", "ssl/admin-node0-key.pem",
		}},
	} {
		_, err := ReadNode(onNode + test.dir)
		var notFound *NotFoundError
		if !errors.As(err, &notFound) {
			t.Errorf("%s: %v", test.dir, err)
			continue
		}
		wantParts(t, test.dir, notFound.Reason, test.reason)
		wantParts(t, test.dir, notFound.Instead, test.instead)
	}
}

func wantParts(t *testing.T, name, text string, parts []string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s: %q is missing in %q", name, part, text)
		}
	}
}

// A manifest that is damaged is the reason when there is no other.
func TestDamagedManifest(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, kubeadmManifests)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "etcd.yaml")
	for _, content := range []string{"kind: Pod\nspec: [", "kind: Service\n", ""} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := ReadNode(root)
		var notFound *NotFoundError
		if !errors.As(err, &notFound) || !strings.Contains(notFound.Reason, file+" is no pod") {
			t.Errorf("%q: %v", content, err)
		}
	}
}

func TestNoSuchRoot(t *testing.T) {
	if _, err := ReadNode("/nonexistent/root"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "/nonexistent/root") {
		t.Errorf("got %v", err)
	}
}

// A link on a mounted disk means a place on that disk.
func TestLinksStayOnTheDisk(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"data/etcd", "var/lib", "loop"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{
		"var/lib/etcd": "/data/etcd", "var/lib/near": "../../data/./etcd", "var/lib/up": "../../../../../data", "loop/a": "b", "loop/b": "a",
	} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	d := disk{root}
	for name, want := range map[string]string{
		"/var/lib/etcd/member": "/data/etcd/member", "/var/lib/near/x": "/data/etcd/x", "/var/lib/up/etcd": "/data/etcd",
		"/plain/../etc": "/etc", "/": "/", "//var//./lib/etcd/": "/data/etcd",
	} {
		if got := d.at(name); got != filepath.Join(root, want) {
			t.Errorf("%s lies at %s, want %s", name, got, want)
		}
	}
	if got := d.at("/loop/a"); !strings.HasPrefix(got, root) {
		t.Errorf("a loop leads to %s", got)
	}
	if got := (disk{"/"}).at("/var/lib/etcd"); got != "/var/lib/etcd" {
		t.Errorf("on the node itself: %s", got)
	}
}

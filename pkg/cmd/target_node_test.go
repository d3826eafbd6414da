package cmd

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/discover"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
)

const pki = "etc/kubernetes/pki/etcd"

// nodeDisk is the disk of the node that runs member a of a real cluster.
type nodeDisk struct {
	t       *testing.T
	root    string
	cluster *etcdtest.Cluster
}

// newNodeDisk starts n members; a's data directory lies on the disk, with kubeadm's
// manifest (cmd/kubeadm/app/phases/etcd/local.go) and a health-check client.
func newNodeDisk(t *testing.T, n int) nodeDisk {
	t.Helper()
	root := t.TempDir()
	cluster := etcdtest.Start(t, n, etcdtest.Options{Configure: func(config *embed.Config) {
		if config.Name == "a" {
			config.Dir = filepath.Join(root, "var/lib/etcd")
		}
	}})
	d := nodeDisk{t, root, cluster}
	var initial []string
	for _, m := range cluster.Members {
		initial = append(initial, m.Name+"="+m.PeerURL)
	}
	own := cluster.Members[0]
	d.write("etc/kubernetes/manifests/etcd.yaml", fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: etcd, namespace: kube-system, labels: {component: etcd, tier: control-plane}}
spec:
  containers:
  - name: etcd
    command: [etcd, --name=a, --data-dir=/var/lib/etcd, "--initial-cluster=%s", --listen-client-urls=%s, --advertise-client-urls=%s,
      --initial-advertise-peer-urls=%s, --client-cert-auth=true, --trusted-ca-file=/%s/ca.crt, --cert-file=/%s/server.crt, --key-file=/%s/server.key]
    volumeMounts: [{name: data, mountPath: /var/lib/etcd}, {name: certs, mountPath: /%s}]
  volumes: [{name: data, hostPath: {path: /var/lib/etcd}}, {name: certs, hostPath: {path: /%s}}]
`, strings.Join(initial, ","), own.ClientURL, own.ClientURL, own.PeerURL, pki, pki, pki, pki, pki))
	d.write(pki+"/ca.crt", string(cluster.Authority.PEM))
	d.issue(pki+"/healthcheck-client", etcdtest.Leaf{CommonName: "kube-etcd-healthcheck-client", NotAfter: time.Now().Add(365 * 24 * time.Hour)})
	return d
}

func (d nodeDisk) write(name, content string) {
	d.t.Helper()
	path := filepath.Join(d.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

func (d nodeDisk) issue(name string, leaf etcdtest.Leaf) {
	pair := d.cluster.Authority.Issue(leaf)
	d.write(name+".crt", string(pair.CertPEM))
	d.write(name+".key", string(pair.KeyPEM))
}

// run runs a whole command line with --on-node and the disk's root.
func (d nodeDisk) run(args ...string) (code int, out, errOut string) {
	s, stdout, stderr := testSession(nil)
	args = append(args, "--on-node", "--node-root", d.root, "--timeout", "5s")
	code = s.execute(d.t.Context(), newRootCommand(s), args)
	return code, stdout.String(), stderr.String()
}

// rows are the members that status -o json shows, and whether each answered.
func (d nodeDisk) rows(name string) (rows map[string]bool, notes string) {
	d.t.Helper()
	code, out, errOut := d.run("status", "-o", "json", "--fail-on", "never")
	if code != exitOK {
		d.t.Fatalf("%s: exit code %d: %s", name, code, errOut)
	}
	var list struct {
		Items []struct {
			Way, Distro, Cluster string
			Members              []struct {
				Name, Error string
				Status      *struct{}
			}
			Notes []string
		}
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		d.t.Fatalf("%v: %s", err, out)
	}
	if len(list.Items) != 1 || list.Items[0].Way != "on-node" || list.Items[0].Distro != "kubeadm" || list.Items[0].Cluster != "main" {
		d.t.Fatalf("%s: got %s", name, out)
	}
	rows = map[string]bool{}
	for _, m := range list.Items[0].Members {
		rows[m.Name] = m.Status != nil
	}
	return rows, strings.Join(list.Items[0].Notes, "\n")
}

func (d nodeDisk) wantRows(name string, want map[string]bool, notes ...string) {
	d.t.Helper()
	rows, got := d.rows(name)
	if diff := cmp.Diff(want, rows); diff != "" {
		d.t.Errorf("%s: members (-want +got):\n%s", name, diff)
	}
	for _, note := range notes {
		if !strings.Contains(got, note) {
			d.t.Errorf("%s: %q is missing in the notes %q", name, note, got)
		}
	}
	if len(notes) == 0 && got != "" {
		d.t.Errorf("%s: notes %q", name, got)
	}
}

// From a whole cluster down to nothing: the disk and whoever is left tell the members.
func TestOnNodeAsMembersFail(t *testing.T) {
	d := newNodeDisk(t, 3)
	members := d.cluster.Members
	d.wantRows("all run", map[string]bool{"a": true, "b": true, "c": true})

	members[0].Stop()
	down := "this node's etcd does not run: nothing listens on " + members[0].Addr() + "; its data is in " + d.root + "/var/lib/etcd, up to revision "
	d.wantRows("the own is down", map[string]bool{"a": false, "b": true, "c": true}, down)
	members[1].Stop()
	members[2].Stop()
	database := filepath.Join(d.root, "var/lib/etcd/member/snap/db")
	d.wantRows("all are down", map[string]bool{"a": false, "b": false, "c": false}, down,
		"no member answers: those shown are from "+database)
	if err := os.Rename(database, database+".away"); err != nil {
		t.Fatal(err)
	}
	d.wantRows("without a database", map[string]bool{"a": false, "b": false, "c": false}, "does not run", "--initial-cluster in "+d.root)
}

// Members that joined later stand in no manifest: the own member tells of them.
func TestOnNodeAsksForTheMembers(t *testing.T) {
	d := newNodeDisk(t, 2)
	manifest := filepath.Join(d.root, "etc/kubernetes/manifests/etcd.yaml")
	content, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	second := ",b=" + d.cluster.Members[1].PeerURL
	if !strings.Contains(string(content), second) {
		t.Fatalf("%q is missing in %s", second, content)
	}
	d.write("etc/kubernetes/manifests/etcd.yaml", strings.ReplaceAll(string(content), second, ""))
	d.wantRows("a manifest from before", map[string]bool{"a": true, "b": true})
}

func TestOnNodeBackupAndLiveRestore(t *testing.T) {
	d := newNodeDisk(t, 3)
	d.cluster.Fill(30, 100)
	dir := t.TempDir()
	file := filepath.Join(dir, "s.db")
	code, out, errOut := d.run("backup", "-f", file)
	if code != exitOK || !strings.HasPrefix(out, "ok: snapshot in "+file) {
		t.Fatalf("exit code %d: %s%s", code, out, errOut)
	}
	code, out, errOut = d.run("restore", "--from-file", file, "--out-dir", filepath.Join(dir, "out"), "--live", "--dry-run")
	if code != exitOK || !strings.Contains(out, d.cluster.Members[2].PeerURL) {
		t.Errorf("exit code %d: %s%s", code, out, errOut)
	}

	d.cluster.Members[1].Stop()
	d.cluster.Members[2].Stop()
	file = filepath.Join(dir, "alone.db")
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		status, err := d.cluster.Open(0).Status(t.Context())
		if err == nil && status.Leader == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the last member still sees a leader: %+v %v", status, err)
		}
	}
	code, out, errOut = d.run("backup", "-f", file)
	if code != exitOK || !strings.HasPrefix(out, "warning: snapshot in "+file) {
		t.Fatalf("exit code %d: %s%s", code, out, errOut)
	}
	for _, text := range []string{out, errOut} {
		for _, want := range []string{"a knows no leader", "committed by a quorum once", "may be missing"} {
			if !strings.Contains(text, want) {
				t.Errorf("%q is missing in %s", want, text)
			}
		}
	}

	d.cluster.Members[0].Stop()
	code, _, errOut = d.run("backup", "-f", filepath.Join(dir, "none.db"))
	if code != exitError {
		t.Errorf("exit code %d with all down", code)
	}
	for _, want := range []string{"note: this node's etcd does not run", "cp -a ", "hint: see why etcd does not run", "manifests/etcd.yaml"} {
		if !strings.Contains(errOut, want) {
			t.Errorf("%q is missing in %s", want, errOut)
		}
	}
}

// The first certificate that is good is used; what is wrong with the others is told.
func TestOnNodeCertificates(t *testing.T) {
	d := newNodeDisk(t, 1)
	year := time.Now().Add(365 * 24 * time.Hour)
	probe := filepath.Join(d.root, pki, "healthcheck-client")
	d.wantRows("as kubeadm makes them", map[string]bool{"a": true})

	if err := os.Chmod(probe+".key", 0o644); err != nil {
		t.Fatal(err)
	}
	d.wantRows("readable by all", map[string]bool{"a": true}, probe+".key (mode 0644): chmod 600")

	d.issue(pki+"/healthcheck-client", etcdtest.Leaf{CommonName: "soon", NotAfter: time.Now().Add(50 * time.Hour)})
	if code, out, errOut := d.run("status"); code != exitFindings || !strings.Contains(out, "the client certificate CN=soon ends in 2 days, at ") {
		t.Errorf("ends soon: exit code %d, %s%s", code, out, errOut)
	}
	if _, out, _ := d.run("backup", "-f", filepath.Join(t.TempDir(), "s.db")); !strings.Contains(out, "warning   the client certificate CN=soon ends in 2 days") {
		t.Errorf("a backup with a certificate that ends soon: %s", out)
	}
	d.issue(pki+"/healthcheck-client", etcdtest.Expired("probe"))
	d.issue("etc/kubernetes/pki/apiserver-etcd-client", etcdtest.Leaf{CommonName: "apiserver", NotAfter: year})
	d.wantRows("ended, and another", map[string]bool{"a": true}, "not used: ", probe+".crt ended at ")

	d.issue("etc/kubernetes/pki/apiserver-etcd-client", etcdtest.Expired("apiserver"))
	code, _, errOut := d.run("status")
	if code != exitError || !strings.Contains(errOut, probe+".crt ended at") || !strings.Contains(errOut, "hint: look at the dates") {
		t.Errorf("all ended: exit code %d, %s", code, errOut)
	}
	for _, name := range []string{pki + "/healthcheck-client.key", "etc/kubernetes/pki/apiserver-etcd-client.key"} {
		if err := os.Remove(filepath.Join(d.root, name)); err != nil {
			t.Fatal(err)
		}
	}
	code, _, errOut = d.run("status")
	if code != exitError || !strings.Contains(errOut, probe+".key: no such file") || !strings.Contains(errOut, "hint: give --cacert") {
		t.Errorf("no key: exit code %d, %s", code, errOut)
	}
	if err := os.Remove(filepath.Join(d.root, pki, "ca.crt")); err != nil {
		t.Fatal(err)
	}
	if _, _, errOut = d.run("status"); strings.Count(errOut, "ca.crt: no such file") != 1 {
		t.Errorf("no authority: %s", errOut)
	}
	d.write(pki+"/ca.crt", string(d.cluster.Authority.PEM)) // a full disk left the pair empty
	d.write(pki+"/healthcheck-client.crt", "")
	d.write(pki+"/healthcheck-client.key", "")
	code, _, errOut = d.run("status")
	if code != exitError || !strings.Contains(errOut, probe+".crt is empty") {
		t.Errorf("empty pair: exit code %d, %s", code, errOut)
	}
	good := writePair(t, d.cluster.Authority, etcdtest.Leaf{})
	code, out, errOut := d.run("status", "--cacert", good.ca, "--cert", good.cert, "--key", good.key)
	if code != exitOK || !strings.Contains(out, "1 of 1 members healthy") {
		t.Errorf("flags: exit code %d, %s%s", code, out, errOut)
	}
}

// The own member is verified by the name that its certificate carries on the node, and
// others by their address.
func TestOnNodeVerifiesNames(t *testing.T) {
	root := t.TempDir()
	cluster := etcdtest.Start(t, 1, etcdtest.Options{Server: etcdtest.Leaf{Names: []string{"elsewhere.example"}}})
	d := nodeDisk{t, root, cluster}
	own := cluster.Members[0]
	good := newNodeDisk(t, 1)
	content, err := os.ReadFile(filepath.Join(good.root, "etc/kubernetes/manifests/etcd.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	d.write("etc/kubernetes/manifests/etcd.yaml", strings.ReplaceAll(string(content), good.cluster.Members[0].ClientURL, own.ClientURL))
	d.write(pki+"/ca.crt", string(cluster.Authority.PEM))
	d.issue(pki+"/healthcheck-client", etcdtest.Leaf{})
	code, out, errOut := d.run("status")
	if code != exitFindings || !strings.Contains(out, "another name") || !strings.Contains(errOut, "subjectAltName") {
		t.Errorf("exit code %d: %s%s", code, out, errOut)
	}
}

func TestOnNodeErrors(t *testing.T) {
	d := nodeDisk{t: t, root: t.TempDir()}
	code, _, errOut := d.run("status")
	if code != exitNotFound || !strings.Contains(errOut, filepath.Join(d.root, "etc/kubernetes/manifests")) || !strings.Contains(errOut, "hint: run it on a control plane node") {
		t.Errorf("empty disk: exit code %d, %s", code, errOut)
	}
	d.root += "/none"
	if code, _, errOut := d.run("backup"); code != exitError || !strings.Contains(errOut, d.root) {
		t.Errorf("no disk: exit code %d, %s", code, errOut)
	}
}

func TestOnNodeFlags(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"--on-node --endpoints x:1", "--on-node and --endpoints exclude each other"},
		{"--on-node --cert-secret a/b", "--cert-secret needs Kubernetes"},
		{"--on-node --all-etcd", "--all-etcd needs Kubernetes"},
		{"--node-root /mnt", "--node-root goes with --on-node"},
	} {
		s, _, errOut := testSession(nil)
		code := s.execute(t.Context(), newRootCommand(s), append([]string{"status"}, strings.Fields(test.args)...))
		if code != exitUsage || !strings.Contains(errOut.String(), test.want) {
			t.Errorf("%s: exit code %d, %s", test.args, code, errOut)
		}
	}
}

func TestRemoteURL(t *testing.T) {
	for _, test := range []struct {
		urls []string
		want string
	}{
		{[]string{"https://127.0.0.1:2379", "https://10.0.0.1:2379"}, "https://10.0.0.1:2379"},
		{[]string{"https://localhost:2379", "https://[::1]:2379", "https://etcd-1.example:2379"}, "https://etcd-1.example:2379"},
		{[]string{"https://127.0.0.1:2379"}, "https://127.0.0.1:2379"},
	} {
		if got := remoteURL(test.urls); got != test.want {
			t.Errorf("%v: %s", test.urls, got)
		}
	}
}

// Without a database the others are guessed from --initial-cluster and --etcd-servers.
func TestMembersOfTheManifest(t *testing.T) {
	n := nodeSearch{cluster: discover.LocalCluster{
		Cluster: discover.Cluster{Pods: []discover.Pod{{TLS: true, ClientPort: 4001}}},
		Peers:   []discover.Peer{{Name: "a", URLs: []string{"https://10.0.0.1:2380"}}, {Name: "b", URLs: []string{"https://[fd00::2]:2380"}}},
		Servers: []string{"https://10.0.0.1:4001", "https://10.0.0.3:4001"},
	}}
	members, origin := n.known()
	want := []etcd.Member{
		{Name: "a", PeerURLs: []string{"https://10.0.0.1:2380"}, ClientURLs: []string{"https://10.0.0.1:4001"}},
		{Name: "b", PeerURLs: []string{"https://[fd00::2]:2380"}, ClientURLs: []string{"https://[fd00::2]:4001"}},
		{Name: "10.0.0.3:4001", ClientURLs: []string{"https://10.0.0.3:4001"}},
	}
	if diff := cmp.Diff(want, members); diff != "" || !strings.Contains(origin, "--etcd-servers") {
		t.Errorf("from %s (-want +got):\n%s", origin, diff)
	}
}

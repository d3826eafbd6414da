//go:build e2e

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/test/cluster"
)

func TestWrongContextNamesTheRightOnes(t *testing.T) {
	got := run(t, "status", "--context", "nowhere")
	got.wantExit(t, 1)
	got.wantStderr(t, `context "nowhere" does not exist`, "hint: the contexts are kubernetes-admin@kubernetes")
}

func TestNoKubeconfig(t *testing.T) {
	got := runWith(t, []string{"KUBECONFIG=", "HOME=" + t.TempDir()}, "status")
	got.wantExit(t, 1)
	got.wantStderr(t, "error: no kubeconfig", "hint:", "--kubeconfig")
}

// TestNoRights: a user with no right at all, then one who sees pods but may not reach
// them. The line in the hint is run, and must say no.
func TestNoRights(t *testing.T) {
	kubectl(t, "create", "serviceaccount", "-n", "default", "nobody")
	t.Cleanup(func() { kubectl(t, "delete", "serviceaccount", "-n", "default", "nobody") })
	config := kubeconfigOf(t, "default", "nobody")

	got := runWith(t, []string{"KUBECONFIG=" + config}, "status")
	got.wantExit(t, 1)
	got.wantStderr(t, "forbidden", "kubectl auth can-i list pods -n kube-system")

	kubectl(t, "create", "clusterrole", "pod-viewer", "--verb=get,list", "--resource=pods,nodes")
	kubectl(t, "create", "clusterrolebinding", "pod-viewer", "--clusterrole=pod-viewer", "--serviceaccount=default:nobody")
	t.Cleanup(func() { kubectl(t, "delete", "clusterrole/pod-viewer", "clusterrolebinding/pod-viewer") })

	exec := runWith(t, []string{"KUBECONFIG=" + config}, "status")
	exec.wantExit(t, 1)
	exec.wantStderr(t, "forbidden", "kubectl auth can-i create pods --subresource=exec -n kube-system")
	forward := runWith(t, []string{"KUBECONFIG=" + config}, append([]string{"status"}, certFlags()...)...)
	forward.wantExit(t, 1)
	forward.wantStderr(t, "forbidden", "kubectl auth can-i create pods --subresource=portforward -n kube-system")
	wantNo(t, config, "create", "pods", "--subresource=portforward", "-n", "kube-system")
}

func wantNo(t *testing.T, kubeconfig string, args ...string) {
	t.Helper()
	out, _ := exec.Command("kubectl", append([]string{"--kubeconfig", kubeconfig, "auth", "can-i"}, args...)...).Output()
	if string(out) != "no\n" {
		t.Errorf("kubectl auth can-i %v says %q, want no", args, out)
	}
}

// kubeconfigOf is the shared cluster's with a service account's token.
func kubeconfigOf(t *testing.T, namespace, account string) string {
	t.Helper()
	token := kubectl(t, "create", "token", "-n", namespace, account)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	copyFile(t, shared.Kubeconfig(), path)
	for _, args := range [][]string{
		{"config", "set-credentials", "account", "--token", token},
		{"config", "set-context", "--current", "--user", "account"},
	} {
		if out, err := exec.Command("kubectl", append([]string{"--kubeconfig", path}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("kubectl %v: %v: %s", args, err, out)
		}
	}
	return path
}

func TestAPIServerDown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kubeconfig")
	copyFile(t, shared.Kubeconfig(), path)
	if out, err := exec.Command("kubectl", "--kubeconfig", path, "config", "set-cluster", "kubernetes",
		fmt.Sprintf("--server=https://127.0.0.1:%d", freePort(t))).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got := runWith(t, []string{"KUBECONFIG=" + path}, "status")
	got.wantExit(t, 6)
	got.wantStderr(t, "API server unreachable", "hint:", "--endpoints")
}

// TestOneAPIServerDown: the kubeconfig leads to a dead one first; the others serve.
func TestOneAPIServerDown(t *testing.T) {
	// node0's kubelet asks its own API server whether one may exec, and keeps a yes for minutes:
	// it is asked while it can still find out.
	run(t, "status").wantExit(t, 0)
	stop(t, cluster.APIServer, node(t, "node0"))
	got := run(t, "status")
	got.wantExit(t, 0)
	got.wantStdout(t, "3 of 3 members healthy")
}

func TestCertificatesThatDoNotDo(t *testing.T) {
	authority := newAuthority(t)
	foreign := authority.issue(t, time.Hour)
	expired := clusterAuthority(t).issue(t, -time.Hour)
	good := shared.Certs()
	for _, tc := range []struct {
		name         string
		ca, crt, key string
		want         string
	}{
		{"wrong authority", authority.file, good + "/client.crt", good + "/client.key", "unknown authority"},
		{"foreign client certificate", good + "/ca.crt", foreign.crt, foreign.key, "client certificate"},
		{"expired client certificate", good + "/ca.crt", expired.crt, expired.key, "expired"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "s.db")
			got := run(t, "backup", "-f", file, "--cacert", tc.ca, "--cert", tc.crt, "--key", tc.key)
			got.wantExit(t, 1)
			got.wantStderr(t, tc.want, "hint:")
			if _, err := os.Lstat(file); err == nil {
				t.Errorf("%s was made all the same", file)
			}
		})
	}
}

// TestCertificateEndsSoon: it works, and is a finding.
func TestCertificateEndsSoon(t *testing.T) {
	for days, code := range map[int]int{20: 0, 5: 3} {
		soon := clusterAuthority(t).issue(t, time.Duration(days)*24*time.Hour+time.Hour)
		got := run(t, "status", "--cacert", shared.Certs()+"/ca.crt", "--cert", soon.crt, "--key", soon.key)
		got.wantExit(t, code)
		got.wantStdout(t, "3 of 3 members healthy", fmt.Sprintf("the client certificate CN=e2e ends in %d days, at ", days))
	}
}

// TestWrongServerName reaches a member by a name that stands in no certificate.
func TestWrongServerName(t *testing.T) {
	n := node(t, "node0")
	const name = "elsewhere.example"
	if _, err := n.Run(t.Context(), "echo "+n.IP+" "+name+" >> /etc/hosts"); err != nil {
		t.Fatal(err)
	}
	got := onNode(t, n, "status", "--endpoints", "https://"+name+":2379")
	got.wantExit(t, 3)
	got.wantStdout(t, name, "another name")

	file := "/var/lib/etcd/wrong-name.db"
	backup := onNode(t, n, "backup", "-f", file, "--endpoints", "https://"+name+":2379")
	backup.wantExit(t, 1)
	backup.wantStderr(t, "another name", "hint:", "subjectAltName")
	if _, err := os.Lstat(n.Path(file)); err == nil {
		t.Errorf("%s was made all the same", file)
	}
}

// TestFullAndReadOnlyDisks: nothing half-written, nothing left, no member asked twice.
func TestFullAndReadOnlyDisks(t *testing.T) {
	for _, tc := range []struct{ name, options, want string }{
		{"full", "size=256k", "no space left"}, // a cluster that is empty has 1 MiB
		{"read-only", "ro", "read-only"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			if out, err := exec.Command("mount", "-t", "tmpfs", "-o", tc.options, "tmpfs", dir).CombinedOutput(); err != nil {
				t.Fatalf("mount: %v: %s", err, out)
			}
			t.Cleanup(func() {
				if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
					t.Errorf("umount: %v: %s", err, out)
				}
			})
			got := runWithCerts(t, "backup", "-f", filepath.Join(dir, "s.db"))
			got.wantExit(t, 1)
			got.wantStderr(t, tc.want, dir, "hint:")
			left, err := os.ReadDir(dir)
			if err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// authority signs client certificates.
type authority struct {
	file string
	cert *x509.Certificate
	key  any
}

type issued struct{ crt, key string }

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "etcd-ca"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.crt")
	writeFile(t, file, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	return &authority{file: file, cert: cert, key: key}
}

// clusterAuthority is the shared cluster's own etcd authority, off node0's disk.
func clusterAuthority(t *testing.T) *authority {
	t.Helper()
	dir := node(t, "node0").Path("/etc/kubernetes/pki/etcd")
	crt, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(dir, "ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(crt)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	block, _ = pem.Decode(key)
	private, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{file: filepath.Join(dir, "ca.crt"), cert: cert, key: private}
}

// issue makes a client certificate whose time ends that far from now.
func (a *authority) issue(t *testing.T, ends time.Duration) issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "e2e"},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(ends),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	out := issued{filepath.Join(dir, "client.crt"), filepath.Join(dir, "client.key")}
	writeFile(t, out.crt, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	writeFile(t, out.key, string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private})))
	return out
}

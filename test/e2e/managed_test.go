//go:build e2e

package e2e

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestManagedControlPlane runs a real kube-apiserver whose etcd is in no pod, as a cloud
// shows its control plane to a customer, and gives it a node of that cloud.
func TestManagedControlPlane(t *testing.T) {
	api := startBareAPIServer(t)
	api.kubectl(t, `apiVersion: v1
kind: Node
metadata:
  name: ip-10-0-0-1.ec2.internal
  labels: {eks.amazonaws.com/nodegroup: workers}
spec:
  providerID: aws:///eu-central-1a/i-0123456789abcdef0
`)

	got := runWith(t, []string{"KUBECONFIG=" + api.kubeconfig}, "status")
	got.wantExit(t, 4)
	got.wantStderr(t, "error: no etcd found", "EKS", "hint:")
}

// bareAPIServer is a kube-apiserver with an etcd, both processes on loopback.
type bareAPIServer struct {
	kubeconfig string
}

func startBareAPIServer(t *testing.T) *bareAPIServer {
	t.Helper()
	dir := t.TempDir()
	bin := binaryDir(t)
	etcdPort, peerPort, apiPort := freePort(t), freePort(t), freePort(t)
	etcdURL := fmt.Sprintf("http://127.0.0.1:%d", etcdPort)
	start(t, dir, filepath.Join(bin, "etcd"), "--data-dir", filepath.Join(dir, "etcd"),
		"--listen-client-urls", etcdURL, "--advertise-client-urls", etcdURL,
		"--listen-peer-urls", fmt.Sprintf("http://127.0.0.1:%d", peerPort))

	key := writeKey(t, filepath.Join(dir, "sa.key"))
	tokens := filepath.Join(dir, "tokens.csv")
	writeFile(t, tokens, "e2e-token,admin,admin,system:masters\n")
	start(t, dir, filepath.Join(bin, "kube-apiserver"), "--etcd-servers", etcdURL,
		"--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1", "--secure-port", fmt.Sprint(apiPort),
		"--cert-dir", filepath.Join(dir, "certs"), "--token-auth-file", tokens, "--authorization-mode", "RBAC",
		"--service-account-key-file", key, "--service-account-signing-key-file", key,
		"--service-account-issuer", "https://kubernetes.default.svc", "--service-cluster-ip-range", "10.96.0.0/16", "--endpoint-reconciler-type", "none")

	api := &bareAPIServer{kubeconfig: filepath.Join(dir, "kubeconfig")}
	writeFile(t, api.kubeconfig, fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: managed
contexts: [{name: managed, context: {cluster: managed, user: admin}}]
clusters: [{name: managed, cluster: {server: "https://127.0.0.1:%d", certificate-authority: %s}}]
users: [{name: admin, user: {token: e2e-token}}]
`, apiPort, filepath.Join(dir, "certs", "apiserver.crt")))
	eventually(t, 90*time.Second, "the bare API server is ready", func() error {
		out, err := exec.Command("kubectl", "--kubeconfig", api.kubeconfig, "get", "--raw", "/readyz").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	return api
}

// kubectl creates the objects of manifest.
func (a *bareAPIServer) kubectl(t *testing.T, manifest string) {
	t.Helper()
	c := exec.Command("kubectl", "--kubeconfig", a.kubeconfig, "create", "-f", "-")
	c.Stdin = strings.NewReader(manifest)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("kubectl create: %v: %s", err, out)
	}
}

// start runs a process until the test ends; its output is shown when the test fails.
func start(t *testing.T, dir, name string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	log, err := os.Create(filepath.Join(dir, filepath.Base(name)+".log"))
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(ctx, name, args...)
	c.Dir, c.Stdout, c.Stderr = dir, log, log
	if err := c.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	t.Cleanup(func() {
		cancel()
		_ = c.Wait() // it was killed: its error says only that
		_ = log.Close()
		if t.Failed() {
			showTail(t, log.Name())
		}
	})
	return c
}

func showTail(t *testing.T, path string) {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Log(err)
		return
	}
	if len(b) > 4000 {
		b = b[len(b)-4000:]
	}
	t.Logf("end of %s:\n%s", filepath.Base(path), b)
}

func writeKey(t *testing.T, path string) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
	return path
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// eventually tries check every half second until it succeeds or limit is over.
func eventually(t *testing.T, limit time.Duration, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %s until %s: %v", limit, what, err)
		}
		time.Sleep(500 * time.Millisecond)
	}
}

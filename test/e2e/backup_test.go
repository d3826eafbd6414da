//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/tunnel"
	"github.com/kubectl-etcd/kubectl-etcd/test/cluster/binaries"
)

// backupReport is `backup -o json`, as far as the journeys look at it.
type backupReport struct {
	Path     string `json:"path"`
	Member   string `json:"member"`
	Size     int64  `json:"size"`
	SHA256   string `json:"sha256"`
	Tries    int    `json:"tries"`
	Contents struct {
		Revision int64  `json:"revision"`
		Keys     int64  `json:"keys"`
		HashKV   uint32 `json:"hashKV"`
	} `json:"contents"`
}

func binaryDir(t *testing.T) string {
	t.Helper()
	dir, err := binaries.Ensure(t.Context(), os.Stderr, binaries.Kubernetes)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// takeBackup writes a snapshot of the shared cluster into a new file.
func takeBackup(t *testing.T) backupReport {
	t.Helper()
	path := filepath.Join(t.TempDir(), "snapshot.db")
	got := runWithCerts(t, "backup", "-f", path, "-o", "json")
	got.wantExit(t, 0)
	var report backupReport
	got.decode(t, &report)
	return report
}

// TestBackupOfARunningCluster: the file is what etcd streamed, private, and what the
// members themselves say of that revision.
func TestBackupOfARunningCluster(t *testing.T) {
	report := takeBackup(t)

	b, err := os.ReadFile(report.Path)
	if err != nil {
		t.Fatal(err)
	}
	body, sum := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if own := sha256.Sum256(body); !bytes.Equal(own[:], sum) {
		t.Errorf("sha256 of the database %x, behind it %x", own, sum)
	}
	if whole := sha256.Sum256(b); fmt.Sprintf("%x", whole) != report.SHA256 {
		t.Errorf("sha256 of the file %x, in the report %s", whole, report.SHA256)
	}
	if info, err := os.Stat(report.Path); err != nil || info.Mode().Perm() != 0o600 || info.Size() != report.Size {
		t.Errorf("file %v, %v; want mode 0600 and %d bytes", info, err, report.Size)
	}
	leader := statusOf(t).leaderPod()
	if report.Member == leader {
		t.Errorf("the snapshot came from the leader %s, with two followers at hand", leader)
	}
	live, err := member(t, "etcd-node0").HashKV(t.Context(), report.Contents.Revision)
	if err != nil {
		t.Fatal(err)
	}
	if live.Hash != report.Contents.HashKV {
		t.Errorf("HashKV at %d: the report says %d, the live member %d", report.Contents.Revision, report.Contents.HashKV, live.Hash)
	}
}

func TestBackupToStandardOutput(t *testing.T) {
	got := runWithCerts(t, "backup", "-f", "-")
	got.wantExit(t, 0)
	path := filepath.Join(t.TempDir(), "piped.db")
	writeFile(t, path, got.stdout)
	out, err := exec.Command(filepath.Join(binaryDir(t), "etcdutl"), "snapshot", "status", path).CombinedOutput()
	if err != nil {
		t.Errorf("etcdutl snapshot status: %v: %s", err, out)
	}
}

func TestBackupNamesItsFile(t *testing.T) {
	dir := t.TempDir()
	c := pluginCommand([]string{"KUBECONFIG=" + shared.Kubeconfig()}, append([]string{"backup"}, certFlags()...)...)
	c.Dir = dir
	got := finish(t, c, []string{"backup"})
	got.wantExit(t, 0)
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) != 1 || !strings.HasPrefix(filepath.Base(names[0]), "etcd-main-") || strings.Contains(filepath.Base(names[0]), ":") {
		t.Fatalf("want one file etcd-main-<time>.db: %v, %v", names, err)
	}
	got.wantStderr(t, names[0])
	got.wantStdout(t, "kubectl etcd restore --from-file")
}

func waitReady(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := shared.WaitReady(ctx); err != nil {
		t.Error(err)
	}
}

// member is a client of one pod's etcd, through the product's own tunnel.
func member(t *testing.T, pod string) *etcd.Client {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", shared.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	dialer, err := tunnel.New(config, tunnel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	client, err := etcd.Open(etcd.Endpoint{
		Name: pod, URL: "https://127.0.0.1:2379", ServerName: "localhost",
		Dial: func(ctx context.Context) (net.Conn, error) {
			return dialer.DialContext(ctx, tunnel.Pod{Namespace: "kube-system", Name: pod}, 2379)
		},
	}, etcd.Options{TLS: clientTLS(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func clientTLS(t *testing.T) *tls.Config {
	t.Helper()
	dir := shared.Certs()
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "client.crt"), filepath.Join(dir, "client.key"))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
}

func statusOf(t *testing.T) statusList {
	t.Helper()
	got := run(t, "status", "-o", "json")
	got.wantExit(t, 0)
	var list statusList
	got.decode(t, &list)
	return list
}

// tryStatus is statusOf while etcd may be on its way: whatever the verdict is, it is returned.
func tryStatus(t *testing.T) (statusList, error) {
	t.Helper()
	got := run(t, "status", "-o", "json")
	var list statusList
	if err := json.Unmarshal([]byte(got.stdout), &list); err != nil || len(list.Items) == 0 {
		return list, fmt.Errorf("exit %d: %s", got.code, got.stderr)
	}
	return list, nil
}

func (l statusList) leaderPod() string {
	for _, m := range l.Items[0].Members {
		if m.Status != nil && m.Status.MemberID == m.Status.Leader {
			return m.Pod
		}
	}
	return ""
}

func (l statusList) highestRevision() (highest int64) {
	for _, m := range l.Items[0].Members {
		if m.Status != nil {
			highest = max(highest, m.Status.Revision)
		}
	}
	return highest
}

//go:build unix

package cluster

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"text/template"

	"github.com/kubectl-etcd/kubectl-etcd/test/cluster/binaries"
)

//go:embed kubeadm-init.yaml
var initTemplate string

//go:embed kubeadm-join.yaml
var joinTemplate string

// patchesDir is where kubeadm finds changes to the static pods that it makes.
const patchesDir = "/etc/kubernetes/patches"

// discoveryFile tells a node that joins where the cluster is, and whom to trust.
const discoveryFile = "/etc/kubernetes/discovery.conf"

// startupPatch lets kubelet look every second whether a static pod has started. With
// kubeadm's own 10 s each restart of one costs a test 10 to 20 s.
const startupPatch = "spec: {containers: [{name: %s, startupProbe: {initialDelaySeconds: 1, periodSeconds: 1, failureThreshold: 240}}]}\n"

// kubeadmConfig is what the templates of kubeadm's configuration are filled with.
type kubeadmConfig struct {
	Node           *Node
	Patches        string // folder on the node
	Discovery      string // file on the node
	Endpoint       string // the load balancer, as nodes reach it
	Kubernetes     string // "1.37.2"
	EtcdTag        string
	Token          string // bootstrap token
	CertificateKey string // decrypts what --upload-certs left in the cluster
}

func newKubeadmConfig(endpoint string) kubeadmConfig {
	return kubeadmConfig{
		Endpoint:       endpoint,
		Patches:        patchesDir,
		Discovery:      discoveryFile,
		Kubernetes:     binaries.KubernetesVersion,
		EtcdTag:        etcdTag,
		Token:          randomHex(3) + "." + randomHex(8),
		CertificateKey: randomHex(32),
	}
}

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// init makes the first control plane on n.
func (k kubeadmConfig) init(ctx context.Context, n *Node) error {
	// Preflight looks for systemd, swap and open ports that mean nothing here;
	// the addons are kube-proxy and CoreDNS, whose images nobody needs.
	return k.on(ctx, n, "init", "--skip-phases=preflight,addon --upload-certs")
}

// join adds n as one more control plane to that of first.
func (k kubeadmConfig) join(ctx context.Context, first, n *Node) error {
	admin, err := os.ReadFile(first.Path("/etc/kubernetes/admin.conf"))
	if err != nil {
		return fmt.Errorf("read how to reach the control plane: %w", err)
	}
	if err := os.WriteFile(n.Path(discoveryFile), admin, 0o600); err != nil {
		return fmt.Errorf("tell how to reach the control plane: %w", err)
	}
	return k.on(ctx, n, "join", "--skip-phases=preflight")
}

func (k kubeadmConfig) on(ctx context.Context, n *Node, verb, flags string) error {
	k.Node = n
	config := n.Path("/etc/kubernetes/kubeadm-" + verb + ".yaml")
	if err := errors.Join(k.write(config, verb), writePatches(n.Path(patchesDir))); err != nil {
		return fmt.Errorf("configure kubeadm %s: %w", verb, err)
	}
	_, err := n.Run(ctx, fmt.Sprintf(`
		if ! kubeadm %s --config /etc/kubernetes/%s %s --ignore-preflight-errors=all -v 1 >>/mnt/node/kubeadm.log 2>&1; then
			tail -c 3000 /mnt/node/kubeadm.log >&2
			exit 1
		fi`, verb, filepath.Base(config), flags))
	return err
}

func (k kubeadmConfig) write(path, verb string) error {
	t, err := template.New("join").Parse(joinTemplate)
	if err != nil {
		return err
	}
	if _, err := t.New("init").Parse(initTemplate); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(t.ExecuteTemplate(file, verb, k), file.Close())
}

func writePatches(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, part := range []Part{Etcd, APIServer, ControllerManager, Scheduler} {
		file := filepath.Join(dir, string(part)+"+strategic.yaml")
		if err := os.WriteFile(file, fmt.Appendf(nil, startupPatch, part), 0o600); err != nil {
			return err
		}
	}
	return nil
}

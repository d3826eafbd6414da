package cmd

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/discover"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/tunnel"
)

// tcpDialer reaches a pod's port on loopback.
type tcpDialer struct{ addr string }

func (d tcpDialer) DialContext(ctx context.Context, _ tunnel.Pod, _ int) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", d.addr)
}

func (d tcpDialer) Exec(context.Context, tunnel.Pod, string, []string, io.Writer) error {
	panic("a member that can be reached by port-forward was asked by exec")
}

// Through pods, with and without TLS, as far as a real member: only the tunnel is a
// plain connection.
func TestStatusThroughPods(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	for _, plain := range []bool{true, false} {
		t.Run("plain="+strconv.FormatBool(plain), func(t *testing.T) {
			cluster := etcdtest.Start(t, 1, etcdtest.Options{Plain: plain})
			pod := discover.Pod{Namespace: "kube-system", Name: "etcd-node0", Node: "node0", ClientPort: 2379, TLS: !plain, ServerName: "localhost"}
			found := &discover.Found{Clusters: []discover.Cluster{{Name: "main", Namespace: "kube-system", Pods: []discover.Pod{pod}}}}
			o := statusOptions{target: *withKubernetes(t, server, found, tcpDialer{cluster.Members[0].Addr()}), failOn: "warning"}
			if !plain {
				o.files = writePair(t, cluster.Authority, etcdtest.Leaf{CommonName: "client"})
			}
			var out strings.Builder
			o.Out = &out
			if err := o.run(t.Context()); err != nil {
				t.Errorf("%v\n%s", err, out.String())
			}
			for _, want := range []string{"etcd-node0  node0  leader ", "\nok: 1 of 1"} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("%q is missing in\n%s", want, out.String())
				}
			}
		})
	}
}

// writePair issues a certificate and returns its files.
func writePair(t *testing.T, authority *etcdtest.Authority, leaf etcdtest.Leaf) tlsFiles {
	t.Helper()
	pair, dir := authority.Issue(leaf), t.TempDir()
	f := tlsFiles{filepath.Join(dir, "ca.crt"), filepath.Join(dir, "client.crt"), filepath.Join(dir, "client.key")}
	for path, data := range map[string][]byte{f.ca: authority.PEM, f.cert: pair.CertPEM, f.key: pair.KeyPEM} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

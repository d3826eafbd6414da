//go:build e2e

package versions

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/test/cluster/binaries"
	"github.com/kubectl-etcd/kubectl-etcd/test/property"
)

// TestEveryVersionIsCaptured: random work on the real servers of each minor; with ETCD34=1
// also on Debian's 3.4.23, which has faults of its own (events lost on resume).
func TestEveryVersionIsCaptured(t *testing.T) {
	versions := releases
	if os.Getenv("ETCD34") != "" {
		versions = append([]string{"3.4.23"}, releases...)
	}
	for i, version := range versions {
		dir, err := binaries.Etcd(t.Context(), os.Stderr, version)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(version, func(t *testing.T) {
			client, peer := freeURL(t), freeURL(t)
			stop := startEtcd(t, []string{
				filepath.Join(dir, "etcd"), "--name=m0", "--data-dir=" + t.TempDir(), "--initial-cluster=m0=" + peer,
				"--initial-advertise-peer-urls=" + peer, "--listen-peer-urls=" + peer,
				"--advertise-client-urls=" + client, "--listen-client-urls=" + client,
			})
			defer stop()
			connect(t, client)
			c, err := etcd.Open(etcd.Endpoint{Name: "m0", URL: client}, etcd.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			property.Run(t, []*etcd.Client{c}, uint64(i+1))
		})
	}
}

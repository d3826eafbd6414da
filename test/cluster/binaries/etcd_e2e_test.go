//go:build e2e && unix

package binaries_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/test/cluster/binaries"
)

// TestEtcd runs what was built: each is of the version that it was asked for.
func TestEtcd(t *testing.T) {
	for _, version := range []string{"3.5.35", "3.6.16", binaries.EtcdVersion} {
		t.Run(version, func(t *testing.T) {
			dir, err := binaries.Etcd(t.Context(), t.Output(), version)
			if err != nil {
				t.Fatal(err)
			}
			for _, command := range [][]string{{"etcd", "--version"}, {"etcdutl", "version"}} {
				out, err := exec.CommandContext(t.Context(), filepath.Join(dir, command[0]), command[1:]...).CombinedOutput()
				if err != nil {
					t.Fatalf("%v: %v\n%s", command, err, out)
				}
				if !strings.Contains(string(out), version) {
					t.Errorf("%v says\n%s\nwant %s in it", command, out, version)
				}
			}
		})
	}
}

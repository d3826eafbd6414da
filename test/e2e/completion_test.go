//go:build e2e

package e2e

import (
	"os/exec"
	"strings"
	"testing"
)

// TestCompletion asks the real kubectl, as shells do.
func TestCompletion(t *testing.T) {
	dir := t.TempDir()
	run(t, "completion", "install", "--dir", dir).wantExit(t, 0)
	for _, test := range []struct {
		words []string
		want  string
	}{
		{[]string{"etcd", "heal"}, "health\t"},
		{[]string{"etcd", "member", "remove", ""}, "node1\tvoter at https://"},
		{[]string{"etcd", "status", ""}, "main\tkubeadm, 3 pods"},
		{[]string{"etcd", "backup", "--from", ""}, "node2\tvoter at https://"},
		{[]string{"etcd", "health", "--check", ""}, "H02\tquorum margin"},
	} {
		c := exec.Command("kubectl", append([]string{"__complete"}, test.words...)...)
		c.Env = append(cleanEnv(), "KUBECONFIG="+shared.Kubeconfig())
		for i, value := range c.Env {
			if path, ok := strings.CutPrefix(value, "PATH="); ok {
				c.Env[i] = "PATH=" + dir + ":" + path
			}
		}
		if got := finish(t, c, test.words); got.code != 0 || !strings.Contains("\n"+got.stdout, "\n"+test.want) {
			t.Errorf("%q: exit %d, %s%s", test.words, got.code, got.stdout, got.stderr)
		}
	}
}

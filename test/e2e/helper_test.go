//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/test/cluster"
)

// helperPods are the helpers' pods, "name phase" each.
func helperPods(t *testing.T) []string {
	t.Helper()
	return podsCalled(t, "kubectl-etcd-helper")
}

func wantNoHelpers(t *testing.T) {
	t.Helper()
	if pods := helperPods(t); len(pods) > 0 {
		t.Errorf("left behind: %v", pods)
	}
}

// TestHelperServesWithoutACertificate: with an image that is on the nodes anyway, a
// snapshot as good as any, and a status with latencies; nothing is left.
func TestHelperServesWithoutACertificate(t *testing.T) {
	got := run(t, "backup", "--helper", "-f", filepath.Join(t.TempDir(), "snapshot.db"), "-o", "json")
	got.wantExit(t, 0)
	got.wantStderr(t, "use the certificate of node0", cluster.BusyboxImage)
	wantNoHelpers(t)
	var report backupReport
	got.decode(t, &report)
	live, err := member(t, "etcd-node0").HashKV(t.Context(), report.Contents.Revision)
	if err != nil {
		t.Fatal(err)
	}
	if live.Hash != report.Contents.HashKV {
		t.Errorf("HashKV at %d: the report says %d, the live member %d", report.Contents.Revision, report.Contents.HashKV, live.Hash)
	}

	status := run(t, "status", "--helper", "-o", "json")
	status.wantExit(t, 0)
	var list statusList
	status.decode(t, &list)
	for _, m := range list.Items[0].Members {
		if m.Status == nil || m.Status.Latency <= 0 {
			t.Errorf("%s: %+v", m.Pod, m.Status)
		}
	}
	if way := list.Items[0].Way; way != "helper" {
		t.Errorf("the way is %s", way)
	}
	wantNoHelpers(t)
}

// TestHelperImages: one without cat, and one that is nowhere, are named with what the
// kubelet says of them.
func TestHelperImages(t *testing.T) {
	for image, says := range map[string]string{
		"registry.k8s.io/pause:3.10.2": "cat",
		"kubectl-etcd.invalid/none:1":  "kubectl-etcd.invalid/none:1",
	} {
		got := run(t, "status", "--helper", "--helper-image", image)
		got.wantExit(t, 1)
		got.wantStderr(t, says, "hint:", "--helper-image")
		wantNoHelpers(t)
	}
}

// TestHelperIsAskedForAtATerminal: a no creates nothing, a yes gives the snapshot.
func TestHelperIsAskedForAtATerminal(t *testing.T) {
	for answer, code := range map[string]int{"n": 1, "y": 0} {
		path := filepath.Join(t.TempDir(), "s.db")
		c := exec.Command("script", "--quiet", "--return", "--command", plugin+" backup -f "+path, "/dev/null")
		c.Env = append(cleanEnv(), "KUBECONFIG="+shared.Kubeconfig(), "TERM=xterm")
		c.Stdin = strings.NewReader(answer + "\n")
		got := finish(t, c, []string{"backup, answered with", answer})
		got.wantExit(t, code)
		got.wantStdout(t, "wants a client certificate", "healthcheck-client.key", cluster.BusyboxImage, "Read them? [y/N]")
		if _, err := os.Stat(path); (err == nil) != (code == 0) {
			t.Errorf("answered with %s: the file: %v", answer, err)
		}
		wantNoHelpers(t)
	}
}

// TestHelperInterrupted: Ctrl-C while the pod is there takes it away.
func TestHelperInterrupted(t *testing.T) {
	got := signalHelper(t, os.Interrupt)
	got.wantExit(t, 130)
	wantNoHelpers(t)
}

// signalHelper signals a run as soon as its helper is there.
func signalHelper(t *testing.T, sig os.Signal) result {
	t.Helper()
	c := pluginCommand([]string{"KUBECONFIG=" + shared.Kubeconfig()}, "status", "--helper")
	wait := begin(t, c, c.Args)
	for deadline := time.Now().Add(time.Minute); len(helperPods(t)) == 0; {
		if time.Now().After(deadline) {
			_ = c.Process.Kill()
			t.Fatalf("no helper was made: %+v", wait())
		}
	}
	if err := c.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	return wait()
}

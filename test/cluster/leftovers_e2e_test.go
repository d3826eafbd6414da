//go:build e2e && unix

package cluster_test

import (
	"bufio"
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubectl-etcd/kubectl-etcd/test/cluster"
)

// namespace is the default namespace as it is now, with a label that differs
// each time, so that an update really writes.
func namespace(t *testing.T, c *cluster.Cluster) *corev1.Namespace {
	t.Helper()
	client, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	ns, err := client.CoreV1().Namespaces().Get(t.Context(), "default", metav1.GetOptions{})
	if err != nil {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default"}} // the update will say why
	}
	if ns.Labels == nil {
		ns.Labels = map[string]string{}
	}
	ns.Labels["written-after"] = ns.ResourceVersion
	return ns
}

// leftovers knows what a running cluster consists of, to look for it later.
type leftovers struct {
	dir        string
	address    string          // of the API, on loopback
	namespaces map[string]bool // "net:[4026532201]", all but those of the test itself
	groups     []string        // control groups
}

func watchFor(t *testing.T, c *cluster.Cluster) leftovers {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	l := leftovers{dir: c.Dir(), address: config.Host, namespaces: map[string]bool{}}
	for _, n := range c.Nodes() {
		l.groups = append(l.groups, n.Cgroup())
		for _, pid := range strings.Fields(must(t, n, "echo /proc/[0-9]*")) {
			// As the node numbers them; a process may end before it is looked at.
			links, err := n.Run(t.Context(), "readlink "+pid+"/ns/{net,pid,mnt,uts,ipc} || true")
			if err != nil {
				t.Fatal(err)
			}
			for _, link := range strings.Fields(links) {
				l.namespaces[link] = true
			}
		}
	}
	for _, kind := range []string{"net", "pid", "mnt", "uts", "ipc"} {
		own, err := os.Readlink("/proc/self/ns/" + kind)
		if err != nil {
			t.Fatal(err)
		}
		delete(l.namespaces, own)
	}
	if len(l.namespaces) < 5*len(c.Nodes()) {
		t.Fatalf("found %d namespaces of %d nodes, want at least 5 each", len(l.namespaces), len(c.Nodes()))
	}
	return l
}

// nothing fails the test for whatever is left.
func (l leftovers) nothing(t *testing.T) {
	t.Helper()
	for _, path := range []string{l.dir, l.dir + ".lock"} {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s is left (%v)", path, err)
		}
	}
	for _, group := range l.groups {
		dirs, err := filepath.Glob("/sys/fs/cgroup/*/" + group)
		if err != nil {
			t.Fatal(err)
		}
		for _, dir := range dirs {
			t.Errorf("control group %s is left", dir)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, l.dir) {
			t.Errorf("mount is left: %s", line)
		}
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		l.notOurs(t, p)
	}
	if l.address == "" {
		return // it never had one
	}
	if conn, err := net.Dial("tcp", strings.TrimPrefix(l.address, "https://")); err == nil {
		conn.Close()
		t.Errorf("%s still takes connections", l.address)
	}
}

// notOurs fails the test if the process was in the cluster or speaks of it.
func (l leftovers) notOurs(t *testing.T, proc string) {
	t.Helper()
	cmdline, err := os.ReadFile(proc + "/cmdline")
	if err != nil {
		return // has ended
	}
	if bytes.Contains(cmdline, []byte(l.dir+"/")) {
		t.Errorf("process %s is left: %q", proc, cmdline)
	}
	for _, kind := range []string{"net", "pid", "mnt", "uts", "ipc"} {
		if link, err := os.Readlink(proc + "/ns/" + kind); err == nil && l.namespaces[link] {
			t.Errorf("process %s is left in %s: %q", proc, link, cmdline)
		}
	}
}

// TestCrashHalfway kills the command that brings a cluster up, at a moment when
// nodes run and nothing is ready, and looks whether down still finds everything.
func TestCrashHalfway(t *testing.T) {
	const name = "crash"
	tool := filepath.Join(t.TempDir(), "testcluster")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", tool, "./cmd/testcluster").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Cleanup(func() { removeCluster(t, name) })

	cmd := exec.CommandContext(t.Context(), tool, "up", "--cluster", name, "--nodes", "2")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		if strings.Contains(lines.Text(), "containerd serves") {
			break
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Success() {
		t.Fatal("up came to its end before it was killed")
	}

	c, err := cluster.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	if !c.Nodes()[1].Running(cluster.Machine) {
		t.Fatal("node1 does not run: the crash came too early to show anything")
	}
	left := leftovers{dir: c.Dir(), namespaces: map[string]bool{}, groups: []string{c.Nodes()[0].Cgroup(), c.Nodes()[1].Cgroup()}}
	removeCluster(t, name)
	left.nothing(t)
}

func removeCluster(t *testing.T, name string) {
	t.Helper()
	if err := cluster.Remove(t.Context(), name); err != nil {
		t.Error(err)
	}
}

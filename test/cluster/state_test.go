//go:build unix

package cluster

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

func TestStateRoundTrip(t *testing.T) {
	dir := t.TempDir()
	want := state{Name: "dev", Nodes: 3, Slot: 7, Boot: "b", Complete: true}
	if err := writeState(dir, want); err != nil {
		t.Fatal(err)
	}
	got, err := readState(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
}

func TestAddresses(t *testing.T) {
	s := state{Slot: 7}
	got := []string{s.gateway(), s.endpoint(), s.nodeIP(2), s.loopback()}
	want := []string{"10.250.7.1", "10.250.7.1:6443", "10.250.7.12", "127.0.0.1:16450"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
}

func TestCheckName(t *testing.T) {
	for name, ok := range map[string]bool{
		"dev": true, "a": true, "e2e-1": true, strings.Repeat("a", 30): true,
		"": false, "-a": false, "a-": false, "A": false, "a/b": false, "..": false, strings.Repeat("a", 31): false,
	} {
		if err := checkName(name); (err == nil) != ok {
			t.Errorf("checkName(%q) = %v, want ok %t", name, err, ok)
		}
	}
}

func TestClaimSlot(t *testing.T) {
	clusters := t.TempDir()
	claimed := func(name string) int {
		t.Helper()
		s, err := claimSlot(clusters, state{Name: name, Nodes: 1})
		if err != nil {
			t.Fatal(err)
		}
		return s.Slot
	}
	first := claimed("one")
	if again := claimed("one"); again != first {
		t.Errorf("the same name got slot %d, then %d", first, again)
	}

	// Another cluster holds the slot that the name asks for.
	if err := os.RemoveAll(filepath.Join(clusters, "one")); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(clusters, "other")
	if err := os.Mkdir(other, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := writeState(other, state{Name: "other", Slot: first}); err != nil {
		t.Fatal(err)
	}
	second := claimed("one")
	if second == first {
		t.Errorf("slot %d was given twice", first)
	}

	// Somebody listens on the port of the slot that comes next.
	l, err := net.Listen("tcp", state{Slot: second}.loopback())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if third := claimed("one"); third == first || third == second {
		t.Errorf("slot %d was given though its port is taken", third)
	}
}

func TestFindHierarchies(t *testing.T) {
	const hybrid = `24 18 0:21 / /sys/fs/cgroup rw - tmpfs tmpfs rw
25 24 0:22 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
26 24 0:23 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
27 24 0:24 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
`
	got, err := findHierarchies(strings.NewReader(hybrid))
	if err != nil {
		t.Fatal(err)
	}
	want := hierarchies{"/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/unified"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("hierarchies (-want +got):\n%s", diff)
	}
	const v2 = "26 24 0:23 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw\n"
	if _, err := findHierarchies(strings.NewReader(v2)); !errors.Is(err, errCgroupV2) {
		t.Errorf("with cgroup v2 alone: %v, want %v", err, errCgroupV2)
	}
}

func TestSupported(t *testing.T) {
	if err := supported("linux", 0); err != nil {
		t.Errorf("root on Linux: %v", err)
	}
	for _, err := range []error{supported("darwin", 0), supported("linux", 1000)} {
		if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "KUBECONFIG") {
			t.Errorf("error = %v, want ErrUnsupported that names KUBECONFIG", err)
		}
	}
}

func TestMissingTools(t *testing.T) {
	got := missing(func(tool string) (string, error) {
		if tool == "nsenter" || tool == "unshare" || tool == "gcc" {
			return "", os.ErrNotExist
		}
		return "/bin/" + tool, nil
	})
	if diff := cmp.Diff([]string{"gcc", "libc6-dev", "util-linux"}, got); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
}

func TestKubeadmConfigIsYAML(t *testing.T) {
	c := &Cluster{state: state{Name: "dev", Nodes: 2, Slot: 7}}
	n := &Node{Name: "node1", IP: "10.250.7.11", index: 1, cluster: c}
	for verb, documents := range map[string]int{"init": 3, "join": 1} {
		k := newKubeadmConfig("10.250.7.1:6443")
		k.Node = n
		path := filepath.Join(t.TempDir(), "kubeadm.yaml")
		if err := k.write(path, verb); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(string(raw), "\n---\n")
		if len(parts) != documents {
			t.Fatalf("kubeadm %s has %d documents, want %d", verb, len(parts), documents)
		}
		for _, part := range parts {
			if err := yaml.UnmarshalStrict([]byte(part), &map[string]any{}); err != nil {
				t.Errorf("kubeadm %s: %v\n%s", verb, err, part)
			}
		}
		if !strings.Contains(parts[0], "/kubectl-etcd-dev-node1") || !strings.Contains(parts[0], "name: node1") {
			t.Errorf("kubeadm %s does not name node and cgroup:\n%s", verb, parts[0])
		}
	}
}

func TestProcessFacts(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("/proc is Linux's")
	}
	self := os.Getpid()
	if got := programName(self); got != filepath.Base(os.Args[0]) {
		t.Errorf("programName(self) = %q, want %q", got, filepath.Base(os.Args[0]))
	}
	if s := processState(self); s != 'R' && s != 'S' {
		t.Errorf("processState(self) = %c, want R or S", s)
	}
	if isInit(self) {
		t.Error("the test takes itself for a node's process 1")
	}
}

func TestSignalIfAsksFirst(t *testing.T) {
	// Signal 0 would reach anybody; the interrupt must not reach the test.
	if err := signalIf(os.Getpid(), func(int) bool { return false }, os.Interrupt); err != nil {
		t.Fatal(err)
	}
}

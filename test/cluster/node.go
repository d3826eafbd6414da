//go:build unix

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Node is one machine of a cluster: a set of namespaces with its own containerd
// and kubelet. Its name is "node0", "node1" …; its etcd pod is "etcd-"+Name.
type Node struct {
	Name string
	IP   string // reachable from the other nodes, not from this machine

	index   int
	cluster *Cluster
}

// Cgroup is the name of the node's control group in every hierarchy.
func (n *Node) Cgroup() string { return "kubectl-etcd-" + n.cluster.state.Name + "-" + n.Name }

// Dir is where the node keeps what it writes: its logs (init.log,
// containerd.log, kubelet.log, kubeadm.log) and below fs its own /etc/kubernetes,
// /var/lib/etcd, /var/lib/kubelet and /var/log/pods.
func (n *Node) Dir() string { return filepath.Join(n.cluster.dir, n.Name) }

// Path is where the node's own path lies on this machine. It holds for the
// directories that Dir names.
func (n *Node) Path(inNode string) string { return filepath.Join(n.Dir(), "fs", inNode) }

// boot starts the node's first process and returns when containerd serves.
func (n *Node) boot(ctx context.Context) error {
	if err := os.MkdirAll(n.Dir(), 0o700); err != nil {
		return fmt.Errorf("boot %s: %w", n.Name, err)
	}
	ready := filepath.Join(n.Dir(), "ready")
	if err := os.Remove(ready); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("boot %s: %w", n.Name, err)
	}
	if err := n.cluster.hierarchies.create(n.Cgroup()); err != nil {
		return fmt.Errorf("boot %s: %w", n.Name, err)
	}
	if err := n.launch(ctx); err != nil {
		return fmt.Errorf("boot %s: %w", n.Name, err)
	}
	began := time.Now()
	err := eventually(ctx, 5*time.Minute, 100*time.Millisecond, n.Name+" has booted", func() (bool, error) {
		if _, err := os.Stat(ready); err == nil {
			return true, nil
		}
		return false, n.bootError(began)
	})
	if err != nil {
		return errors.Join(err, fmt.Errorf("%s", tailOf(filepath.Join(n.Dir(), "init.log"))))
	}
	return nil
}

// bootError says that the first process has ended, once it has had time to begin.
func (n *Node) bootError(began time.Time) error {
	if _, err := n.initPid(); err != nil && time.Since(began) > 10*time.Second {
		return err
	}
	return nil
}

func tailOf(file string) string {
	f, err := os.Open(file)
	if err != nil {
		return err.Error()
	}
	defer f.Close() //nolint:errcheck // only read
	return tail(f)
}

// launch starts node-init.sh as process 1 of new namespaces. It outlives us:
// setsid forks, so nobody here has to wait for it.
func (n *Node) launch(ctx context.Context) error {
	supplies, err := fetchSupplies(ctx, io.Discard) // cached since Up
	if err != nil {
		return err
	}
	if err := n.plantContainerd(ctx, supplies.containerd); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "setsid", "--fork", "nsenter", "--net="+n.network(),
		"unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child",
		"bash", n.cluster.initScript())
	cmd.Env = append(os.Environ(),
		"NODE="+n.Name,
		"NODE_DIR="+n.Dir(),
		"CGROUPS="+strings.Join(n.cluster.hierarchies.dirs(n.Cgroup()), " "),
		"KUBERNETES="+supplies.kubernetes,
		"DEBIAN="+supplies.debian,
		"POD_SUBNET="+n.podSubnet(),
		"PAUSE_IMAGE="+pauseImage,
	)
	return cmd.Run()
}

// plantContainerd gives the node its images, the first time it starts.
func (n *Node) plantContainerd(ctx context.Context, seed string) error {
	dir := n.Path("/var/lib/containerd")
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return plant(ctx, seed, dir)
}

// errDown is returned for what needs a node that runs.
var errDown = errors.New("node is down")

// initPid is the node's process 1, as this machine counts.
func (n *Node) initPid() (int, error) {
	pids, err := n.cluster.hierarchies.processes(filepath.Join(n.Cgroup(), "init"))
	if err != nil {
		return 0, err
	}
	for _, pid := range pids {
		if isInit(pid) {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("find process 1 of %s: %w", n.Name, errDown)
}

// Run runs a shell script on the node, in its namespaces, as root, and returns
// what it wrote to stdout. kubectl (with KUBECONFIG set), kubeadm, ctr, etcdctl
// (see Etcdctl) and etcdutl are at hand.
func (n *Node) Run(ctx context.Context, script string) (string, error) {
	cmd, err := n.Command(ctx, "bash", "-euc", script)
	if err != nil {
		return "", err
	}
	return output(cmd)
}

// Etcdctl is how a script on a node asks the node's own etcd. Flags, not
// ETCDCTL_* in the environment: etcdctl dies of a flag that repeats a variable,
// and scripts bring flags of their own.
const Etcdctl = "etcdctl --cacert /etc/kubernetes/pki/etcd/ca.crt" +
	" --cert /etc/kubernetes/pki/etcd/healthcheck-client.crt --key /etc/kubernetes/pki/etcd/healthcheck-client.key"

// Command is a program to be run on the node, in its namespaces.
func (n *Node) Command(ctx context.Context, program string, args ...string) (*exec.Cmd, error) {
	pid, err := n.initPid()
	if err != nil {
		return nil, err
	}
	const path = "/mnt/kubernetes:/mnt/debian/usr/bin:/mnt/debian/usr/sbin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	into := []string{
		fmt.Sprintf("--target=%d", pid), "--mount", "--pid", "--net", "--uts", "--ipc", "--wd=/",
		"env", "PATH=" + path, "KUBECONFIG=/etc/kubernetes/admin.conf", program,
	}
	return exec.CommandContext(ctx, "nsenter", append(into, args...)...), nil
}

// halt ends every process of the node at once, as a power cut does. What it
// wrote stays.
func (n *Node) halt(ctx context.Context) error {
	h := n.cluster.hierarchies
	if err := h.freeze(n.Cgroup(), false); err != nil { // a frozen process does not even die
		return fmt.Errorf("halt %s: %w", n.Name, err)
	}
	if pid, err := n.initPid(); err == nil { // with it, the kernel ends all in its pid namespace
		if err := signalIf(pid, isInit, os.Kill); err != nil {
			return fmt.Errorf("halt %s: %w", n.Name, err)
		}
	}
	if err := killAll(ctx, func() ([]int, error) { return h.processes(n.Cgroup()) }); err != nil {
		return fmt.Errorf("halt %s: %w", n.Name, err)
	}
	if err := killAll(ctx, func() ([]int, error) { return networkProcesses(n.network()) }); err != nil {
		return fmt.Errorf("halt %s: %w", n.Name, err)
	}
	return h.remove(ctx, n.Cgroup())
}

//go:build unix

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Part is what of a node can be stopped, frozen or killed.
type Part string

// The parts. All but Kubelet and Machine are static pods; so is EventsEtcd.
const (
	Etcd              Part = "etcd"
	APIServer         Part = "kube-apiserver"
	ControllerManager Part = "kube-controller-manager"
	Scheduler         Part = "kube-scheduler"
	Kubelet           Part = "kubelet"
	Machine           Part = "node" // the whole node
)

// Parts lists every part.
func Parts() []Part {
	return []Part{Etcd, EventsEtcd, APIServer, ControllerManager, Scheduler, Kubelet, Machine}
}

// leverTimeout covers kubelet's look at its manifests, the 30 s grace of a static pod that
// does not end by itself, and that kubelet starts one again only when it has seen the last
// of the one before: half a minute, and minutes on a machine that has much else to do.
const leverTimeout = 6 * time.Minute

// Stop stops part and returns when its processes have really gone. A static pod
// stops as an administrator stops it: its manifest moves away from kubelet, who
// must run for it. The machine goes as in a power cut: at once, off the network.
func (n *Node) Stop(ctx context.Context, part Part) error {
	switch part {
	case Machine:
		if err := n.Unplug(ctx); err != nil {
			return err
		}
		return n.halt(ctx)
	case Kubelet:
		if err := os.WriteFile(n.kubeletHeld(), nil, 0o600); err != nil {
			return fmt.Errorf("hold kubelet of %s: %w", n.Name, err)
		}
		if err := n.signal(part, syscall.SIGTERM); err != nil {
			return err
		}
	default:
		if !n.Running(Kubelet) {
			return fmt.Errorf("stop %s of %s: kubelet is not running there", part, n.Name)
		}
		if err := n.moveManifest(part, "manifests", "held"); err != nil {
			return err
		}
	}
	return n.until(ctx, part, false)
}

// Start undoes Stop and returns when the process is there; it may not serve yet
// (see Cluster.WaitReady). A machine starts with all that it ran before.
func (n *Node) Start(ctx context.Context, part Part) error {
	switch part {
	case Machine:
		if _, err := n.initPid(); err == nil {
			return nil
		}
		if err := n.cluster.inLab(ctx, "ip link set "+n.port()+" up"); err != nil {
			return err
		}
		return n.boot(ctx)
	case Kubelet:
		if err := os.Remove(n.kubeletHeld()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("let kubelet of %s go: %w", n.Name, err)
		}
	default:
		if err := n.moveManifest(part, "held", "manifests"); err != nil {
			return err
		}
	}
	return n.until(ctx, part, true)
}

// Freeze stops part's processes where they are (SIGSTOP; for a machine, the
// freezer cgroup): they hold their connections and answer nothing. kubelet kills
// a frozen static pod after its liveness probe has failed, about 80 s for etcd;
// freeze or stop kubelet first to keep it longer.
func (n *Node) Freeze(ctx context.Context, part Part) error {
	if part == Machine {
		return n.cluster.hierarchies.freeze(n.Cgroup(), true)
	}
	if err := n.signal(part, syscall.SIGSTOP); err != nil {
		return err
	}
	return eventually(ctx, 10*time.Second, 10*time.Millisecond, fmt.Sprintf("%s of %s is frozen", part, n.Name), func() (bool, error) {
		pids, err := n.processes(part)
		stopped := func(pid int) bool { return processState(pid) == 'T' }
		return len(pids) > 0 && !slices.ContainsFunc(pids, func(pid int) bool { return !stopped(pid) }), err
	})
}

// Thaw undoes Freeze.
func (n *Node) Thaw(_ context.Context, part Part) error {
	if part == Machine {
		return n.cluster.hierarchies.freeze(n.Cgroup(), false)
	}
	return n.signal(part, syscall.SIGCONT)
}

// Kill ends part with SIGKILL. What watches it (kubelet, or the node's process 1
// for kubelet) starts it again; a killed machine stays down.
func (n *Node) Kill(ctx context.Context, part Part) error {
	if part == Machine {
		return n.Stop(ctx, Machine)
	}
	return n.signal(part, syscall.SIGKILL)
}

// Running reports that part has a process, frozen or not.
func (n *Node) Running(part Part) bool {
	if part == Machine {
		_, err := n.initPid()
		return err == nil
	}
	pids, err := n.processes(part)
	return err == nil && len(pids) > 0
}

// processes are part's own: those in the node's control group that run its
// program and, since there are further etcds, under that one's name on its directory.
func (n *Node) processes(part Part) ([]int, error) {
	all, err := n.cluster.hierarchies.processes(n.Cgroup())
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(pid int) bool { return !n.is(part, pid) }), nil
}

func (n *Node) is(part Part, pid int) bool {
	name, dir := n.Name, ""
	switch part {
	case Etcd:
		dir = dataDir
	case EventsEtcd:
		dir = eventsDataDir
	case TwinEtcd:
		name, dir = n.TwinName(), twinDataDir
	default:
		return programName(pid) == string(part)
	}
	args := arguments(pid)
	return programName(pid) == string(Etcd) && slices.Contains(args, "--name="+name) && slices.Contains(args, "--data-dir="+dir)
}

func (n *Node) signal(part Part, sig syscall.Signal) error {
	pids, err := n.processes(part)
	if err != nil {
		return err
	}
	if len(pids) == 0 && sig != syscall.SIGTERM {
		return fmt.Errorf("signal %s of %s: it is not running", part, n.Name)
	}
	for _, pid := range pids {
		if err := signalIf(pid, func(pid int) bool { return n.is(part, pid) }, sig); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) until(ctx context.Context, part Part, running bool) error {
	what := fmt.Sprintf("%s of %s is running: %t", part, n.Name, running)
	return eventually(ctx, leverTimeout, 100*time.Millisecond, what, func() (bool, error) {
		pids, err := n.processes(part)
		return err == nil && (len(pids) > 0) == running, err
	})
}

func (n *Node) kubeletHeld() string { return filepath.Join(n.Dir(), "kubelet.held") }

// moveManifest moves part's manifest between two folders of /etc/kubernetes. It
// may be there already.
func (n *Node) moveManifest(part Part, from, to string) error {
	kubernetes := n.Path("/etc/kubernetes")
	if err := os.MkdirAll(filepath.Join(kubernetes, to), 0o700); err != nil {
		return fmt.Errorf("move manifest of %s: %w", part, err)
	}
	file := string(part) + ".yaml"
	err := os.Rename(filepath.Join(kubernetes, from, file), filepath.Join(kubernetes, to, file))
	if errors.Is(err, fs.ErrNotExist) {
		_, err = os.Stat(filepath.Join(kubernetes, to, file))
	}
	if err != nil {
		return fmt.Errorf("move manifest of %s: %w", part, err)
	}
	return nil
}

// ParsePart reads a part's name, as Parts lists them.
func ParsePart(name string) (Part, error) {
	if !slices.Contains(Parts(), Part(name)) {
		var names []string
		for _, p := range Parts() {
			names = append(names, string(p))
		}
		return "", fmt.Errorf("read part %q: want one of %s", name, strings.Join(names, ", "))
	}
	return Part(name), nil
}

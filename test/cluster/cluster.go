//go:build unix

// Package cluster runs a real Kubernetes cluster on one Linux machine, for tests
// and the demo: kubeadm control planes with stacked etcd, every pod a real one.
//
// Its one idea: a node is a set of namespaces, and everything that belongs to a
// cluster can be found again from its name alone (a folder in the cache, a
// control group per node, network namespaces pinned in the folder), so that
// taking it down needs no memory of how far it got.
package cluster

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kubectl-etcd/kubectl-etcd/test/cluster/internal/flock"
)

//go:embed node-init.sh
var nodeInit []byte

// ErrNoCluster is returned for a name under which no cluster was made.
var ErrNoCluster = errors.New("no such cluster")

// Options say what cluster to bring up.
type Options struct {
	Name  string // a-z, 0-9 and -; clusters of different names run side by side
	Nodes int    // control planes, 1 to 9; zero means 1
	// Events: Kubernetes' Events are kept in a second etcd, with a member on every node.
	Events bool
	Log    io.Writer // a line for what takes time; nil: nowhere
}

// Cluster is a cluster on this machine.
type Cluster struct {
	state       state
	dir         string
	hierarchies hierarchies
	nodes       []*Node
}

// Up brings a cluster up and leaves it running; one that is up already is
// returned as it is. What a crash left of it is removed first. When Up fails it
// takes away what it made, unless KUBECTL_ETCD_KEEP is set.
func Up(ctx context.Context, o Options) (*Cluster, error) {
	if o.Log == nil {
		o.Log = io.Discard
	}
	o.Nodes = max(o.Nodes, 1)
	if o.Nodes > 9 {
		return nil, fmt.Errorf("start cluster %s: %d nodes are more than 9", o.Name, o.Nodes)
	}
	if err := require(ctx, o.Log); err != nil {
		return nil, err
	}
	lock, clusters, err := lockCluster(ctx, o.Name)
	if err != nil {
		return nil, err
	}
	c, err := upLocked(ctx, clusters, o)
	return c, errors.Join(err, lock.Remove())
}

// Open returns a cluster that Up made, also one that is half made or broken.
func Open(name string) (*Cluster, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	clusters, err := clustersDir()
	if err != nil {
		return nil, err
	}
	return load(filepath.Join(clusters, name))
}

// Remove takes the cluster called name down; it is no error if there is none.
func Remove(ctx context.Context, name string) error {
	lock, clusters, err := lockCluster(ctx, name)
	if err != nil {
		return err
	}
	return errors.Join(removeLocked(ctx, filepath.Join(clusters, name)), lock.Remove())
}

// Down removes every process, namespace, mount, control group and file of the cluster.
func (c *Cluster) Down(ctx context.Context) error { return Remove(ctx, c.state.Name) }

// Nodes are the cluster's machines, node0 first.
func (c *Cluster) Nodes() []*Node { return c.nodes }

// Node returns the node called name.
func (c *Cluster) Node(name string) (*Node, error) {
	for _, n := range c.nodes {
		if n.Name == name {
			return n, nil
		}
	}
	return nil, fmt.Errorf("find node %q of cluster %s: it has node0 to node%d", name, c.state.Name, len(c.nodes)-1)
}

// Dir holds all that the cluster writes.
func (c *Cluster) Dir() string { return c.dir }

func lockCluster(ctx context.Context, name string) (*flock.Lock, string, error) {
	if err := checkName(name); err != nil {
		return nil, "", err
	}
	clusters, err := clustersDir()
	if err != nil {
		return nil, "", err
	}
	if strings.HasPrefix(clusters, "/mnt/") {
		return nil, "", fmt.Errorf("keep clusters in %s: nodes mount something else on /mnt; set KUBECTL_ETCD_CACHE to another place", clusters)
	}
	lock, err := flock.Acquire(ctx, filepath.Join(clusters, name+".lock"))
	return lock, clusters, err
}

// load reads the cluster in dir.
func load(dir string) (*Cluster, error) {
	s, err := readState(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open cluster %s: %w", filepath.Base(dir), ErrNoCluster)
	}
	if err != nil {
		return nil, err
	}
	h, err := machineHierarchies()
	if err != nil {
		return nil, err
	}
	c := &Cluster{state: s, dir: dir, hierarchies: h}
	for i := range s.Nodes {
		c.nodes = append(c.nodes, &Node{Name: fmt.Sprintf("node%d", i), IP: s.nodeIP(i), index: i, cluster: c})
	}
	return c, nil
}

func upLocked(ctx context.Context, clusters string, o Options) (*Cluster, error) {
	if _, err := fetchSupplies(ctx, o.Log); err != nil { // what takes minutes, before anything is made
		return nil, err
	}
	dir := filepath.Join(clusters, o.Name)
	there, err := load(dir)
	if err == nil && there.runs() {
		return there.again(ctx, o)
	}
	if err := removeLocked(ctx, dir); err != nil {
		return nil, err
	}
	c, err := claim(ctx, clusters, o)
	if err != nil {
		return nil, err
	}
	if err := c.build(ctx, o.Log); err != nil {
		return nil, errors.Join(err, c.abandon(ctx))
	}
	return c, nil
}

// again answers a second Up.
func (c *Cluster) again(ctx context.Context, o Options) (*Cluster, error) {
	if len(c.nodes) != o.Nodes || c.state.Events != o.Events {
		return nil, fmt.Errorf("start cluster %s: it is up already, with %d nodes and etcd for events: %t; take it down first", o.Name, len(c.nodes), c.state.Events)
	}
	_, _ = fmt.Fprintf(o.Log, "cluster %s is up already\n", o.Name)
	return c, c.startBalancer(ctx)
}

// runs reports that Up came to its end and at least one node is still up.
func (c *Cluster) runs() bool {
	if !c.state.Complete || c.state.Boot != bootID() {
		return false
	}
	for _, n := range c.nodes {
		if n.Running(Machine) {
			return true
		}
	}
	return false
}

// bootID changes with every boot of the machine.
func bootID() string {
	raw, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "" // no /proc: nothing runs here
	}
	return strings.TrimSpace(string(raw))
}

// claim records the cluster before anything of it exists.
func claim(ctx context.Context, clusters string, o Options) (*Cluster, error) {
	lock, err := flock.Acquire(ctx, filepath.Join(clusters, ".slots.lock"))
	if err != nil {
		return nil, err
	}
	_, err = claimSlot(clusters, state{Name: o.Name, Nodes: o.Nodes, Events: o.Events, Boot: bootID()})
	if err := errors.Join(err, lock.Remove()); err != nil {
		return nil, err
	}
	return load(filepath.Join(clusters, o.Name))
}

// build makes the cluster, from networks to the last pod that has to be ready.
func (c *Cluster) build(ctx context.Context, log io.Writer) error {
	began := time.Now()
	say := func(format string, args ...any) {
		_, _ = fmt.Fprintf(log, "[%5.1fs] %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
	if err := os.WriteFile(c.initScript(), nodeInit, 0o700); err != nil {
		return fmt.Errorf("write node script: %w", err)
	}
	if err := c.createNetworks(ctx); err != nil {
		return err
	}
	if err := c.startBalancer(ctx); err != nil {
		return err
	}
	if err := c.bootAll(ctx); err != nil {
		return err
	}
	say("containerd serves on %d nodes", len(c.nodes))
	if err := c.controlPlanes(ctx, say); err != nil {
		return err
	}
	if err := c.writeAccess(); err != nil {
		return err
	}
	if c.state.Events {
		if err := c.addEvents(ctx); err != nil {
			return err
		}
		say("events have an etcd of their own")
	}
	if err := c.WaitReady(ctx); err != nil {
		return err
	}
	say("every static pod is ready")
	c.state.Complete = true
	return writeState(c.dir, c.state)
}

func (c *Cluster) initScript() string { return filepath.Join(c.dir, "node-init.sh") }

func (c *Cluster) bootAll(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, n := range c.nodes {
		group.Go(func() error { return n.boot(ctx) })
	}
	return group.Wait()
}

// controlPlanes runs kubeadm: init on the first node, then join on the others,
// one by one, since etcd takes one new member at a time.
func (c *Cluster) controlPlanes(ctx context.Context, say func(string, ...any)) error {
	config := newKubeadmConfig(c.state.endpoint())
	if err := config.init(ctx, c.nodes[0]); err != nil {
		return fmt.Errorf("init control plane: %w", err)
	}
	say("%s is a control plane", c.nodes[0].Name)
	for _, n := range c.nodes[1:] {
		if err := config.join(ctx, c.nodes[0], n); err != nil {
			return fmt.Errorf("join %s: %w", n.Name, err)
		}
		say("%s has joined", n.Name)
	}
	return nil
}

// abandon removes what a failed Up made, whether ctx has ended or not.
func (c *Cluster) abandon(ctx context.Context) error {
	if os.Getenv("KUBECTL_ETCD_KEEP") != "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	return removeLocked(ctx, c.dir)
}

// removeLocked takes down what is there of the cluster in dir, in any condition.
// The folder, which tells what there is, goes last.
func removeLocked(ctx context.Context, dir string) error {
	c, err := load(dir)
	if errors.Is(err, ErrNoCluster) { // nothing is made before the state is written
		return os.RemoveAll(dir)
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, n := range c.nodes {
		if err := n.halt(ctx); err != nil {
			return err
		}
	}
	if err := c.removeNetworks(ctx); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove cluster %s: %w", c.state.Name, err)
	}
	return nil
}

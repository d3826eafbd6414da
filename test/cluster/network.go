//go:build unix

package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// The lab is a network namespace with a bridge; each node is another, joined to
// it by a veth pair (eth0 in the node, v0, v1 … on the bridge). The namespaces
// are pinned by files in the cluster's own directory, not by `ip netns`, whose
// directory belongs to everybody and whose exec remounts /sys and so loses the
// cgroups.

func (c *Cluster) lab() string { return filepath.Join(c.dir, "netns", "lab") }

func (n *Node) network() string { return filepath.Join(n.cluster.dir, "netns", n.Name) }

// inLab runs a shell script with the lab's network.
func (c *Cluster) inLab(ctx context.Context, script string) error {
	return run(ctx, "nsenter", "--net="+c.lab(), "bash", "-euc", script)
}

// inNetwork runs a shell script with the node's network, but on the host's
// file system: it works when the node is down, too.
func (n *Node) inNetwork(ctx context.Context, script string) error {
	return run(ctx, "nsenter", "--net="+n.network(), "bash", "-euc", script)
}

// pinNetwork makes a network namespace that lives on in file.
func pinNetwork(ctx context.Context, file string) error {
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		return fmt.Errorf("create network namespace: %w", err)
	}
	return run(ctx, "unshare", "--net="+file, "true")
}

func (c *Cluster) createNetworks(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Join(c.dir, "netns"), 0o700); err != nil {
		return err
	}
	if err := pinNetwork(ctx, c.lab()); err != nil {
		return err
	}
	err := c.inLab(ctx, fmt.Sprintf(`
		ip link set lo up
		ip link add br0 type bridge
		ip addr add %s/24 dev br0
		ip link set br0 up`, c.state.gateway()))
	if err != nil {
		return err
	}
	for _, n := range c.nodes {
		if err := n.createNetwork(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) createNetwork(ctx context.Context) error {
	if err := pinNetwork(ctx, n.network()); err != nil {
		return err
	}
	// The pair is made in the lab, where its names can meet nobody else's.
	err := n.cluster.inLab(ctx, fmt.Sprintf(`
		ip link add %[1]s type veth peer name eth0 netns %[2]s
		ip link set %[1]s master br0 up`, n.port(), n.network()))
	if err != nil {
		return err
	}
	var script strings.Builder
	fmt.Fprintf(&script, `
		ip link set lo up
		ip addr add %s/24 dev eth0
		ip link set eth0 up
		ip route add default via %s
		sysctl -qw net.ipv4.ip_forward=1
	`, n.IP, n.cluster.state.gateway())
	for _, other := range n.cluster.nodes {
		if other != n { // pods reach the pods of other nodes
			fmt.Fprintf(&script, "ip route add %s via %s\n", other.podSubnet(), other.IP)
		}
	}
	return n.inNetwork(ctx, script.String())
}

// port is the node's end on the bridge.
func (n *Node) port() string { return fmt.Sprintf("v%d", n.index) }

func (n *Node) podSubnet() string { return fmt.Sprintf("10.244.%d.0/24", n.index) }

// nobody is a MAC address that no interface has: what is sent to it is lost
// without a word, as on a real line that is cut.
const nobody = "02:00:00:00:00:ff"

// Cut parts n from others: nothing passes between it and them, in both
// directions and silently, while the machine (load balancer, port-forward)
// still reaches each of them. Without others, from every other node.
func (n *Node) Cut(ctx context.Context, others ...*Node) error {
	if len(others) == 0 {
		others = n.others()
	}
	for _, other := range others {
		if err := n.lose(ctx, other); err != nil {
			return err
		}
		if err := other.lose(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) lose(ctx context.Context, other *Node) error {
	return n.inNetwork(ctx, fmt.Sprintf("ip neigh replace %s lladdr %s dev eth0 nud permanent", other.IP, nobody))
}

// Unplug pulls the node's cable: nobody reaches it, not the machine either.
func (n *Node) Unplug(ctx context.Context) error {
	return n.cluster.inLab(ctx, "ip link set "+n.port()+" down")
}

// Mend undoes Cut and Unplug.
func (n *Node) Mend(ctx context.Context) error {
	if err := n.cluster.inLab(ctx, "ip link set "+n.port()+" up"); err != nil {
		return err
	}
	for _, other := range n.others() {
		if err := n.find(ctx, other); err != nil {
			return err
		}
		if err := other.find(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// find drops the false neighbor entry, if there is one; the next packet asks anew.
func (n *Node) find(ctx context.Context, other *Node) error {
	return n.inNetwork(ctx, fmt.Sprintf(
		"if ip neigh show %[1]s dev eth0 nud permanent | grep -q .; then ip neigh del %[1]s dev eth0; fi", other.IP))
}

// Throttle holds what the node sends to rate ("100mbit", see tc(8)); what its pods send
// to one another is not held.
func (n *Node) Throttle(ctx context.Context, rate string) error {
	return n.inNetwork(ctx, "tc qdisc replace dev eth0 root tbf rate "+rate+" burst 128kb latency 50ms")
}

// Unthrottle undoes Throttle.
func (n *Node) Unthrottle(ctx context.Context) error {
	return n.inNetwork(ctx, "if tc qdisc show dev eth0 | grep -q tbf; then tc qdisc del dev eth0 root; fi")
}

func (n *Node) others() []*Node {
	var others []*Node
	for _, other := range n.cluster.nodes {
		if other != n {
			others = append(others, other)
		}
	}
	return others
}

// removeNetworks ends what still runs in the cluster's network namespaces, then
// lets go of them; with them go bridge and cables.
func (c *Cluster) removeNetworks(ctx context.Context) error {
	pins, err := filepath.Glob(filepath.Join(c.dir, "netns", "*"))
	if err != nil {
		return err
	}
	for _, pin := range pins {
		err := killAll(ctx, func() ([]int, error) { return networkProcesses(pin) })
		if err != nil {
			return err
		}
		if err := unmount(pin); err != nil {
			return fmt.Errorf("unmount %s: %w", pin, err)
		}
	}
	return nil
}

// unmount takes away every mount at path; none is fine.
func unmount(path string) error {
	for {
		err := unix.Unmount(path, 0)
		if errors.Is(err, unix.EINVAL) || gone(err) { // not, or no longer, a mount point
			return nil
		}
		if err != nil {
			return err
		}
	}
}

//go:build unix

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/test/cluster/internal/flock"
	"github.com/kubectl-etcd/kubectl-etcd/test/cluster/wire"
)

// Line is the line between two nodes. The zero Line is the plain one.
type Line struct {
	// RTT is what a round trip takes longer than on the plain line, whose some
	// 0.1 ms it adds to: each packet is held for half of it, each way.
	RTT time.Duration
	// Jitter is what that half differs by from packet to packet, at most, earlier
	// or later, evenly spread. No packet overtakes another, so close ones come late
	// rather than early.
	Jitter time.Duration
	// Loss is how many of a hundred packets are lost, each way: of round trips, then,
	// nearly twice as many.
	Loss float64
}

func (l Line) validate() error {
	if l.RTT < 0 || l.Jitter < 0 || l.Loss < 0 || l.Loss > 100 {
		return fmt.Errorf("want no negative RTT or jitter, and a loss of 0 to 100 percent, got %+v", l)
	}
	return nil
}

// each is how each of the two directions treats its packets.
func (l Line) each() wire.Setting {
	return wire.Setting{Delay: l.RTT / 2, Jitter: l.Jitter, Loss: l.Loss / 100}
}

// Line changes the line between a and b, for them and for their pods, while they talk:
// connections stay. It holds until the next Line, through all the other levers, a
// node's stop and start too; the zero Line undoes it. What takes the way over the load
// balancer is not held.
//
// There is a TAP device for each direction in the lab. Where a's cable comes in, tc
// leads what is meant for b into it; the program labwires holds the packet and gives it
// back, and tc leads it on into b's cable. So the line is between the two cables, and
// what a cable does (Unplug, Throttle) or a node (Cut), it still does.
func (c *Cluster) Line(ctx context.Context, a, b *Node, line Line) error {
	if err := c.line(ctx, a, b, line); err != nil {
		return fmt.Errorf("set the line between %s and %s: %w", a.Name, b.Name, err)
	}
	return nil
}

func (c *Cluster) line(ctx context.Context, a, b *Node, line Line) (err error) {
	if a == b {
		return errors.New("want two nodes")
	}
	if err := line.validate(); err != nil {
		return err
	}
	lock, err := flock.Acquire(ctx, filepath.Join(c.dir, "lines.lock"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Remove()) }()
	if line == (Line{}) {
		return c.straighten(ctx, a, b)
	}
	conn, err := c.wires(ctx)
	if err != nil {
		return err
	}
	err = wire.Ask(ctx, conn,
		wire.Request{Device: wireName(a, b), Setting: line.each()},
		wire.Request{Device: wireName(b, a), Setting: line.each()})
	if err != nil {
		return err
	}
	return c.inLab(ctx, lead(a, b)+lead(b, a))
}

// straighten leads nothing more into the wires, then has them give out what they hold.
func (c *Cluster) straighten(ctx context.Context, a, b *Node) error {
	if err := c.inLab(ctx, leave(a, b)+leave(b, a)); err != nil {
		return err
	}
	conn, err := c.dialWires(ctx)
	if noWires(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return wire.Ask(ctx, conn, wire.Request{Device: wireName(a, b)}, wire.Request{Device: wireName(b, a)})
}

// wireName is the device for what a sends to b.
func wireName(a, b *Node) string { return fmt.Sprintf("line%d-%d", a.index, b.index) }

// lead is a script for the lab that leads what a sends to b through their wire. It is
// one filter per node that packets may be for, told apart by its priority.
func lead(a, b *Node) string {
	return fmt.Sprintf(`
		ip link set %[1]s txqueuelen 10000 up
		leads() { tc filter show dev $1 ingress prio $2 2>/dev/null | grep -q mirred; }
		opens() { tc qdisc show dev $1 | grep -q clsact || tc qdisc add dev $1 clsact; }
		opens %[1]s; opens %[2]s
		leads %[1]s 1 || tc filter add dev %[1]s ingress prio 1 protocol all u32 match u32 0 0 action mirred egress redirect dev %[4]s
		leads %[2]s %[3]d || for to in %[5]s %[6]s; do
			tc filter add dev %[2]s ingress prio %[3]d protocol ip u32 match ip dst $to action mirred egress redirect dev %[1]s
		done
	`, wireName(a, b), a.port(), b.index+1, b.port(), b.IP, b.podSubnet())
}

// leave undoes lead.
func leave(a, b *Node) string {
	return fmt.Sprintf(`
		if tc filter show dev %[1]s ingress prio %[2]d 2>/dev/null | grep -q .; then tc filter del dev %[1]s ingress prio %[2]d; fi
	`, a.port(), b.index+1)
}

// wires is a connection to the program that holds the packets, which is started unless
// it runs.
func (c *Cluster) wires(ctx context.Context) (net.Conn, error) {
	conn, err := c.dialWires(ctx)
	if !noWires(err) {
		return conn, err
	}
	if err := c.startWires(ctx); err != nil {
		return nil, fmt.Errorf("start labwires: %w", err)
	}
	err = eventually(ctx, 30*time.Second, 10*time.Millisecond, "labwires takes requests", func() (bool, error) {
		conn, err = c.dialWires(ctx)
		return err == nil, err
	})
	if err != nil {
		return nil, errors.Join(err, errors.New(tailOf(c.wiresLog())))
	}
	return conn, nil
}

// dialWires asks for the socket by a short name: the cluster's folder may be too deep
// for the address of a socket.
func (c *Cluster) dialWires(ctx context.Context) (net.Conn, error) {
	dir, err := os.Open(c.dir)
	if err != nil {
		return nil, err
	}
	defer dir.Close() //nolint:errcheck // it only lends its name
	var d net.Dialer
	return d.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), wiresSocket))
}

// noWires reports that nothing listens: it was never started, or was killed.
func noWires(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}

const wiresSocket = "lines.sock"

func (c *Cluster) wiresLog() string { return filepath.Join(c.dir, "labwires.log") }

func (c *Cluster) startWires(ctx context.Context) error {
	program, err := c.buildHelper(ctx, "labwires")
	if err != nil {
		return err
	}
	// One that was killed took its devices along: what still leads to them, leads nowhere.
	for _, n := range c.nodes {
		err := c.inLab(ctx, fmt.Sprintf("if tc qdisc show dev %[1]s | grep -q clsact; then tc qdisc del dev %[1]s clsact; fi", n.port()))
		if err != nil {
			return err
		}
	}
	log, err := os.OpenFile(c.wiresLog(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // nothing is written here: labwires has its own copy
	// Before others that want the CPU: a packet that waits for it comes too late.
	cmd := exec.CommandContext(ctx, "setsid", "--fork", "nice", "-n", "-15", "nsenter", "--net="+c.lab(), program, wiresSocket)
	cmd.Dir = c.dir
	cmd.Stdout, cmd.Stderr = log, log
	return cmd.Run()
}

//go:build unix

package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/test/cluster"
)

// partLever is a verb for one part of one node.
type partLever struct {
	use, short string
	pull       func(*cluster.Node, context.Context, cluster.Part) error
}

func partLevers() []partLever {
	return []partLever{
		{"stop", "Stop a part of a node, or the node", (*cluster.Node).Stop},
		{"start", "Start what was stopped", (*cluster.Node).Start},
		{"freeze", "Freeze a part of a node, or the node", (*cluster.Node).Freeze},
		{"thaw", "Thaw what was frozen", (*cluster.Node).Thaw},
		{"kill", "Kill a part of a node, or the node", (*cluster.Node).Kill},
	}
}

func newPartCommand(o *options, lever partLever) *cobra.Command {
	return &cobra.Command{
		Use: lever.use + " NODE [PART]", Short: lever.short, Args: cobra.RangeArgs(1, 2),
		Long: lever.short + ".\nPART is etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubelet or node (the default).",
		RunE: func(c *cobra.Command, args []string) error {
			part := cluster.Machine
			if len(args) == 2 {
				var err error
				if part, err = cluster.ParsePart(args[1]); err != nil {
					return err
				}
			}
			return o.onNode(args[0], func(n *cluster.Node) error { return lever.pull(n, c.Context(), part) })
		},
	}
}

func newCutCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "cut NODE [OTHER...]", Short: "Cut a node off from others (all): this machine still reaches it", Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			up, err := o.open()
			if err != nil {
				return err
			}
			var nodes []*cluster.Node
			for _, name := range args {
				n, err := up.Node(name)
				if err != nil {
					return err
				}
				nodes = append(nodes, n)
			}
			return nodes[0].Cut(c.Context(), nodes[1:]...)
		},
	}
}

func newUnplugCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "unplug NODE", Short: "Take a node off the network", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return o.onNode(args[0], func(n *cluster.Node) error { return n.Unplug(c.Context()) })
		},
	}
}

func newMendCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "mend NODE", Short: "Undo cut and unplug", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return o.onNode(args[0], func(n *cluster.Node) error { return n.Mend(c.Context()) })
		},
	}
}

func newLineCommand(o *options) *cobra.Command {
	var line cluster.Line
	c := &cobra.Command{
		Use: "line NODE OTHER", Short: "Make the line between two nodes longer or worse; without flags, undo it", Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			up, err := o.open()
			if err != nil {
				return err
			}
			a, err := up.Node(args[0])
			if err != nil {
				return err
			}
			b, err := up.Node(args[1])
			if err != nil {
				return err
			}
			return up.Line(c.Context(), a, b, line)
		},
	}
	c.Flags().DurationVar(&line.RTT, "rtt", 0, "what a round trip takes longer; half of it each way")
	c.Flags().DurationVar(&line.Jitter, "jitter", 0, "what that half differs by, at most, earlier or later")
	c.Flags().Float64Var(&line.Loss, "loss", 0, "percent of the packets that are lost, each way")
	return c
}

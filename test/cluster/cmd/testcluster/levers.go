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

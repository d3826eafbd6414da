//go:build unix

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/test/cluster"
)

// options are what every command shares.
type options struct{ name string }

func (o *options) open() (*cluster.Cluster, error) { return cluster.Open(o.name) }

func newRootCommand() *cobra.Command {
	o := &options{}
	root := &cobra.Command{
		Use:           "testcluster",
		Short:         "A real kubeadm control plane on this machine, for tests",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().StringVar(&o.name, "cluster", "dev", "name of the cluster")
	root.AddCommand(
		newUpCommand(o),
		newDownCommand(o),
		newPrintCommand(o, "kubeconfig", "Print the path of the kubeconfig", (*cluster.Cluster).Kubeconfig),
		newPrintCommand(o, "certs", "Print the folder with ca.crt, client.crt and client.key for etcd", (*cluster.Cluster).Certs),
		newPrintCommand(o, "dir", "Print the folder with everything of the cluster, its logs too", (*cluster.Cluster).Dir),
		newShellCommand(o),
		newWaitCommand(o),
		newLoadCommand(o), newWalkCommand(o),
	)
	for _, lever := range partLevers() {
		root.AddCommand(newPartCommand(o, lever))
	}
	root.AddCommand(newCutCommand(o), newUnplugCommand(o), newMendCommand(o), newLineCommand(o))
	return root
}

func newUpCommand(o *options) *cobra.Command {
	var nodes int
	var events bool
	c := &cobra.Command{
		Use: "up", Short: "Start a cluster and leave it running", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			began := time.Now()
			up, err := cluster.Up(c.Context(), cluster.Options{Name: o.name, Nodes: nodes, Events: events, Log: c.ErrOrStderr()})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.ErrOrStderr(), "cluster %s is up after %s: export KUBECONFIG=%s\n",
				o.name, time.Since(began).Round(time.Second), up.Kubeconfig())
			return err
		},
	}
	c.Flags().IntVar(&nodes, "nodes", 1, "control planes")
	c.Flags().BoolVar(&events, "events", false, "keep Kubernetes' Events in an etcd of their own")
	return c
}

func newDownCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "Remove a cluster and everything of it", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return cluster.Remove(c.Context(), o.name) },
	}
}

func newWaitCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "wait", Short: "Return when every node and static pod is ready", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			up, err := o.open()
			if err != nil {
				return err
			}
			return up.WaitReady(c.Context())
		},
	}
}

func newPrintCommand(o *options, use, short string, value func(*cluster.Cluster) string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			up, err := o.open()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), value(up))
			return err
		},
	}
}

func newShellCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "node-shell NODE [SCRIPT]", Short: "Run a shell script on a node, or a shell", Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			here, err := os.Getwd()
			if err != nil {
				return err
			}
			shell := []string{"-c", `cd "$1" && PATH="$1/bin:$PATH" exec bash`, "bash", here}
			if len(args) == 2 {
				shell = []string{"-euc", args[1]}
			}
			return o.onNode(args[0], func(n *cluster.Node) error {
				return interactive(c.Context(), n, shell)
			})
		},
	}
}

func interactive(ctx context.Context, n *cluster.Node, args []string) error {
	cmd, err := n.Command(ctx, "bash", args...)
	if err != nil {
		return err
	}
	return attached(cmd).Run()
}

func attached(cmd *exec.Cmd) *exec.Cmd {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd
}

// onNode calls do with the node called name.
func (o *options) onNode(name string, do func(*cluster.Node) error) error {
	up, err := o.open()
	if err != nil {
		return err
	}
	n, err := up.Node(name)
	if err != nil {
		return err
	}
	return do(n)
}

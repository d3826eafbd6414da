//go:build unix

package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubectl-etcd/kubectl-etcd/test/cluster/load"
)

// newLoadCommand builds "testcluster load".
func newLoadCommand(o *options) *cobra.Command {
	var kubeconfig string
	var l load.Options
	c := &cobra.Command{
		Use: "load", Short: "Write to a cluster as Kubernetes does", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if kubeconfig == "" {
				up, err := o.open()
				if err != nil {
					return err
				}
				kubeconfig = up.Kubeconfig()
			}
			config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
			if err != nil {
				return fmt.Errorf("read kubeconfig: %w", err)
			}
			report, err := load.Run(c.Context(), config, l)
			if err != nil {
				return err
			}
			return printReport(c.OutOrStdout(), report)
		},
	}
	c.Flags().StringVar(&kubeconfig, "kubeconfig", "", "a kubeconfig, instead of that of --cluster")
	c.Flags().Float64Var(&l.Rate, "rate", 50, "writes per second")
	c.Flags().DurationVar(&l.Duration, "duration", 0, "how long (default: until interrupted)")
	c.Flags().StringVar(&l.Namespace, "namespace", "load", "namespace to write to")
	c.Flags().IntVar(&l.Live, "live", 100, "objects of a kind that are kept before the oldest goes")
	return c
}

func printReport(w io.Writer, r load.Report) error {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(r.Writes)) {
		fmt.Fprintf(&b, "%-18s %d\n", name, r.Writes[name])
	}
	fmt.Fprintf(&b, "%-18s %d in %.1fs, %.1f/s; failed %d, not begun in time %d\n",
		"written", r.Total(), r.Elapsed.Seconds(), r.Rate(), r.Failed, r.Missed)
	if r.Last != nil {
		fmt.Fprintf(&b, "last failure: %v\n", r.Last)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

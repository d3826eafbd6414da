//go:build unix

package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/test/cluster/walk"
)

// newWalkCommand builds "testcluster walk".
func newWalkCommand(o *options) *cobra.Command {
	var later bool
	c := &cobra.Command{
		Use: "walk REPORT.json", Short: "Carry out the steps that kubectl etcd restore -o json printed", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			up, err := o.open()
			if err != nil {
				return err
			}
			file, err := os.Open(args[0])
			if err != nil {
				return fmt.Errorf("open report: %w", err)
			}
			defer file.Close() //nolint:errcheck // only read
			steps, err := walk.Read(file)
			if err != nil {
				return err
			}
			now, rest := walk.Split(steps)
			if later {
				now = rest
			}
			return walk.Steps(c.Context(), up, now, c.OutOrStdout())
		},
	}
	c.Flags().BoolVar(&later, "later", false, "only the steps that come when all is well for good: they delete the old data")
	return c
}

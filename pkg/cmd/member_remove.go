package cmd

import (
	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/maintain"
)

const memberRemoveExample = `  # What would be left?
  kubectl etcd member remove node1 --dry-run

  # Remove one that is lost for good
  kubectl etcd member remove node9 --yes --cacert ca.crt --cert client.crt --key client.key`

const memberRemoveLong = `Takes a member out of etcd's list, for good: its etcd ends when it hears of it, and can't come
back with the data that it has. A leader hands the leadership over first. It refuses where what
is left would have no quorum. One that is to come back, or another in its place: "kubectl etcd
member replace".`

// newMemberRemoveCommand builds "kubectl etcd member remove".
func newMemberRemoveCommand(s *session) *cobra.Command {
	o := &memberChange{target: newTarget(s)}
	c := &cobra.Command{
		Use: "remove MEMBER", Short: "Take a member out of the list",
		Long: memberRemoveLong, Example: memberRemoveExample, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.complete(nil); err != nil {
				return err
			}
			return o.change(c.Context(), "not removed", planned(args[0], maintain.PlanRemove), nil)
		},
	}
	o.addFlags(c.Flags())
	return c
}

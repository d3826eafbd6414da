package cmd

import (
	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/maintain"
)

const memberMoveExample = `  # To the voter that is fittest
  kubectl etcd member move-leader --dry-run

  # To this one
  kubectl etcd member move-leader node1 --yes --cacert ca.crt --cert client.crt --key client.key`

// newMemberMoveCommand builds "kubectl etcd member move-leader".
func newMemberMoveCommand(s *session) *cobra.Command {
	o := &memberChange{target: newTarget(s)}
	c := &cobra.Command{
		Use: "move-leader [MEMBER]", Short: "Move the leadership, to MEMBER or to the fittest",
		Example: memberMoveExample, Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.complete(nil); err != nil {
				return err
			}
			plan := func(overview etcd.Overview) (maintain.MemberPlan, error) {
				return maintain.PlanMove(overview, nil), nil
			}
			if len(args) > 0 {
				plan = planned(args[0], func(overview etcd.Overview, to etcd.MemberView) maintain.MemberPlan {
					return maintain.PlanMove(overview, &to)
				})
			}
			return o.change(c.Context(), "not moved", plan, nil)
		},
	}
	o.addFlags(c.Flags())
	return c
}

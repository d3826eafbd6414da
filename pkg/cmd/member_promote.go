package cmd

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/maintain"
)

const memberPromoteExample = `  # Would it be well for the quorum?
  kubectl etcd member promote node3 --dry-run

  # Wait until it is in step, then give it a vote
  kubectl etcd member promote node3 --wait 30m --cacert ca.crt --cert client.crt --key client.key`

const memberPromoteLong = `Makes a voter of a learner. It waits until the learner was started and has nine tenths of the
leader's log, which is what etcd wants, tells how far it is, and ends when the new voter was seen
healthy. A learner that was never started is known by its ID alone: kubectl etcd member list.`

// newMemberPromoteCommand builds "kubectl etcd member promote".
func newMemberPromoteCommand(s *session) *cobra.Command {
	o := &memberChange{target: newTarget(s)}
	c := &cobra.Command{
		Use: "promote MEMBER", Short: "Make a voter of a learner, when it is in step",
		Long: memberPromoteLong, Example: memberPromoteExample, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.complete(nil); err != nil {
				return err
			}
			if o.wait <= 0 {
				return usagef("--wait must be more than 0")
			}
			return o.change(c.Context(), "not promoted", planned(args[0], maintain.PlanPromote), nil)
		},
	}
	c.Flags().DurationVar(&o.wait, "wait", 10*time.Minute, "how long it may take to start and to catch up")
	o.addFlags(c.Flags())
	return c
}

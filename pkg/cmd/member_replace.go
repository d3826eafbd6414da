package cmd

import (
	"cmp"
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/maintain"
)

const memberReplaceExample = `  # What would be done
  kubectl etcd member replace node2 --dry-run

  # Its disk is lost, its node is not: the same name and peer URL again
  kubectl etcd member replace node2 --cacert ca.crt --cert client.crt --key client.key

  # The machine is lost: kubeadm joins the new one, and adds its member by itself
  kubectl etcd member replace node2 --kubeadm-join --cacert ca.crt --cert client.crt --key client.key`

const memberReplaceLong = `Replaces a member that is lost: removes it, then adds a new one as a learner, by the same name
and peer URLs or others, and prints what is to be done on its node, as "member add" does, with its
promotion at the end. In this order, for one that is down counts against the quorum until it is
gone. Ended after the removal, "kubectl etcd member add" goes on.`

// memberReplaceOptions are those of "kubectl etcd member replace".
type memberReplaceOptions struct {
	memberChange
	peers []string
	name  string
	join  bool
	how   maintain.ReplaceOptions
}

// newMemberReplaceCommand builds "kubectl etcd member replace".
func newMemberReplaceCommand(s *session) *cobra.Command {
	o := &memberReplaceOptions{memberChange: memberChange{target: newTarget(s)}}
	c := &cobra.Command{
		Use: "replace MEMBER", Short: "Remove a member that is lost, and add one in its place",
		Long: memberReplaceLong, Example: memberReplaceExample, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.target.complete(nil); err != nil {
				return err
			}
			if err := o.complete(); err != nil {
				return err
			}
			return o.run(c.Context(), args[0])
		},
	}
	flags := c.Flags()
	flags.StringVar(&o.name, "name", "", "the new member's name (default the lost one's)")
	flags.StringSliceVar(&o.peers, "peer-urls", nil, "the new member's peer URLs (default the lost one's)")
	flags.BoolVar(&o.join, "kubeadm-join", false, "only remove it: kubeadm joins a new machine, and adds its member by itself")
	flags.BoolVar(&o.how.Force, "force", false, "also one that answers")
	o.addFlags(flags)
	return c
}

func (o *memberReplaceOptions) complete() (err error) {
	if o.join && (o.name != "" || len(o.peers) > 0) {
		return usagef("--kubeadm-join lets kubeadm choose: leave out --name and --peer-urls")
	}
	if o.name != "" {
		err = nameOfMember(o.name)
	}
	_, urls := parsePeerURLs(o.peers)
	return cmp.Or(err, urls)
}

func (o *memberReplaceOptions) run(ctx context.Context, text string) error {
	var lost etcd.MemberView
	plan := planned(text, func(overview etcd.Overview, view etcd.MemberView) maintain.MemberPlan {
		lost = view
		if !o.join {
			o.how.With = o.newcomer(view)
		}
		return maintain.PlanReplace(overview, view, o.how)
	})
	return o.change(ctx, "not replaced", plan, func(r *reach, done *membership) {
		if o.join && done.Report != nil && removed(done.Report.Done) {
			if lost.Node != "" {
				done.Machine = []string{shellJoin([]string{"kubectl", "delete", "node", lost.Node})}
			}
			done.Machine = append(done.Machine, kubeadmJoin()...)
			return
		}
		node := lost.Node
		if node == "" || o.name != "" {
			node = nodeOf(r.cluster, o.how.With.Name)
		}
		o.memberChange.join(r, done, node)
	})
}

// removed tells whether a member was.
func removed(steps []maintain.MemberStep) bool {
	return slices.ContainsFunc(steps, func(s maintain.MemberStep) bool { return s.Action == maintain.ActionRemove })
}

// newcomer is who comes in the place of the lost one.
func (o *memberReplaceOptions) newcomer(lost etcd.MemberView) maintain.NewMember {
	with := maintain.NewMember{Name: o.name, PeerURLs: o.peers}
	if with.Name == "" {
		with.Name = lost.Member.Name
	}
	if len(with.PeerURLs) == 0 {
		with.PeerURLs = lost.Member.PeerURLs
	}
	return with
}

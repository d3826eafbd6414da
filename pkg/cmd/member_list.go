package cmd

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/maintain"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
)

const memberListExample = `  # Who is a member, what is the quorum, and how many may fail?
  kubectl etcd member list

  # For scripts: the peer URLs
  kubectl etcd member list -o jsonpath='{.items[*].members[*].member.peerURLs}'`

// memberListOptions are those of "kubectl etcd member list".
type memberListOptions struct{ target }

// memberList is a cluster's list as -o json prints it, and as the view gets it.
type memberList struct {
	Cluster   string            `json:"cluster"`
	Namespace string            `json:"namespace,omitempty"`
	Shape     maintain.Shape    `json:"shape"`
	HasQuorum *bool             `json:"hasQuorum,omitempty"`
	Members   []etcd.MemberView `json:"members"`
	Notes     []string          `json:"notes,omitempty"`
}

func newMemberListCommand(s *session) *cobra.Command {
	o := &memberListOptions{newTarget(s)}
	c := &cobra.Command{
		Use: "list [CLUSTER]", Short: "List the members, with their URLs, the quorum and what it bears",
		Example: memberListExample, Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.complete(args); err != nil {
				return err
			}
			return o.run(c.Context())
		},
	}
	o.addFlags(c.Flags())
	return c
}

func (o *memberListOptions) run(ctx context.Context) error {
	list, unknown := render.List{Kind: "MemberListList"}, false
	var all []memberList
	err := o.observeEach(ctx, func(r *reach, overview etcd.Overview) {
		one := memberList{
			Cluster: r.cluster.Name, Namespace: r.cluster.Namespace, Shape: maintain.ShapeOf(overview),
			HasQuorum: overview.Verdict.HasQuorum, Members: overview.Members, Notes: r.notes,
		}
		if overview.Disagree {
			one.Notes = append(one.Notes, "members do not list the same members, or belong to different clusters")
		}
		unknown = unknown || one.Shape.Voters == 0
		all = append(all, one)
		list.Items = append(list.Items, render.Object{Kind: "MemberList", Name: one.Cluster, Value: one})
	})
	if err != nil {
		return err
	}
	if err := o.print(all, list); err != nil {
		return err
	}
	if unknown {
		return withHint(errors.New("no member told who is a member"), "see why: kubectl etcd status")
	}
	return nil
}

func (o *memberListOptions) print(all []memberList, list render.List) error {
	if o.format.Structured() {
		return o.format.Print(o.Out, list)
	}
	screen := o.screen()
	for i, c := range all {
		if i > 0 {
			screen.Line()
		}
		if len(all) > 1 {
			screen.Line(render.Cell{Text: strings.TrimPrefix(c.Namespace+"/"+c.Cluster, "/"), Tone: render.Strong})
		}
		viewMemberList(screen, c)
	}
	return screen.Flush()
}

package cmd

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/maintain"
)

const memberAddExample = `  # What adding a member would do, and what the quorum is then
  kubectl etcd member add node3 --peer-urls https://10.0.0.4:2380 --dry-run

  # Add it as a learner, and print what to start it with; again, it prints that once more
  kubectl etcd member add node3 --peer-urls https://10.0.0.4:2380 --cacert ca.crt --cert client.crt --key client.key`

const memberAddLong = `Adds a member to etcd's list, as a learner: it gets all data while it has no vote, and nothing
depends on it until "kubectl etcd member promote" made it a voter. Then it prints what is to be
done on its node: the steps where there is a manifest of etcd already, kubeadm's way for a new
machine, and the environment for anything else.

It refuses where etcd would: while so many voters are down that one more would be one too many,
and with a learner there already; before 3.5.30 and 3.6.11 while any voter is down.`

// memberAddOptions are those of "kubectl etcd member add".
type memberAddOptions struct {
	memberChange
	peers []string
	new   maintain.NewMember
}

func newMemberAddCommand(s *session) *cobra.Command {
	o := &memberAddOptions{memberChange: memberChange{target: newTarget(s)}}
	c := &cobra.Command{
		Use: "add NAME --peer-urls URL", Short: "Add a member as a learner, and print what to start it with",
		Long: memberAddLong, Example: memberAddExample, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.target.complete(nil); err != nil {
				return err
			}
			if err := o.complete(args[0]); err != nil {
				return err
			}
			return o.run(c.Context())
		},
	}
	c.Flags().StringSliceVar(&o.peers, "peer-urls", nil, "where the others reach it: https://10.0.0.4:2380")
	c.Flags().BoolVar(&o.new.Voter, "voter", false, "as a voter at once: it counts for the quorum before it runs")
	o.addFlags(c.Flags())
	return c
}

func (o *memberAddOptions) complete(name string) (err error) {
	if err := nameOfMember(name); err != nil {
		return err
	}
	if len(o.peers) == 0 {
		return usagef("--peer-urls is missing: where do the others reach %s?", name)
	}
	o.new.Name = name
	o.new.PeerURLs, err = parsePeerURLs(o.peers)
	return err
}

// nameOfMember refuses what can't stand in --initial-cluster, between a comma and an equals sign.
func nameOfMember(name string) error {
	odd := func(r rune) bool { return r == '=' || r == ',' || unicode.IsSpace(r) || !unicode.IsPrint(r) }
	if name == "" || strings.ContainsFunc(name, odd) {
		return usagef("%q can't be a member's name", name)
	}
	return nil
}

// parsePeerURLs takes URLs as etcd does: a scheme, a host and a port, and nothing else.
func parsePeerURLs(texts []string) ([]string, error) {
	for i, text := range texts {
		if slices.Contains(texts[:i], text) {
			return nil, usagef("--peer-urls: %q is given twice", text)
		}
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Port() == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
			return nil, usagef("--peer-urls: %q is not a peer URL like https://10.0.0.4:2380", text)
		}
	}
	return texts, nil
}

func (o *memberAddOptions) run(ctx context.Context) error {
	plan := func(overview etcd.Overview) (maintain.MemberPlan, error) {
		return maintain.PlanAdd(overview, o.new), nil
	}
	return o.change(ctx, "not added", plan, func(r *reach, done *membership) { o.join(r, done, nodeOf(r.cluster, o.new.Name)) })
}

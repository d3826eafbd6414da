package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/discover"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/maintain"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
)

// upkeepFlags are those of what changes a running etcd.
type upkeepFlags struct {
	dryRun        bool
	yes           bool
	overrideOwner bool
}

func (f *upkeepFlags) addConsent(flags *pflag.FlagSet) {
	flags.BoolVar(&f.dryRun, "dry-run", false, "print the plan, and do nothing")
	flags.BoolVar(&f.yes, "yes", false, "do not ask")
	flags.BoolVar(&f.overrideOwner, "override-owner", false, "also where something else looks after this etcd (OpenShift's operator, etcd-manager, RKE2, …)")
}

// nothingDone is what a dry run of something that could be done ends with.
func (f upkeepFlags) nothingDone(s *render.Screen, idle bool, refusals []maintain.Refusal) {
	if f.dryRun && !idle && len(refusals) == 0 {
		s.Line(render.Cell{Text: "nothing was done; without --dry-run it asks, then does it", Tone: render.Dim})
	}
}

// forUpkeep reaches the one cluster that is to be changed; for a plan alone a way to look is
// enough.
func (t *target) forUpkeep(ctx context.Context, f upkeepFlags, what string) (*reach, error) {
	return t.unlessOwned(ctx, f, func(c discover.Cluster) error {
		return leftToOwner(c, what, cmp.Or(c.Owner.Upkeep, c.Owner.Advice))
	})
}

// unlessOwned reaches the one cluster that is to be changed, unless left says that it is
// somebody else's to do.
func (t *target) unlessOwned(ctx context.Context, f upkeepFlags, left func(discover.Cluster) error) (*reach, error) {
	t.admit = func(c discover.Cluster) error {
		if f.overrideOwner {
			return nil
		}
		return left(c)
	}
	r, err := t.oneOf(ctx, f.dryRun)
	if err != nil {
		return nil, err
	}
	if err := t.admit(r.cluster); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// oneOf reaches exactly one cluster, to look at it or by gRPC.
func (t *target) oneOf(ctx context.Context, looking bool) (*reach, error) {
	if !looking {
		return t.one(ctx)
	}
	reached, err := t.readers(ctx)
	if err != nil {
		return nil, err
	}
	if len(reached) == 1 {
		return reached[0], nil
	}
	clusters := make([]discover.Cluster, len(reached))
	for i, r := range reached {
		clusters[i] = r.cluster
	}
	return nil, errors.Join(errSeveral(clusters), closeAll(reached))
}

// leftToOwner is that somebody else does this to the cluster, and how; nil: nobody does.
func leftToOwner(c discover.Cluster, what, how string) error {
	owner := c.Owner
	if !owner.Managed {
		return nil
	}
	return withHint(fmt.Errorf("%s looks after etcd %q: it is not for us to %s it", owner.Kind, c.Name, what),
		how, "to do it all the same: --override-owner")
}

// observe looks at a cluster's members; where none answers it says why, if that is known.
func (t *target) observe(ctx context.Context, r *reach) (etcd.Overview, error) {
	overview := etcd.Observe(ctx, r.sources, t.timeout)
	if err := ctx.Err(); err != nil {
		return overview, err
	}
	if err := r.refused.explain(ctx); err != nil && !answersAny(overview) {
		return overview, err
	}
	return overview, nil
}

// observeEach looks at the members of every cluster that is meant.
func (t *target) observeEach(ctx context.Context, seen func(*reach, etcd.Overview)) (err error) {
	reached, err := t.readers(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll(reached)) }()
	for _, r := range reached {
		overview, err := t.observe(ctx, r)
		if err != nil {
			return err
		}
		seen(r, overview)
	}
	return nil
}

// place names the cluster for a question.
func (t *target) place(r *reach) string {
	switch r.way {
	case wayDirect:
		return "etcd at " + r.cluster.Name
	case wayNode:
		return fmt.Sprintf("etcd %q of this node", r.cluster.Name)
	}
	return fmt.Sprintf("etcd %q of context %q", r.cluster.Name, t.contextName())
}

// contextName is the kubeconfig's context that is used.
func (s *session) contextName() string {
	if name := *s.kube.Context; name != "" {
		return name
	}
	raw, err := s.kube.ToRawKubeConfigLoader().RawConfig()
	if err != nil {
		return ""
	}
	return raw.CurrentContext
}

// refused is that a plan is not carried out: the first reason, and what would mend each.
func refused(what string, refusals []maintain.Refusal) error {
	hints := []string{refusals[0].Instead}
	for _, r := range refusals[1:] {
		hints = append(hints, r.Reason+": "+r.Instead)
	}
	return withHint(fmt.Errorf("%s: %s", what, refusals[0].Reason), hints...)
}

func viewRefusals(s *render.Screen, refusals []maintain.Refusal, warnings []string) {
	for _, r := range refusals {
		s.Say(2, s.State("refused", render.Bad), render.Cell{Text: ": " + r.Reason})
	}
	for _, warning := range warnings {
		s.Say(2, s.State("warning", render.Warn), render.Cell{Text: ": " + warning})
	}
}

// members are the ways to a cluster's members, as maintain takes them.
func (r *reach) members() maintain.Members {
	return maintain.Members{Sources: r.sources, Clients: r.clients}
}

// planScreen is where a plan is shown before the question: stdout, unless that is for a program.
func (s *session) planScreen() *render.Screen {
	if s.format.Structured() {
		return s.screenOn(s.ErrOut)
	}
	return s.screen()
}

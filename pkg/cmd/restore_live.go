package cmd

import (
	"context"
	"errors"
	"fmt"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
)

// running is what a cluster that still answers adds to a restore.
type running struct {
	members []restore.Target // its voters
	highest int64            // revision
}

// askRunning looks at the running cluster: its voters, and the highest revision that
// any member has. It refuses rather than guess when nobody answers.
func (o *restoreOptions) askRunning(ctx context.Context) (found running, err error) {
	reached, err := o.readers(ctx)
	if err != nil {
		return running{}, fmt.Errorf("look at the running cluster: %w", err)
	}
	defer func() {
		for _, r := range reached {
			err = errors.Join(err, r.Close())
		}
	}()
	if len(reached) > 1 {
		return running{}, withHint(usagef("there are %d etcd clusters", len(reached)), "choose the one whose snapshot this is: --etcd main")
	}
	overview := etcd.Observe(ctx, reached[0].sources, o.timeout)
	if err := ctx.Err(); err != nil {
		return running{}, err
	}
	found = summarize(overview)
	if err := o.enough(overview, found); err != nil {
		return running{}, withHint(fmt.Errorf("look at the running cluster: %w", err),
			"kubectl etcd status says why; --initial-cluster NAME=PEER-URL,… says who the members are, without --live they are the snapshot's own")
	}
	return found, nil
}

// enough refuses an answer that says less than --live is for.
func (o *restoreOptions) enough(overview etcd.Overview, found running) error {
	switch {
	case found.highest == 0:
		return errors.New("no member answers")
	case overview.Disagree:
		return errors.New("its members don't agree who is a member")
	case len(found.members) == 0 && len(o.members) == 0:
		return errors.New("no member could list the members")
	}
	return nil
}

func summarize(overview etcd.Overview) running {
	var found running
	for _, view := range overview.Members {
		if view.Status != nil {
			found.highest = max(found.highest, view.Status.Revision)
		}
		if m := view.Member; m != nil && !m.Learner && m.Name != "" {
			found.members = append(found.members, restore.Target{Name: m.Name, PeerURLs: m.PeerURLs})
		}
	}
	return found
}

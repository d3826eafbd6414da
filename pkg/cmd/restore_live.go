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
	if found.highest == 0 {
		return running{}, withHint(errors.New("look at the running cluster: no member answers"),
			"kubectl etcd status says why; without --live the members are the snapshot's own")
	}
	return found, nil
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

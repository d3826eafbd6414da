package maintain

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// readyShare is how much of the leader's log a learner has to have before etcd makes a voter
// of it (server/v3 etcdserver, readyPercentThreshold).
const readyShare = 0.9

// promote waits until the learner has started and is in step, makes a voter of it, and sees it
// well.
func (c *memberChange) promote(ctx context.Context, i int, step MemberStep) error {
	waiting, cancel := context.WithTimeout(ctx, c.Wait)
	defer cancel()
	for {
		waits, err := c.tryPromote(waiting, i, step)
		switch {
		case err != nil && ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return err
		case waits == "":
			return c.await(ctx, func(overview etcd.Overview) error { return c.votes(overview, step.ID) })
		}
		c.tell(i, false, waits)
		if !pause(waiting, time.Second) {
			if err := ctx.Err(); err != nil {
				return err
			}
			return fmt.Errorf("%w: after %s it is still a learner: %s", ErrUnready, c.Wait, waits)
		}
	}
}

// votes: the member is a healthy voter.
func (c *memberChange) votes(overview etcd.Overview, id etcd.ID) error {
	view, ok := find(overview, id)
	switch {
	case !ok || view.Member == nil:
		return fmt.Errorf("%w: %s is in the list no more", ErrUnready, id)
	case view.Member.Learner:
		return fmt.Errorf("%w: it is a learner still", ErrUnready)
	case view.Source != "" && !view.Healthy:
		return fmt.Errorf("%w: it is not healthy%s", ErrUnready, because(view))
	}
	return c.asPlanned(overview)
}

// tryPromote promotes the learner when it is in step; else it says what is waited for.
func (c *memberChange) tryPromote(ctx context.Context, i int, step MemberStep) (waits string, err error) {
	before := c.ran
	c.ran = false
	overview := etcd.Observe(ctx, c.members.Sources, c.Timeout)
	if ctx.Err() != nil {
		return "time ran out", nil
	}
	if err := c.asPlanned(overview); err != nil {
		return err.Error(), nil // a learner that starts, or an election, may be seen for a moment
	}
	view, ok := find(overview, step.ID)
	if !ok || view.Member == nil {
		return "", fmt.Errorf("%w: %s is in the list no more", ErrUnready, step.Member)
	}
	if view.Member.Name == "" {
		return "it is not started", nil
	}
	client, err := c.leads(overview)
	if err != nil {
		return "", err
	}
	share, known := c.share(ctx, client, view)
	text := fmt.Sprintf("it has %.0f%% of the leader's log", 100*share)
	if known && share < readyShare {
		return text, nil
	}
	if known {
		c.tell(i, false, text)
	}
	if why := c.silent(ctx, client, overview, view); why != "" {
		return why, nil
	}
	if c.ran = true; !before { // one that has just died may pass for one that runs
		return "it runs, and is looked at once more", nil
	}
	err = c.ask(ctx, func(ctx context.Context) error { return client.PromoteMember(ctx, step.ID) })
	if errors.Is(err, rpctypes.ErrMemberLearnerNotReady) {
		return "etcd says that it is not in step yet", nil
	}
	if err == nil {
		c.did(step)
	}
	return "", err
}

// share is how much of the leader's log a learner has: as the leader tells, else by what it
// says itself.
func (c *memberChange) share(ctx context.Context, leader *etcd.Client, view etcd.MemberView) (share float64, known bool) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	if page, err := leader.Page(ctx, "/debug/vars"); err == nil {
		if vars, err := page.Vars(); err == nil && vars.Raft.Commit > 0 {
			if progress, told := vars.Raft.Progress[view.Member.ID]; told {
				return float64(progress.Match) / float64(vars.Raft.Commit), true
			}
		}
	}
	if view.Status == nil || view.Lag == nil {
		return 0, false
	}
	return float64(view.Status.RaftIndex) / float64(view.Status.RaftIndex+*view.Lag), true
}

// silent is why a learner is taken to be down; empty: it runs. etcd asks only for its share of the
// log, which one that died has still: as a voter it may cost the quorum at once. The leader knows
// also of one that there is no way to (server/v3 rafthttp, peerStatus).
func (c *memberChange) silent(ctx context.Context, client *etcd.Client, overview etcd.Overview, view etcd.MemberView) string {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	if connected := c.connections(ctx, client, c.leaderID(overview)); connected != nil {
		if connected[view.Member.ID.String()] < 1 {
			return "the leader is not connected to it"
		}
		return ""
	}
	if view.Status == nil {
		return "nothing tells that it runs" + because(view)
	}
	return ""
}

// connections are how many the leader has to each member that it ever had one to; nil: not known.
func (c *memberChange) connections(ctx context.Context, client *etcd.Client, leader etcd.ID) map[string]float64 {
	page, err := client.Page(ctx, "/metrics")
	if err != nil {
		return nil
	}
	metrics, err := page.Metrics()
	if err != nil {
		return nil
	}
	var found map[string]float64
	metrics.Each("etcd_network_active_peers", func(labels map[string]string, value float64) {
		if labels["Local"] != leader.String() {
			return
		}
		if found == nil {
			found = map[string]float64{}
		}
		found[labels["Remote"]] += value
	})
	return found
}

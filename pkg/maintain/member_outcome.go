package maintain

import (
	"context"
	"errors"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// broke ends the report of a run that did not get to its end: what was done, also where no answer
// came to it, and what was not.
func (c *memberChange) broke(ctx context.Context) {
	overview := c.close(ctx)
	i := len(c.report.Done)
	if i < len(c.plan.Steps) && c.asked && c.shows(overview, c.plan.Steps[i]) {
		c.did(c.plan.Steps[i])
	}
	c.report.Stands = c.stands()
}

// did notes a step as done.
func (c *memberChange) did(step MemberStep) {
	c.report.Done, c.asked = append(c.report.Done, step), false
}

// shows: a step that was asked for is seen to be done.
func (c *memberChange) shows(overview etcd.Overview, step MemberStep) bool {
	list := listOf(overview)
	at := slices.IndexFunc(list, func(m etcd.Member) bool { return m.ID == step.ID })
	switch step.Action {
	case ActionMove:
		return c.leaderID(overview) == step.ToID
	case ActionPromote:
		return at >= 0 && !list[at].Learner
	}
	return false // of the others it was looked at right after
}

// added notes who was added.
func (c *memberChange) added(step MemberStep, id etcd.ID) {
	c.report.Added = &etcd.Member{ID: id, Name: step.Member, PeerURLs: step.PeerURLs, Learner: step.Learner}
	c.list = slices.Sorted(slices.Values(append(c.list, id)))
	c.known = append(c.known, etcd.Member{ID: id, PeerURLs: step.PeerURLs, Learner: step.Learner})
}

// stands is where a run stands that ended early.
func (c *memberChange) stands() string {
	var texts []string
	for _, step := range c.report.Done {
		texts = append(texts, "done: "+step.String())
	}
	left := c.plan.Steps[len(c.report.Done):]
	if c.asked && len(left) > 0 {
		texts = append(texts, "not known, for no answer came, and not seen so far: "+left[0].String())
		left = left[1:]
	} else if len(texts) == 0 {
		texts = append(texts, "nothing was changed")
	}
	for _, step := range left {
		texts = append(texts, "not done: "+step.String())
	}
	return strings.Join(texts, "; ")
}

// unanswered: etcd may have done, or may still do, what it was asked for.
func unanswered(err error) bool {
	var told rpctypes.EtcdError
	switch {
	case errors.Is(err, rpctypes.ErrTimeout), errors.Is(err, rpctypes.ErrTimeoutDueToLeaderFail), errors.Is(err, rpctypes.ErrTimeoutDueToConnectionLost):
		return true
	case errors.As(err, &told), errors.Is(err, ErrUnready):
		return false
	}
	return true
}

// close looks at the members at the end, also of a run that was interrupted.
func (c *memberChange) close(ctx context.Context) etcd.Overview {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*c.Timeout)
	defer cancel()
	overview := etcd.Observe(bounded, c.members.Sources, c.Timeout)
	if c.report.List = listOf(overview); len(c.report.List) == 0 {
		c.report.List = c.known
		return overview
	}
	shape := ShapeOf(overview)
	c.report.After = &shape
	return overview
}

// listOf is the member list that was seen.
func listOf(overview etcd.Overview) (list []etcd.Member) {
	for _, view := range overview.Members {
		if view.Member != nil {
			list = append(list, *view.Member)
		}
	}
	return list
}

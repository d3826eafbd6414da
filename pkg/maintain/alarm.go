package maintain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// DisarmOptions say which alarms are meant.
type DisarmOptions struct {
	// Corrupt takes CORRUPT too, which nothing else does.
	Corrupt bool
	// Force disarms NOSPACE though a database is still at its quota, or near it.
	Force bool
}

// DisarmPlan is what would be disarmed. With Refusals nothing is.
type DisarmPlan struct {
	Alarms   []etcd.Alarm `json:"alarms"`         // to be disarmed
	Kept     []etcd.Alarm `json:"kept,omitempty"` // that stay
	Refusals []Refusal    `json:"refusals,omitempty"`
	Warnings []string     `json:"warnings,omitempty"`
	// Before are the steps that come first, in order.
	Before []string `json:"before,omitempty"`
}

// PlanDisarm says which alarms may go, and what comes first.
func PlanDisarm(overview etcd.Overview, options DisarmOptions) DisarmPlan {
	p := DisarmPlan{Alarms: []etcd.Alarm{}}
	if has := overview.Verdict.HasQuorum; has == nil || !*has {
		p.Refusals = append(p.Refusals, Refusal{"there is no quorum, or none was seen: etcd can't disarm anything", "kubectl etcd status"})
	}
	noSpace, corrupt := alarmsOf(overview, NoSpace), alarmsOf(overview, Corrupt)
	p.Alarms = append(p.Alarms, noSpace...)
	if refusal := full(overview); refusal != nil && len(noSpace) > 0 {
		if options.Force {
			p.Warnings = append(p.Warnings, refusal.Reason+": etcd raises NOSPACE again with the next writes")
		} else {
			p.Before = makeRoom()
			p.Refusals = append(p.Refusals, *refusal)
		}
	}
	switch {
	case len(corrupt) == 0:
	case options.Corrupt:
		p.Alarms = append(p.Alarms, corrupt...)
		p.Warnings = append(p.Warnings, "with CORRUPT disarmed etcd serves data of which members hold different versions")
	case len(noSpace) == 0:
		p.Kept = corrupt
		p.Refusals = append(p.Refusals, keepCorrupt())
	default:
		p.Kept = corrupt
		p.Warnings = append(p.Warnings, "CORRUPT stays: "+keepCorrupt().Reason)
	}
	return p
}

func keepCorrupt() Refusal {
	return Refusal{
		"CORRUPT means that a member's data differs from the others', and disarming mends nothing",
		"find the member that differs (kubectl etcd health --check H40 --deep) and rebuild it; only where that is done: --disarm-corrupt",
	}
}

// makeRoom is the way out of NOSPACE.
func makeRoom() []string {
	return []string{
		"kubectl etcd compact --keep 5m",
		"kubectl etcd defrag",
		"kubectl etcd alarm disarm",
	}
}

// full is why NOSPACE must stay; nil: every database is below the share of its quota at which
// it may go.
func full(overview etcd.Overview) *Refusal {
	const instead = "make room first (kubectl etcd compact --keep 5m, then kubectl etcd defrag), or raise --quota-backend-bytes"
	for _, view := range overview.Members {
		switch {
		case view.Member == nil || view.Quota < 0: // in no list, or without a quota
		case view.Status == nil:
			return &Refusal{nameOf(view) + " does not answer: how large its database is is not known", "kubectl etcd status"}
		case view.Quota == 0:
			return &Refusal{"the quota of " + nameOf(view) + " is not known", instead}
		case float64(view.Status.DBSize) >= disarmBelow*float64(view.Quota):
			return &Refusal{fmt.Sprintf("the database of %s is at %.0f%% of its quota, and must be below %.0f%%",
				nameOf(view), 100*float64(view.Status.DBSize)/float64(view.Quota), 100*disarmBelow), instead}
		}
	}
	return nil
}

// Disarm runs a plan: it gives those that are gone.
func Disarm(ctx context.Context, members Members, plan DisarmPlan, timeout time.Duration) ([]etcd.Alarm, error) {
	if len(plan.Refusals) > 0 {
		return nil, asError(plan.Refusals)
	}
	overview := etcd.Observe(ctx, members.Sources, timeout)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return disarmAll(ctx, members, overview, plan.Alarms, timeout)
}

// disarmAll disarms through any voter that can, and makes sure that they are gone.
func disarmAll(ctx context.Context, members Members, overview etcd.Overview, alarms []etcd.Alarm, timeout time.Duration) (done []etcd.Alarm, err error) {
	client := members.anyVoter(overview)
	if client == nil {
		return nil, fmt.Errorf("%w: no voter can be asked", ErrUnready)
	}
	ask := func(do func(ctx context.Context) error) error {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		return do(ctx)
	}
	for _, alarm := range alarms {
		if err := ask(func(ctx context.Context) error { return client.Disarm(ctx, alarm) }); err != nil {
			return done, err
		}
		done = append(done, alarm)
	}
	var left []etcd.Alarm
	err = ask(func(ctx context.Context) (err error) { left, err = client.Alarms(ctx); return err })
	gone, raised := goneOf(done, left)
	return gone, errors.Join(err, raised)
}

// goneOf are those that were disarmed and are not among those that are left.
func goneOf(disarmed, left []etcd.Alarm) (gone []etcd.Alarm, err error) {
	for _, alarm := range disarmed {
		if slices.Contains(left, alarm) {
			err = errors.Join(err, fmt.Errorf("%s of %s was raised again at once", alarm.Type, alarm.MemberID))
			continue
		}
		gone = append(gone, alarm)
	}
	return gone, err
}

// anyVoter is a voter that answers, well or not: with CORRUPT none counts as healthy.
func (m Members) anyVoter(overview etcd.Overview) *etcd.Client {
	for _, view := range overview.Members {
		if client := m.client(view); client != nil && view.Status != nil && view.Status.Leader != 0 && !isLearner(view) {
			return client
		}
	}
	return nil
}

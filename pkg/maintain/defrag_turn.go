package maintain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// turn is a step, if all is still as it was planned.
func (d *defrag) turn(ctx context.Context, i int, step DefragStep) error {
	if err := d.settle(ctx, i); err != nil {
		return err
	}
	if err := d.lock.held(ctx); err != nil {
		return err
	}
	overview, err := d.ready(ctx)
	if err != nil {
		return err
	}
	if i == 0 {
		if d.lock, d.report.Unlocked, err = takeLock(ctx, d.members, overview, d.DefragRun); err != nil {
			return err
		}
	}
	d.tell(PhaseBegins, i, nil)
	switch step.Action {
	case ActionMove:
		err = d.move(ctx, overview, step)
	case ActionDisarm:
		err = d.disarm(ctx, overview)
	default:
		err = d.one(ctx, i, step, overview)
	}
	return err
}

// ready looks at all members, and wants them as they were when the plan was made.
func (d *defrag) ready(ctx context.Context) (etcd.Overview, error) {
	overview := etcd.Observe(ctx, d.members.Sources, d.Timeout)
	if err := ctx.Err(); err != nil {
		return overview, err
	}
	return overview, d.asPlanned(overview)
}

func (d *defrag) asPlanned(overview etcd.Overview) error {
	if err := asError(unwell(overview)); err != nil {
		return err
	}
	if !slices.Equal(memberIDs(overview), d.plan.Members) {
		return fmt.Errorf("%w: its members are others than when the plan was made", errChanged)
	}
	leader, _ := leaderOf(overview)
	d.report.Leader = nameOf(leader)
	if leader.ID() != d.leader {
		return fmt.Errorf("%w: the leader has changed to %s", errChanged, nameOf(leader))
	}
	return nil
}

// one is a member's turn.
func (d *defrag) one(ctx context.Context, i int, step DefragStep, overview etcd.Overview) error {
	if err := d.fits(ctx, step); err != nil {
		return err
	}
	view, _ := find(overview, step.ID)
	client := d.members.client(view)
	if client == nil {
		return fmt.Errorf("%w: there is no way to %s", ErrUnready, step.Member)
	}
	other, through := d.members.voter(overview, step.ID)
	if other == nil && overview.Verdict.Voters > 1 {
		return fmt.Errorf("%w: no other member can be watched meanwhile", ErrUnready)
	}
	told := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(told)
		d.tell(PhaseUncalled, i, nil)
	})
	result := DefragResult{Member: step.Member, Before: view.Status.DBSize, Through: through}
	err := d.rewrite(ctx, client, other, step, &result)
	if !stop() {
		<-told
	}
	d.report.LongestStall = max(d.report.LongestStall, result.Stall)
	if etcd.Unanswered(err) {
		d.note = step.Member + " may be, or may still be at it"
		return fmt.Errorf("no answer after %s; it may still be at it, and can't be stopped: %w", result.Pause.Round(time.Second), err)
	}
	if err != nil {
		return err
	}
	d.tell(PhaseWaits, i, nil)
	after, err := d.await(context.WithoutCancel(ctx), d.asPlanned, errChanged)
	if now, ok := find(after, step.ID); ok && now.Status != nil {
		result.After = now.Status.DBSize
		result.Reclaimed = result.Before - result.After
		d.report.Reclaimed += result.Reclaimed
	}
	d.report.Members = append(d.report.Members, result)
	switch {
	case errors.Is(err, errChanged):
		return fmt.Errorf("it is done: %w", err)
	case err != nil:
		d.note = step.Member + " was not seen well after that"
		return fmt.Errorf("it is done, but not well again after %s: %w", d.Healthy, err)
	}
	d.measured(step, result.Pause)
	d.tell(PhaseDone, i, &result)
	return nil
}

// fits makes sure that nothing else goes on in the member, and that by what the others took
// its probe is patient enough.
func (d *defrag) fits(ctx context.Context, step DefragStep) error {
	if d.Busy != nil {
		for _, busy := range d.Busy(ctx, step.ID) {
			return fmt.Errorf("%w: %s %s", ErrUnready, step.Member, busy)
		}
	}
	if d.speed > 0 && step.Limit > 0 {
		if pause := step.reckon(d.speed); pause > step.Limit {
			return fmt.Errorf("%w: by what the members before it took it would answer nothing for about %s, and at most %s are borne (%s)",
				ErrUnready, humanPause(pause), humanPause(step.Limit), limitFrom)
		}
	}
	return nil
}

// leastMeasured is from which size on a member's time tells how fast a disk is: below, making
// files takes the most of it.
const leastMeasured = 16 << 20

func (d *defrag) measured(step DefragStep, pause time.Duration) {
	if step.DBSizeInUse < leastMeasured || pause <= 0 {
		return
	}
	speed := float64(step.DBSizeInUse) / pause.Seconds()
	if d.speed == 0 || speed < d.speed {
		d.speed = speed
	}
}

// rewrite is the pause, seen from another member.
func (d *defrag) rewrite(ctx context.Context, client, other *etcd.Client, step DefragStep, result *DefragResult) error {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(d.longest, 3*step.reckon(10<<20), 3*step.Pause))
	defer cancel()
	watch := watchThrough(bounded, other, d.Timeout)
	began := time.Now()
	err := client.Defragment(bounded)
	result.Pause = time.Since(began)
	result.Stall, result.Failed = watch.end()
	return err
}

// settle waits between members: before each turn but the first.
func (d *defrag) settle(ctx context.Context, i int) error {
	if d.Settle <= 0 || i == 0 || d.plan.Steps[i-1].Action != ActionDefrag || count(d.plan.Steps[i:], ActionDefrag) == 0 {
		return nil
	}
	d.tell(PhaseSettles, i, nil)
	if !pause(ctx, d.Settle) {
		return ctx.Err()
	}
	return nil
}

// await looks until all is as want wants it, for at most Healthy. A final error of it is waited
// out by nobody; nil: none is.
func (d *defrag) await(ctx context.Context, want func(etcd.Overview) error, final error) (etcd.Overview, error) {
	ctx, cancel := context.WithTimeout(ctx, d.Healthy)
	defer cancel()
	var last error
	for {
		overview := etcd.Observe(ctx, d.members.Sources, d.Timeout)
		if err := want(overview); err == nil || final != nil && errors.Is(err, final) {
			return overview, err
		} else if ctx.Err() == nil {
			last = err
		}
		if !pause(ctx, eachPoll) {
			return overview, errors.Join(last, interrupted(ctx))
		}
	}
}

// interrupted is why ctx ended, unless its time was up.
func interrupted(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	return nil
}

// move hands the leadership over, if the leader itself holds the other for in step. Once begun
// it is not called off: else nobody would know who leads.
func (d *defrag) move(ctx context.Context, overview etcd.Overview, step DefragStep) error {
	view, _ := find(overview, step.ID)
	client := d.members.client(view)
	if client == nil {
		return fmt.Errorf("%w: there is no way to %s", ErrUnready, step.Member)
	}
	if state := raftState(ctx, client, step.ToID, d.Timeout); state != "" && state != "StateReplicate" {
		return fmt.Errorf("%w: to the leader, %s is in %s", ErrUnready, step.To, state)
	}
	ctx = context.WithoutCancel(ctx)
	bounded, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	if err := client.MoveLeader(bounded, step.ToID); err != nil {
		return err
	}
	d.leader = step.ToID
	_, err := d.await(ctx, d.asPlanned, nil)
	d.report.Moved = err == nil
	return err
}

// raftState is what the leader takes a member to be; empty: it does not say.
func raftState(ctx context.Context, leader *etcd.Client, id etcd.ID, timeout time.Duration) string {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	page, err := leader.Page(ctx, "/debug/vars")
	if err != nil {
		return ""
	}
	vars, err := page.Vars()
	if err != nil {
		return ""
	}
	return vars.Raft.Progress[id].State
}

func (d *defrag) disarm(ctx context.Context, overview etcd.Overview) error {
	if refusal := full(overview); refusal != nil {
		return fmt.Errorf("%w: %s; %s", ErrFull, refusal.Reason, refusal.Instead)
	}
	done, err := disarmAll(context.WithoutCancel(ctx), d.members, overview, alarmsOf(overview, NoSpace), d.Timeout)
	d.report.Disarmed = done
	return err
}

package cmd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/maintain"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
)

const defragExample = `  # Who would be defragmented in which order, what that gains, and for how long each pauses
  kubectl etcd defrag --dry-run

  # All members, one at a time, the leader last; it asks first
  kubectl etcd defrag --cacert ca.crt --cert client.crt --key client.key

  # By the clock: only members that are worth it; mostly nobody is
  kubectl etcd defrag --auto --yes --archive archive

  # What is worth it here
  kubectl etcd defrag --dry-run --min-free 1GiB --min-fragmentation 30% -o json`

const defragLong = `Gives free space in the members' databases back to the disk. A member answers nothing while it
is rewritten, so it is one at a time, the followers first and the most fragmented of them before
the others; then the leadership moves to a voter that had its turn, and the old leader comes
last. Before each turn all members are looked at again, through others it is watched, and the
first thing that is not as it should be ends it. Interrupted, it ends between two members. A
second run is refused meanwhile, whoever begins it and from wherever: a lease of etcd's own,
without a key, is the lock; after a run that was killed it ends within two minutes. An etcd
without space (NOSPACE) grants no lease, and then no run is kept away.

It refuses where a member is not well, where none can be spared (--force), with CORRUPT, while
a learner or a snapshot is under way, before etcd 3.5.6, and where a pause might outlast half of
what the pod's liveness probe bears. How long a pause is comes from a member's earlier ones, or
from --disk-speed; else 20 MiB a second are assumed.

etcd uses free pages again: defragmentation is for a database near its quota, or a disk or backup
that is too large. --auto, and each --min-…, leave out members that are not worth it. At the
end NOSPACE is disarmed, where every database is below 90% of its quota.`

// defragOptions are those of "kubectl etcd defrag".
type defragOptions struct {
	target
	archiveFlags
	upkeepFlags
	auto, force                 bool
	minFree, minShare, minQuota string
	diskSpeed                   string
	settle, healthyWithin       time.Duration
	plan                        maintain.DefragOptions
	now                         func() time.Time
}

// defragmentation is what would be done, and, once it is, what came of it.
type defragmentation struct {
	Cluster   string              `json:"cluster"`
	Namespace string              `json:"namespace,omitempty"`
	Way       way                 `json:"way,omitempty"`
	Plan      maintain.DefragPlan `json:"plan"`
	// Takes is about how long all of it takes; Waits is what of it lies between members.
	Takes  time.Duration          `json:"takes"`
	Waits  time.Duration          `json:"waits"`
	Report *maintain.DefragReport `json:"report,omitempty"`
	Notes  []string               `json:"notes,omitempty"`
}

// newDefragCommand builds "kubectl etcd defrag".
func newDefragCommand(s *session) *cobra.Command {
	return (&defragOptions{target: newTarget(s), now: time.Now}).command()
}

func (o *defragOptions) command() *cobra.Command {
	c := &cobra.Command{
		Use: "defrag [CLUSTER]", Short: "Reclaim free space, one member at a time, leader last",
		Long: defragLong, Example: defragExample, GroupID: groupMaintain, Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.complete(c.Flags(), args); err != nil {
				return err
			}
			return o.run(c.Context())
		},
	}
	rule, flags := maintain.DefaultRule(), c.Flags()
	flags.BoolVar(&o.auto, "auto", false, "only members that are worth it; where none is, do nothing")
	flags.StringVar(&o.minFree, "min-free", fmt.Sprintf("%dMiB", rule.MinFree>>20), "a member is worth it with so much free in its file; near its quota with half of that")
	flags.StringVar(&o.minShare, "min-fragmentation", percent(rule.MinFragmentation), "… and with this share of its file free")
	flags.StringVar(&o.minQuota, "min-quota-usage", percent(rule.MinQuotaUsage), "from this share of its quota on it is near it")
	flags.StringVar(&o.diskSpeed, "disk-speed", "", "what the members' disks rewrite in a second: 200MiB (default what earlier times took, else 20MiB)")
	flags.DurationVar(&o.plan.MaxPause, "max-pause", 0, "refuse where a member would answer nothing for longer (default half of what its liveness probe bears)")
	flags.BoolVar(&o.force, "force", false, "also where no member can be spared: etcd pauses with it")
	flags.DurationVar(&o.settle, "settle", 36*time.Second, "wait so long between members; Kubernetes' clients renew their leases meanwhile")
	flags.DurationVar(&o.healthyWithin, "healthy-within", time.Minute, "how long a member may take to be well again")
	o.addConsent(flags)
	o.addPlace(flags)
	o.addFlags(flags)
	return c
}

func percent(share float64) string { return fmt.Sprintf("%g%%", 100*share) }

func (o *defragOptions) complete(flags *pflag.FlagSet, args []string) (err error) {
	if err := o.target.complete(args); err != nil {
		return err
	}
	o.take(o.getenv)
	o.plan.Force, o.plan.ByRule = o.force, o.auto
	for _, name := range []string{"min-free", "min-fragmentation", "min-quota-usage"} {
		o.plan.ByRule = o.plan.ByRule || flags.Changed(name)
	}
	if o.plan.Rule.MinFree, err = parseBytes(o.minFree); err != nil {
		return usagef("--min-free %w", err)
	}
	if o.plan.Rule.MinFragmentation, err = parseShare(o.minShare); err != nil {
		return usagef("--min-fragmentation %w", err)
	}
	if o.plan.Rule.MinQuotaUsage, err = parseShare(o.minQuota); err != nil {
		return usagef("--min-quota-usage %w", err)
	}
	if o.diskSpeed != "" {
		speed, err := parseBytes(o.diskSpeed)
		if err != nil || speed <= 0 {
			return usagef("--disk-speed %q is no size like 200MiB", o.diskSpeed)
		}
		o.plan.Speed = float64(speed)
	}
	if o.settle < 0 || o.plan.MaxPause < 0 || o.healthyWithin <= 0 {
		return usagef("--settle and --max-pause must not be less than 0, and --healthy-within more than 0")
	}
	return nil
}

func (o *defragOptions) run(ctx context.Context) (err error) {
	r, err := o.forUpkeep(ctx, o.upkeepFlags, "defragment")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	facts := o.facts(ctx, r)
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := r.refused.explain(ctx); err != nil && !answersAny(facts.Overview) {
		return err
	}
	done := defragmentation{
		Cluster: r.cluster.Name, Namespace: r.cluster.Namespace, Way: r.way, Notes: r.notes,
		Plan: maintain.PlanDefrag(facts, o.plan),
	}
	done.Takes, done.Waits = o.reckon(done.Plan)
	o.typeAll(done.Plan.Warnings)
	refusals := done.Plan.Refusals
	if o.dryRun || done.Plan.Empty() || len(refusals) > 0 {
		if err := o.print(done); err != nil || len(refusals) == 0 {
			return err
		}
		return refused("not defragmented", refusals)
	}
	return o.carryOut(ctx, r, facts, done)
}

// reckon is how long a plan takes, and what of it is waited between members.
func (o *defragOptions) reckon(plan maintain.DefragPlan) (takes, waits time.Duration) {
	members := 0
	for _, step := range plan.Steps {
		if step.Action == maintain.ActionDefrag {
			takes += step.Pause
			members++
		}
	}
	waits = time.Duration(max(members-1, 0)) * o.settle
	return takes + waits, waits
}

// carryOut shows the plan, asks, and does it.
func (o *defragOptions) carryOut(ctx context.Context, r *reach, facts maintain.DefragFacts, done defragmentation) error {
	screen := o.planScreen()
	viewDefragPlan(screen, done)
	if err := screen.Flush(); err != nil {
		return err
	}
	question := fmt.Sprintf("defragment %s of %s?", strings.Join(defragged(done.Plan), ", "), o.place(r))
	if err := o.agreed(ctx, question, o.yes); err != nil {
		return err
	}
	report, err := maintain.Defrag(ctx, r.members(), done.Plan, maintain.DefragRun{
		Timeout: o.timeout, Healthy: o.healthyWithin, Settle: o.settle, OnEvent: o.tell,
		Busy: func(ctx context.Context, id etcd.ID) []string {
			return o.busy(ctx, r, id, facts.Around[id].Unseen == "")
		},
	})
	done.Report = &report
	return errors.Join(o.print(done), goOn(err))
}

// goOn says what comes next after a run that ended early.
func goOn(err error) error {
	if err == nil || errors.Is(err, maintain.ErrLocked) { // begun by another run while the question was open
		return err
	}
	return withHint(err, "see how etcd is: kubectl etcd status", "then go on with the members that still need it: kubectl etcd defrag --auto")
}

// defragged are the members of a plan, in order.
func defragged(plan maintain.DefragPlan) (names []string) {
	for _, step := range plan.Steps {
		if step.Action == maintain.ActionDefrag {
			names = append(names, step.Member)
		}
	}
	return names
}

func answersAny(overview etcd.Overview) bool {
	for _, m := range overview.Members {
		if m.Status != nil {
			return true
		}
	}
	return false
}

// tell says on stderr what happens.
func (o *defragOptions) tell(e maintain.DefragEvent) {
	number := fmt.Sprintf("%d/%d", e.Number, e.Of)
	switch e.Phase {
	case maintain.PhaseBegins:
		o.notice("%s %s", number, stepText(e.Step))
	case maintain.PhaseSettles:
		o.notice("%s waiting %s before the next member", number, render.Duration(o.settle))
	case maintain.PhaseUncalled:
		o.notice("interrupted: %s can't be stopped in it; waiting for its end", e.Step.Member)
	case maintain.PhaseDone:
		o.notice("%s %s is well: %s reclaimed, it paused for %s", number, e.Member.Member, render.Bytes(e.Member.Reclaimed), render.Duration(e.Member.Pause))
	}
}

func (o *defragOptions) print(done defragmentation) error {
	if o.format.Structured() {
		return o.format.Print(o.Out, render.Object{Kind: "Defragmentation", Name: done.Cluster, Value: done})
	}
	screen := o.screen()
	if done.Report != nil {
		viewDefragReport(screen, done)
	} else {
		viewDefragPlan(screen, done)
	}
	o.nothingDone(screen, done.Plan.Empty(), done.Plan.Refusals)
	return screen.Flush()
}

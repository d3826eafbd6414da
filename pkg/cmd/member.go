package cmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/discover"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/maintain"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/runbook"
)

const memberExample = `  # Who is a member, what is the quorum, and how many may fail?
  kubectl etcd member list

  # What replacing a lost member would do
  kubectl etcd member replace node2 --dry-run`

const memberLong = `Shows and changes who is a member of etcd. Each change is planned first, with the quorum before
and after it, shown, and asked for; before each step the members are looked at again. What
would cost the quorum is refused.

MEMBER is a member's name, its ID, or the name of its pod or node.`

// newMemberCommand builds "kubectl etcd member".
func newMemberCommand(s *session) *cobra.Command {
	c := &cobra.Command{
		Use: "member", Short: "List, add, promote, remove and replace members, move the leadership",
		Long: memberLong, Example: memberExample, GroupID: groupMaintain, Args: onlyCommands,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newMemberListCommand(s), newMemberAddCommand(s), newMemberPromoteCommand(s), newMemberRemoveCommand(s),
		newMemberMoveCommand(s), newMemberReplaceCommand(s))
	return c
}

// memberChange is what the commands have in common that change members.
type memberChange struct {
	target
	upkeepFlags
	wait  time.Duration
	told  string // how far a step is, as it was last told
	since time.Time
}

// membership is what would be changed, and, once it is, what came of it.
type membership struct {
	Cluster   string                 `json:"cluster"`
	Namespace string                 `json:"namespace,omitempty"`
	Way       way                    `json:"way,omitempty"`
	Plan      maintain.MemberPlan    `json:"plan"`
	Report    *maintain.MemberReport `json:"report,omitempty"`
	// Environment is what a new member has to be started with, and Promote what gives it a vote
	// once it runs.
	Environment []string       `json:"environment,omitempty"`
	Promote     string         `json:"promote,omitempty"`
	Next        []runbook.Step `json:"nextSteps,omitempty"`
	// GoOn is the command that does what is left, where only the old member was removed.
	GoOn string `json:"goOn,omitempty"`
	// Machine is how kubeadm adds it where it is a new machine.
	Machine []string      `json:"newMachine,omitempty"`
	Notes   []string      `json:"notes,omitempty"`
	list    []etcd.Member // as the plan was made
}

func (o *memberChange) addFlags(flags *pflag.FlagSet) {
	o.addConsent(flags)
	o.target.addFlags(flags)
}

// planMembers says what would be changed, by what was seen.
type planMembers func(overview etcd.Overview) (maintain.MemberPlan, error)

// planned plans for the member that text means.
func planned(text string, plan func(etcd.Overview, etcd.MemberView) maintain.MemberPlan) planMembers {
	return func(overview etcd.Overview) (maintain.MemberPlan, error) {
		view, err := maintain.FindMember(overview, text)
		if err != nil {
			return maintain.MemberPlan{}, err
		}
		return plan(overview, view), nil
	}
}

// change plans, shows, asks, and does it. next says what is to be done after, of what was done.
func (o *memberChange) change(ctx context.Context, refusal string, plan planMembers, next func(*reach, *membership)) (err error) {
	r, err := o.unlessOwned(ctx, o.upkeepFlags, func(c discover.Cluster) error { return leftToOwner(c, "change the members of", c.Owner.Advice) })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	overview, err := o.observe(ctx, r)
	if err != nil {
		return err
	}
	done := membership{Cluster: r.cluster.Name, Namespace: r.cluster.Namespace, Way: r.way, Notes: r.notes}
	for _, view := range overview.Members {
		if view.Member != nil {
			done.list = append(done.list, *view.Member)
		}
	}
	if done.Plan, err = plan(overview); err != nil {
		return err
	}
	done.Plan.Warnings = append(done.Plan.Warnings, stranded(r, done.Plan)...)
	o.typeAll(done.Plan.Warnings)
	if refusals := done.Plan.Refusals; o.dryRun || done.Plan.Empty() || len(refusals) > 0 {
		if next != nil && len(refusals) == 0 && !o.dryRun {
			next(r, &done)
		}
		if err := o.print(done); err != nil || len(refusals) == 0 {
			return err
		}
		return refused(refusal, refusals)
	}
	screen := o.planScreen()
	viewMemberPlan(screen, done)
	if err := screen.Flush(); err != nil {
		return err
	}
	if err := o.agreed(ctx, fmt.Sprintf("change the members of %s?", o.place(r)), o.yes); err != nil {
		return err
	}
	return o.carryOut(ctx, r, done, next)
}

// stranded are the API servers that reach etcd through a member alone that is to be removed.
func stranded(r *reach, plan maintain.MemberPlan) (warnings []string) {
	if r.kube == nil {
		return nil
	}
	for _, step := range plan.Steps {
		at := slices.IndexFunc(r.cluster.Pods, func(p discover.Pod) bool { return slices.Equal(p.PeerURLs, step.PeerURLs) })
		if step.Action != maintain.ActionRemove || at < 0 {
			continue
		}
		names, ours := dependents(r.kube.servers, r.cluster.Pods[at], r.kube.host)
		if len(names) == 0 {
			continue
		}
		text := fmt.Sprintf("%s reaches etcd through %s alone, and can do nothing without it", strings.Join(names, ", "), step.Member)
		if ours {
			text += "; it is the API server that you are talking to"
		}
		warnings = append(warnings, text)
	}
	return warnings
}

func (o *memberChange) carryOut(ctx context.Context, r *reach, done membership, next func(*reach, *membership)) error {
	report, err := maintain.ChangeMembers(ctx, r.members(), done.Plan, maintain.MemberRun{Timeout: o.timeout, Wait: o.wait, OnEvent: o.tell})
	if err == nil {
		err = o.seenWell(ctx, r, done.Plan, &report)
	}
	done.Report, done.GoOn = &report, o.goingOn(done.Plan, report)
	if next != nil {
		next(r, &done)
	}
	if err != nil {
		err = withHint(err, "see how it is now: kubectl etcd member list")
	}
	return errors.Join(o.print(done), err)
}

// goingOn is what adds the new member where only the old one was removed.
func (o *memberChange) goingOn(plan maintain.MemberPlan, report maintain.MemberReport) string {
	if len(plan.Steps) == 0 || !removed(report.Done) || report.Added != nil {
		return ""
	}
	add := plan.Steps[len(plan.Steps)-1]
	if add.Action != maintain.ActionAdd {
		return ""
	}
	return o.command("member", "add", add.Member, "--peer-urls", strings.Join(add.PeerURLs, ","))
}

// seenWell waits until a new voter is well that there was no way to when all began, as it was not
// started then: what comes next may depend on it.
func (o *memberChange) seenWell(ctx context.Context, r *reach, plan maintain.MemberPlan, report *maintain.MemberReport) error {
	promoted := slices.ContainsFunc(plan.Steps, func(s maintain.MemberStep) bool { return s.Action == maintain.ActionPromote })
	if !promoted || r.way != wayNode && r.way != wayForward {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for report.After == nil || report.After.Healthy < plan.After.Healthy {
		select {
		case <-bounded.Done():
			if err := ctx.Err(); err != nil {
				return err
			}
			return fmt.Errorf("%w: it is done, but not all voters are well after a minute", maintain.ErrUnready)
		case <-time.After(time.Second):
		}
		if shape, err := o.lookAgain(bounded); err == nil {
			report.After = &shape
		}
	}
	return nil
}

// lookAgain looks at the members by ways that are made anew.
func (o *memberChange) lookAgain(ctx context.Context) (maintain.Shape, error) {
	r, err := o.one(ctx)
	if err != nil {
		return maintain.Shape{}, err
	}
	overview := etcd.Observe(ctx, r.sources, o.timeout)
	return maintain.ShapeOf(overview), r.Close()
}

// tell says on stderr what happens; how far a step is only when that has changed, or after a while.
func (o *memberChange) tell(e maintain.MemberEvent) {
	number := fmt.Sprintf("%d/%d", e.Number, e.Of)
	switch {
	case e.Done:
		o.notice("%s done", number)
	case e.Told == "":
		o.notice("%s %s", number, e.Step)
	case e.Told != o.told || time.Since(o.since) > 30*time.Second:
		o.told, o.since = e.Told, time.Now()
		o.notice("%s %s", number, e.Told)
	}
}

// command is a command line of ours that leads to the same etcd.
func (o *memberChange) command(words ...string) string {
	return shellJoin(append(append([]string{"kubectl", "etcd"}, words...), o.wayToEtcd...))
}

func (o *memberChange) print(done membership) error {
	if o.format.Structured() {
		return o.format.Print(o.Out, render.Object{Kind: "MemberChange", Name: done.Cluster, Value: done})
	}
	screen := o.screen()
	if done.Report == nil {
		viewMemberPlan(screen, done)
	} else {
		viewMemberReport(screen, done)
	}
	viewJoining(screen, done)
	o.nothingDone(screen, done.Plan.Empty(), done.Plan.Refusals)
	return screen.Flush()
}

// join says how the member that was added is started: what its etcd needs in any case, the steps
// on a node of static pods, and kubeadm's way for a machine that is new.
func (o *memberChange) join(r *reach, done *membership, node string) {
	added := done.Plan.There
	var list []etcd.Member
	if done.Report != nil {
		added, list = done.Report.Added, done.Report.List
	}
	if added == nil {
		return
	}
	if len(list) == 0 { // it was there before: then so were the others
		list = done.list
	}
	j := maintain.Joining{Member: *added, Node: node, InitialCluster: maintain.InitialCluster(list, added.ID, added.Name)}
	if added.Learner {
		j.Promote = o.command("member", "promote", added.ID.String(), "--yes")
	}
	done.Environment, done.Promote = j.Environment(), j.Promote
	layout := layoutFor(r.cluster, added.PeerURLs)
	if layout == nil || logsApart(r.cluster) {
		return
	}
	j.Layout = maintain.Layout{Manifest: layout.Manifest, DataDir: layout.DataDir, DataDirFlag: layout.DataDirFlag}
	done.Next = j.NodeSteps()
	if r.cluster.Distro == "kubeadm" && r.cluster.Name == "main" {
		done.Machine = kubeadmJoin()
	}
}

// layoutFor is how the node keeps etcd whose pod has these peer URLs, whatever else runs there;
// where there is no such pod, as all nodes do.
func layoutFor(c discover.Cluster, peers []string) *restore.StepOptions {
	own := discover.Cluster{}
	for _, pod := range c.Pods {
		if slices.Equal(pod.PeerURLs, peers) {
			own.Pods = append(own.Pods, pod)
		}
	}
	if len(own.Pods) == 0 {
		own = c
	}
	return running{cluster: own}.layout()
}

// logsApart: a member's log is not in its data directory, and would have to be put aside as well.
func logsApart(c discover.Cluster) bool {
	return slices.ContainsFunc(c.Pods, func(p discover.Pod) bool { return p.Settings["wal-dir"].Value != "" })
}

// kubeadmJoin is how a machine becomes a control plane.
func kubeadmJoin() []string {
	return []string{
		`kubeadm token create --print-join-command --certificate-key "$(kubeadm init phase upload-certs --upload-certs | tail -n 1)"`,
	}
}

// nodeOf is the node that a name means: that of a pod of etcd's, else the name itself, as
// kubeadm calls its members by their nodes.
func nodeOf(c discover.Cluster, name string) string {
	at := slices.IndexFunc(c.Pods, func(p discover.Pod) bool { return p.Name == name || p.Node == name })
	if at < 0 {
		return name
	}
	return c.Pods[at].Node
}

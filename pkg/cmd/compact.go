package cmd

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/discover"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/maintain"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
)

const compactExample = `  # Forget all history but that of the last five minutes; the plan first
  kubectl etcd compact --keep 5m --dry-run --cacert ca.crt --cert client.crt --key client.key
  kubectl etcd compact --keep 5m --yes --cacert ca.crt --cert client.crt --key client.key

  # Up to a revision, and wait until the database is done with it
  kubectl etcd compact --revision 123456789 --physical --dry-run --cacert ca.crt --cert client.crt --key client.key`

const compactLong = `Makes etcd forget the history before a revision. What it held becomes free in the members'
databases; kubectl etcd defrag gives it back to the disk. Kubernetes' API servers compact every
five minutes by themselves: this is for NOSPACE, and for where they do not.

--keep 5m finds the revision of then. etcd keeps no times, but Kubernetes' Leases are renewed
again and again with the time in them: the newest revision that renewed one that long ago is
taken. It is older than asked for by at most what lies between two renewals, and as far as the
clock of who renewed it agrees with this machine's. Without such a Lease it refuses.

The newest revision is refused in a key space of Kubernetes: every watch and list that is under
way would have to begin anew.`

// compactOptions are those of "kubectl etcd compact".
type compactOptions struct {
	target
	upkeepFlags
	revision int64
	keep     time.Duration
	physical bool
	now      func() time.Time
}

// compaction is what would be compacted, and whether it was.
type compaction struct {
	Cluster    string               `json:"cluster"`
	Namespace  string               `json:"namespace,omitempty"`
	Kubernetes bool                 `json:"kubernetes"`
	Plan       maintain.CompactPlan `json:"plan"`
	Done       bool                 `json:"done"`
	Next       string               `json:"next,omitempty"` // command
}

// newCompactCommand builds "kubectl etcd compact".
func newCompactCommand(s *session) *cobra.Command {
	return (&compactOptions{target: newTarget(s), now: time.Now}).command()
}

func (o *compactOptions) command() *cobra.Command {
	c := &cobra.Command{
		Use: "compact [CLUSTER]", Short: "Forget history, up to a revision or some minutes ago",
		Long: compactLong, Example: compactExample, GroupID: groupMaintain, Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.complete(c.Flags(), args); err != nil {
				return err
			}
			return o.run(c.Context())
		},
	}
	flags := c.Flags()
	flags.Int64Var(&o.revision, "revision", 0, "forget what was before this revision")
	flags.DurationVar(&o.keep, "keep", 0, "forget what was before so long ago: 5m")
	flags.BoolVar(&o.physical, "physical", false, "wait until the database of the member that is asked is done with it")
	o.addConsent(flags)
	o.addFlags(flags)
	return c
}

func (o *compactOptions) complete(flags *pflag.FlagSet, args []string) error {
	if err := o.target.complete(args); err != nil {
		return err
	}
	switch byRevision, byTime := flags.Changed("revision"), flags.Changed("keep"); {
	case byRevision == byTime:
		return usagef("say up to where: --revision N or --keep 5m")
	case byRevision && o.revision < 1:
		return usagef("--revision must be 1 or more")
	case byTime && o.keep < time.Minute:
		return usagef("--keep must be 1m or more")
	}
	return nil
}

func (o *compactOptions) run(ctx context.Context) (err error) {
	f := o.upkeepFlags
	f.dryRun = false // etcdctl in a pod does not tell what the plan is made of
	r, err := o.forUpkeep(ctx, f, "compact")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	done, err := o.plan(ctx, r)
	if err != nil {
		return err
	}
	o.typeAll(done.Plan.Warnings)
	refusals := done.Plan.Refusals
	if o.dryRun || done.Plan.Idle || len(refusals) > 0 {
		if err := o.print(done); err != nil || len(refusals) == 0 {
			return err
		}
		return refused("not compacted", refusals)
	}
	screen := o.planScreen()
	viewCompaction(screen, done)
	if err := screen.Flush(); err != nil {
		return err
	}
	if err := o.agreed(ctx, fmt.Sprintf("compact %s to revision %d?", o.place(r), done.Plan.Revision), o.yes); err != nil {
		return err
	}
	if err := maintain.Compact(ctx, r.members(), done.Plan, o.timeout); err != nil {
		return err
	}
	done.Done, done.Next = true, o.typed("kubectl etcd defrag")
	return o.print(done)
}

func (o *compactOptions) plan(ctx context.Context, r *reach) (compaction, error) {
	done := compaction{Cluster: r.cluster.Name, Namespace: r.cluster.Namespace}
	facts := maintain.CompactFacts{Overview: etcd.Observe(ctx, r.sources, o.timeout)}
	client := r.reader(ctx, o.timeout)
	if client == nil {
		return done, errors.Join(ctx.Err(), r.refused.explain(ctx), silentError(facts.Overview))
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	status, err := client.Status(ctx)
	if err != nil {
		return done, err
	}
	facts.Head = status.Revision
	if facts.Compacted, err = client.CompactRevision(ctx); err != nil {
		return done, err
	}
	prefix := keyPrefix(r)
	if facts.Kubernetes, err = keepsKubernetes(ctx, client, prefix); err != nil {
		return done, err
	}
	revision := o.revision
	if o.keep > 0 {
		if facts.Moment, err = o.moment(ctx, client, prefix, facts); err != nil {
			return done, err
		}
		revision = facts.Moment.Revision
	}
	done.Kubernetes, done.Plan = facts.Kubernetes, maintain.PlanCompact(facts, revision, o.physical)
	return done, nil
}

var errNoVoter = errors.New("no voter answers")

// silentError is why no member answers.
func silentError(overview etcd.Overview) error {
	errs := []error{errNoVoter}
	for _, m := range overview.Members {
		if m.Err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", m.Name, m.Err))
		}
	}
	return errors.Join(errs...)
}

// keyPrefix is what the API servers' keys begin with, without the slash at its end.
func keyPrefix(r *reach) string {
	var servers []discover.APIServer
	if r.kube != nil {
		servers = r.kube.servers
	}
	for _, server := range servers {
		return "/" + strings.Trim(cmp.Or(server.EtcdPrefix, "/registry"), "/")
	}
	return "/registry"
}

// keepsKubernetes: an API server notes there what it compacted (k8s.io/apiserver
// storage/etcd3/compact.go), or keeps its objects there.
func keepsKubernetes(ctx context.Context, client *etcd.Client, prefix string) (found bool, err error) {
	value, _, err := client.ValueAt(ctx, "compact_rev_key", 0)
	if err != nil || value != nil {
		return value != nil, err
	}
	err = client.Scan(ctx, prefix+"/", 1, 1, func(etcd.KeyValue) bool { found = true; return false })
	return found, err
}

// moment is the revision of --keep ago.
func (o *compactOptions) moment(ctx context.Context, client *etcd.Client, prefix string, facts maintain.CompactFacts) (*maintain.Moment, error) {
	clock, err := findClock(ctx, client, prefix)
	if err != nil {
		return nil, err
	}
	return clock.RevisionAt(ctx, client, facts, o.now().Add(-o.keep))
}

// findClock is the Lease that was renewed last: those of leaders are every two seconds, those of
// nodes every ten.
func findClock(ctx context.Context, client *etcd.Client, prefix string) (maintain.Clock, error) {
	clock, newest := maintain.Clock{TimeOf: renewedAt}, time.Time{}
	for _, namespace := range []string{"/leases/kube-system/", "/leases/kube-node-lease/"} {
		err := client.Scan(ctx, prefix+namespace, 100, 1000, func(stored etcd.KeyValue) bool {
			if renewed, ok := renewedAt(stored.Value); ok && renewed.After(newest) {
				clock.Key, newest = stored.Key, renewed
			}
			return true
		})
		if err != nil {
			return clock, err
		}
	}
	if clock.Key == "" {
		return clock, fmt.Errorf("%w: there is no Lease of Kubernetes to tell the time by", maintain.ErrNoClock)
	}
	return clock, nil
}

// renewedAt is when a stored Lease was renewed. The API server stores them as protobuf, unless
// it is told otherwise or encrypts them.
func renewedAt(value []byte) (time.Time, bool) {
	message, ok := bytes.CutPrefix(value, []byte("k8s\x00"))
	if !ok {
		return time.Time{}, false
	}
	var envelope runtime.Unknown
	if err := envelope.Unmarshal(message); err != nil || envelope.Kind != "Lease" {
		return time.Time{}, false
	}
	var lease coordinationv1.Lease
	if err := lease.Unmarshal(envelope.Raw); err != nil || lease.Spec.RenewTime == nil {
		return time.Time{}, false
	}
	return lease.Spec.RenewTime.Time, true
}

func (o *compactOptions) print(done compaction) error {
	if o.format.Structured() {
		return o.format.Print(o.Out, render.Object{Kind: "Compaction", Name: done.Cluster, Value: done})
	}
	screen := o.screen()
	viewCompaction(screen, done)
	o.nothingDone(screen, done.Plan.Idle, done.Plan.Refusals)
	return screen.Flush()
}

func viewCompaction(s *render.Screen, done compaction) {
	p := done.Plan
	switch {
	case done.Done:
		s.Say(2, s.State("ok", render.Good), render.Cell{Text: fmt.Sprintf(": compacted to revision %d", p.Revision), Tone: render.Strong})
		s.Line(render.Cell{Text: "next, to give what is free back to the disk: " + done.Next})
		return
	case p.Idle:
		s.Say(2, s.State("ok", render.Good), render.Cell{Text: fmt.Sprintf(": nothing to compact: revision %d is compacted already, up to %d", p.Revision, p.Compacted), Tone: render.Strong})
		return
	}
	s.Line(render.Cell{Text: fmt.Sprintf("plan: compact etcd %s to revision %d", done.Cluster, p.Revision), Tone: render.Strong})
	fact(s, "newest", "revision %d: the last %d stay", p.Head, max(p.Head-p.Revision, 0))
	fact(s, "so far", "compacted to %d: %d go", p.Compacted, p.Revision-p.Compacted)
	if m := p.Moment; m != nil {
		fact(s, "that was", "%s, by %s", render.Time(m.At), m.By)
	}
	viewRefusals(s, p.Refusals, p.Warnings)
}

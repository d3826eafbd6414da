package cmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/health"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
)

const healthExample = `  # What is wrong, why, and what mends it
  kubectl etcd health

  # The findings alone, a line each, at once: without the second look at counts
  kubectl etcd health --sample 0 -o short

  # Every check with its numbers, also those that cost etcd something
  kubectl etcd health --deep -o wide --fail-on never

  # For a script: two checks, another limit, exit code 3 already on a warning
  kubectl etcd health --check H02,H08 --set learner-age=5m --fail-on warning -o json`

const healthLong = `Runs every check that the access at hand allows: members, raft, space, latency, integrity,
and how the API servers are wired to etcd. Findings come first, worst first, each with its
numbers and what mends it; docs/checks.md says of each check what it measures and whose rule
it is.

What could not be measured is shown as such, with the reason, and never counts as passed.
Counts need two looks: --sample says how far apart; everything else happens meanwhile.
--deep reads more: a hash of all keys on every member, one after the other, the leader last,
and every key once.

Nothing is created and nothing changed. With certificates (or --relay) more can be measured
than without.`

// healthOptions are those of "kubectl etcd health".
type healthOptions struct {
	target
	archiveFlags
	checks, skip, set []string
	failOn            string
	sample            time.Duration
	deep              bool
	now               func() time.Time

	chosen []health.Check
	limits health.Limits
	level  health.Level // from which on it fails; empty: never
}

// clusterHealth is one cluster as -o json prints it, and as the view gets it.
type clusterHealth struct {
	Cluster   string `json:"cluster"`
	Namespace string `json:"namespace,omitempty"`
	Distro    string `json:"distro,omitempty"`
	Way       way    `json:"way"`
	health.Report
	Notes []string `json:"notes,omitempty"`
}

// newHealthCommand builds "kubectl etcd health".
func newHealthCommand(s *session) *cobra.Command {
	return (&healthOptions{target: newTarget(s), now: time.Now}).command()
}

func (o *healthOptions) command() *cobra.Command {
	c := &cobra.Command{
		Use: "health [CLUSTER]", Short: "Run every check, findings first, with what mends them",
		Long: healthLong, Example: healthExample, GroupID: groupLook, Args: cobra.MaximumNArgs(1),
		Annotations: map[string]string{specialFormat: "short"},
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.complete(args); err != nil {
				return err
			}
			return o.run(c.Context())
		},
	}
	flags := c.Flags()
	flags.StringSliceVar(&o.checks, "check", nil, "only these checks: H01,H20")
	flags.StringSliceVar(&o.skip, "skip", nil, "all but these checks")
	flags.StringArrayVar(&o.set, "set", nil, "change a limit: fsync-p99=20ms; again for several")
	flags.StringVar(&o.failOn, "fail-on", string(health.Critical), "exit code 3 from this finding on: info, warning, critical, never")
	flags.DurationVar(&o.sample, "sample", 10*time.Second, "between the two looks at what is counted; 0: look once")
	flags.BoolVar(&o.deep, "deep", false, "also compare hashes, and read every key once")
	o.addPlace(flags)
	o.addFlags(flags)
	return c
}

func (o *healthOptions) complete(args []string) (err error) {
	if err := o.target.complete(args); err != nil {
		return err
	}
	o.take(o.getenv)
	if o.sample < 0 {
		return usagef("--sample must not be less than 0")
	}
	switch level := health.Level(o.failOn); level {
	case health.Info, health.Warning, health.Critical:
		o.level = level
	case "never":
	default:
		return usagef("--fail-on %q is none of info, warning, critical, never", o.failOn)
	}
	if o.chosen, err = chooseChecks(o.checks, o.skip); err != nil {
		return err
	}
	o.limits = health.DefaultLimits()
	for _, setting := range o.set {
		if o.limits, err = o.limits.With(setting); err != nil {
			return usagef("--set: %w", err)
		}
	}
	return nil
}

// chooseChecks keeps the checks that are asked for.
func chooseChecks(only, skip []string) ([]health.Check, error) {
	all := health.Checks()
	known := func(id string) bool {
		return slices.ContainsFunc(all, func(c health.Check) bool { return strings.EqualFold(c.ID, id) })
	}
	for _, id := range slices.Concat(only, skip) {
		if !known(id) {
			return nil, withHint(usagef("there is no check %q", id), "they are listed in docs/checks.md, and by kubectl etcd health -o wide")
		}
	}
	named := func(list []string, id string) bool {
		return slices.ContainsFunc(list, func(name string) bool { return strings.EqualFold(name, id) })
	}
	chosen := slices.DeleteFunc(all, func(c health.Check) bool {
		return len(only) > 0 && !named(only, c.ID) || named(skip, c.ID)
	})
	if len(chosen) == 0 {
		return nil, usagef("--check and --skip leave no check")
	}
	return chosen, nil
}

func (o *healthOptions) run(ctx context.Context) (err error) {
	reached, err := o.readers(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll(reached)) }()
	if o.sample > 0 {
		o.toWatcher("looking twice, %s apart (--sample)", render.Duration(o.sample))
	}
	clusters := make([]clusterHealth, len(reached))
	var group errgroup.Group
	for i, r := range reached {
		group.Go(func() error {
			clusters[i] = o.judge(ctx, r)
			return nil
		})
	}
	_ = group.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	for i, r := range reached {
		if err := r.refused.explain(ctx); err != nil && !clusters[i].answered() {
			return err
		}
	}
	if err := o.print(clusters); err != nil {
		return err
	}
	return o.verdict(clusters)
}

func (o *healthOptions) judge(ctx context.Context, r *reach) clusterHealth {
	facts := health.Collect(ctx, o.sources(r))
	report := health.Judge(facts, o.chosen, o.limits)
	return clusterHealth{
		Cluster: r.cluster.Name, Namespace: r.cluster.Namespace, Distro: r.cluster.Distro, Way: r.way,
		Report: report, Notes: slices.Concat(r.notes, unlistedSilence(facts), o.remedyFlags(r, report)),
	}
}

// remedyFlags are what the commands that remedies name need, which would be hard to read in them.
func (o *healthOptions) remedyFlags(r *reach, report health.Report) []string {
	named := slices.ContainsFunc(report.Results, func(result health.Result) bool {
		return result.Level.AtLeast(health.Info) && reachesEtcd.MatchString(result.Remedy)
	})
	way := o.wayTo(r)
	if !named || len(way) == 0 {
		return nil
	}
	return []string{"the commands named here need these flags: " + shellJoin(way)}
}

// unlistedSilence is why what is in no member list does not answer: no check and no row is of it.
func unlistedSilence(f *health.Facts) (notes []string) {
	for _, m := range f.Members {
		if m.View.Member == nil && m.View.Status == nil {
			notes = append(notes, fmt.Sprintf("%s does not answer: %s", m.Name(), m.View.Error))
		}
	}
	return notes
}

// answered: some member did.
func (c clusterHealth) answered() bool {
	return c.Counts[health.Unmeasured] < len(c.Results)
}

func (o *healthOptions) print(clusters []clusterHealth) error {
	if o.format.Structured() {
		list := render.List{Kind: "ClusterHealthList"}
		for _, c := range clusters {
			list.Items = append(list.Items, render.Object{Kind: "ClusterHealth", Name: c.Cluster, Value: c})
		}
		return o.format.Print(o.Out, list)
	}
	screen := o.screen()
	viewHealth(screen, clusters, o.format.Special == "short")
	return screen.Flush()
}

// verdict is exit code 3 where a cluster is as bad as --fail-on says, and where nothing of it
// could be measured: that is not well either.
func (o *healthOptions) verdict(clusters []clusterHealth) error {
	for _, c := range clusters {
		if o.level != "" && (c.Level.AtLeast(o.level) || c.Level == health.Unmeasured) {
			return exitWith(exitFindings)
		}
	}
	return nil
}

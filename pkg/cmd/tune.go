package cmd

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/health"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/tune"
)

const tuneExample = `  # Round trips between the members, their disks, and whether the timeouts suit them
  kubectl etcd tune

  # What to set, flag by flag, and the order of the restarts; then only what to apply
  kubectl etcd tune --suggest
  kubectl etcd tune --suggest -o patch

  # Five members across a continent: what to set, and what a write would take
  kubectl etcd tune --simulate rtt=130ms,fsync=8ms,members=5

  # Every flag that was looked at, with its default and the rule's source
  kubectl etcd tune --simulate rtt=2ms,fsync=6ms,members=3 -o wide`

const tuneLong = `Measures the round trips between members and their disks, and says which heartbeat-interval
and election-timeout suit them. --suggest looks at every flag: its value in each member, what to
set and why, what a write takes with 1, 3, 5 and 7 members, and in which order a running
cluster is restarted to get there. Nothing is created and nothing changed.

With --relay, and with --on-node from that node, round trips are what TCP connects to the
peers' ports take, for every pair. Without, they are told from reads: a linearizable read
through a member waits for one round trip to the leader, a serializable one does not; so only
the leader's pairs are measured. The quickest of the reads count: others wait for more than the
line. Between followers there is etcd's own probe, corrected: a mean of all the time since etcd
started, and rather too long. Where what was measured varies too much the output says so. Disks
are told from the members' metrics of the last --sample, else of all their time. Reads want a
certificate (or --relay); without one only the probes are left.

What a flag is now is told by the pod's specification, the process's command line, and the line
that etcd logs when it starts; where they differ a restart is pending.

--for-version 3.8 lists flags that a version does not have any more.

--simulate takes the figures from you, and needs no cluster: rtt is the longest round trip
between two members, fsync the slowest member's p99 (left out: not measured, and said so),
members how many vote (left out: 3). The members are as kubeadm starts them.

In -o json and the like a duration is a number of seconds; etcd's flags take milliseconds.`

// tuneOptions are those of "kubectl etcd tune".
type tuneOptions struct {
	target
	simulate   string
	suggest    bool
	sample     time.Duration
	forVersion string

	version *tune.Minor // forVersion, parsed
}

// newTuneCommand builds "kubectl etcd tune".
func newTuneCommand(s *session) *cobra.Command {
	o := &tuneOptions{target: newTarget(s)}
	c := &cobra.Command{
		Use: "tune [CLUSTER]", Short: "Measure round trips and disks, and say which timeouts suit them",
		Long: tuneLong, Example: tuneExample, GroupID: groupLook, Args: cobra.MaximumNArgs(1),
		Annotations: map[string]string{specialFormat: "patch"},
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.complete(args); err != nil {
				return err
			}
			return o.run(c.Context())
		},
	}
	flags := c.Flags()
	flags.BoolVar(&o.suggest, "suggest", false, "look at every flag, and say what to set")
	flags.DurationVar(&o.sample, "sample", 10*time.Second, "how long the disks are watched; 0: only what the members' metrics hold")
	flags.StringVar(&o.forVersion, "for-version", "", "list flags that this version of etcd does not have: 3.8")
	flags.StringVar(&o.simulate, "simulate", "", "the figures, without a cluster: rtt=TIME,fsync=TIME,members=N")
	o.addFlags(flags)
	return c
}

func (o *tuneOptions) complete(args []string) error {
	if err := o.target.complete(args); err != nil {
		return err
	}
	if o.sample < 0 {
		return usagef("--sample must not be less than 0")
	}
	if o.forVersion != "" {
		version, err := tune.ParseMinor(o.forVersion)
		if err != nil {
			return usagef("--for-version: %w", err)
		}
		o.version = &version
	}
	if o.simulate != "" && (o.name != "" || len(o.endpoints) > 0 || o.onNode || o.forVersion != "") {
		return usagef("--simulate does without a cluster: leave out what names one, and --for-version")
	}
	return nil
}

func (o *tuneOptions) run(ctx context.Context) (err error) {
	if o.simulate != "" {
		sim, err := parseSimulation(o.simulate)
		if err != nil {
			return usagef("--simulate %s: %w", o.simulate, err)
		}
		o.suggest = true
		return o.print([]tuneReport{newSimulatedReport(sim)})
	}
	reached, err := o.readers(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll(reached)) }()
	if o.sample > 0 {
		o.toWatcher("measuring: the disks are watched for %s (--sample)", render.Duration(o.sample))
	}
	reports := make([]tuneReport, len(reached))
	for i, r := range reached { // one after the other: reads of one would slow the other's
		reports[i] = o.measure(ctx, r)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for i, r := range reached {
		if err := r.refused.explain(ctx); err != nil && !reports[i].measured() {
			return err
		}
	}
	return o.print(reports)
}

// readTime is enough for 40 reads through a follower that is 300 ms away: each takes two
// round trips.
const readTime = time.Minute

// measure asks the members what health asks them, and no more.
func (o *tuneOptions) measure(ctx context.Context, r *reach) tuneReport {
	collected := health.Collect(ctx, health.Sources{
		Members: r.memberSources(), Timeout: o.timeout, ReadTime: readTime, Sample: o.sample, Now: time.Now,
		Archive: func(context.Context) health.Fact[health.Archive] { return health.Unknown[health.Archive]("not asked") },
	})
	facts := tuneFacts(collected, r, o.connects(ctx, r, collected), o.startLogs(ctx, r))
	report := newTuneReport(facts)
	report.Cluster, report.Namespace, report.Way, report.Facts = r.cluster.Name, r.cluster.Namespace, r.way, &facts
	report.Notes = slices.Concat(unlistedSilence(collected), report.Notes)
	if o.version != nil {
		report.ForVersion, report.Removed = o.forVersion, removedFlags(facts, *o.version)
	}
	return report
}

// removedFlags are those of each member that a version does not have; where its specification
// is not known, of its process' command line.
func removedFlags(facts tune.Facts, version tune.Minor) []memberRemovals {
	all := []memberRemovals{}
	for _, m := range facts.Members {
		removed := memberRemovals{Member: m.Name, Flags: []tune.Removal{}}
		switch {
		case m.Unread == "":
			removed.Flags = tune.Lint(m.Settings, version)
		case m.Running != nil:
			removed.Flags = tune.Lint(m.Running, version)
		default:
			removed.Missing = m.Unread
		}
		if len(removed.Flags) > 0 || removed.Missing != "" {
			all = append(all, removed)
		}
	}
	return all
}

// tuneReport is the advice for a cluster as -o json prints it, and as the view gets it.
type tuneReport struct {
	Cluster    string           `json:"cluster,omitempty"`
	Namespace  string           `json:"namespace,omitempty"`
	Way        way              `json:"way,omitempty"`
	Simulated  *simulation      `json:"simulated,omitempty"`
	Facts      *tune.Facts      `json:"facts,omitempty"` // what was measured; nil: simulated
	ForVersion string           `json:"forVersion,omitempty"`
	Removed    []memberRemovals `json:"removedFlags,omitempty"`
	tune.Advice
	KubeadmPatch    string            `json:"kubeadmPatch,omitempty"`
	ManifestPatches map[string]string `json:"manifestPatches,omitempty"` // by member
}

// memberRemovals are the flags of a member that a version does not have.
type memberRemovals struct {
	Member  string         `json:"member"`
	Flags   []tune.Removal `json:"flags"`
	Missing string         `json:"notMeasured,omitempty"` // why its flags are not known
}

func newSimulatedReport(sim simulation) tuneReport {
	r := newTuneReport(sim.facts())
	r.Simulated, r.Cluster, r.ManifestPatches = &sim, "simulated", nil
	return r
}

func newTuneReport(facts tune.Facts) tuneReport {
	advice := tune.Advise(facts, tune.Options{})
	r := tuneReport{Advice: advice, KubeadmPatch: tune.KubeadmPatch(advice.Changes()), ManifestPatches: map[string]string{}}
	for _, m := range facts.Members {
		if patch := tune.ManifestPatch(m, advice.Changes()); patch != "" && m.Unread == "" {
			r.ManifestPatches[m.Name] = patch
		}
	}
	return r
}

// measured: some member told something.
func (r tuneReport) measured() bool {
	return r.Facts == nil || slices.ContainsFunc(r.Facts.Members, func(m tune.Member) bool { return m.Version != "" })
}

func (o *tuneOptions) print(reports []tuneReport) error {
	switch {
	case o.format.Special == "patch":
		return o.printPatches(reports)
	case o.format.Structured():
		list := render.List{Kind: "ClusterAdviceList"}
		for _, r := range reports {
			list.Items = append(list.Items, render.Object{Kind: "ClusterAdvice", Name: r.Cluster, Value: r})
		}
		return o.format.Print(o.Out, list)
	}
	screen := o.screen()
	for i, r := range reports {
		if i > 0 {
			screen.Line()
		}
		viewTune(screen, r, o.suggest || screen.Wide)
	}
	return screen.Flush()
}

// printPatches prints only what to apply.
func (o *tuneOptions) printPatches(reports []tuneReport) error {
	screen := o.screen()
	for _, r := range reports {
		if len(r.Changes()) == 0 {
			o.notice("%s: nothing is to be set", r.Cluster)
			continue
		}
		screen.Line(render.Cell{Text: "# " + r.Cluster + ": kubeadm's ClusterConfiguration"})
		viewLines(screen, "", r.KubeadmPatch)
		for _, member := range slices.Sorted(maps.Keys(r.ManifestPatches)) {
			screen.Line(render.Cell{Text: "# static pod of " + member})
			viewLines(screen, "", r.ManifestPatches[member])
		}
		for i, line := range restartLines(r.Steps) {
			if i == 0 {
				screen.Line(render.Cell{Text: "# " + restartsTitle})
			}
			screen.Line(render.Cell{Text: "# " + line})
		}
	}
	return screen.Flush()
}

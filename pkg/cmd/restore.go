package cmd

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/runbook"
)

const restoreExample = `  # What is there to restore from in this folder?
  kubectl etcd restore

  # One data directory per member that the snapshot knows
  kubectl etcd restore --from-file snapshot.db --out-dir restored

  # Exactly one member's data directory
  kubectl etcd restore --from-file snapshot.db --data-dir /var/lib/etcd-new --member node0

  # For other members than the snapshot's; the plan only
  kubectl etcd restore --from-file snapshot.db --out-dir restored --dry-run \
    --initial-cluster a=https://10.0.0.1:2380,b=https://10.0.0.2:2380,c=https://10.0.0.3:2380

  # For the members of the cluster that is running now, above its highest revision
  kubectl etcd restore --from-file snapshot.db --out-dir restored --live

  # Out of an archive: the newest moment, or a quarter of an hour ago; the plan first
  kubectl etcd restore --archive archive --identity archive-key.txt --latest --out-dir restored --dry-run
  kubectl etcd restore --archive archive --identity archive-key.txt --to-time -15m --out-dir restored

  # What one member of a lost cluster still has on its disk, its log included
  kubectl etcd restore --from-data-dir /mnt/node1/var/lib/etcd --out-dir restored

  # What a snapshot still holds of the time before it
  kubectl etcd restore --from-file snapshot.db --to-revision 12345 --out-dir restored

  # The same on a control plane node, as root, when no API server is left
  kubectl etcd restore --from-file snapshot.db --out-dir restored --live --on-node`

const restoreLong = `Makes etcd data directories out of a snapshot, or of any moment that an archive holds: base
and changes, up to exactly that revision, and what members had told as their hash is compared.
A snapshot file is verified first; a directory
appears whole or not at all, and nothing that exists is written over. Nothing is done to a
running cluster: the steps that put the directories in place are printed.

In a Kubernetes key space revisions go up by 1,000,000,000 and what was before is marked
compacted, so that no controller trusts what it cached; --bump-revision 0 leaves them.`

// restoreOptions are those of "kubectl etcd restore".
type restoreOptions struct {
	target
	archiveFlags
	momentFlags
	fromFile       string
	fromDataDir    string
	dataDir        string
	member         string
	outDir         string
	initialCluster string
	token          string
	bump           int64
	bumpGiven      bool
	clearAlarms    bool
	targetVersion  string
	dryRun         bool
	live           bool

	members    []restore.Target // of --initial-cluster
	targetFlag string           // one that was given, of those that say which cluster
	now        func() time.Time
}

// newRestoreCommand builds "kubectl etcd restore".
func newRestoreCommand(s *session) *cobra.Command {
	o := &restoreOptions{target: newTarget(s), now: time.Now}
	c := &cobra.Command{
		Use:     "restore",
		Short:   "Make data directories out of a snapshot, and say how to put them in place",
		Long:    restoreLong,
		Example: restoreExample,
		GroupID: groupBackup,
		Args:    noFileArgument,
		RunE: func(c *cobra.Command, _ []string) error {
			o.bumpGiven = c.Flags().Changed("bump-revision")
			o.targetFlag = changedTarget(c.Flags())
			if err := o.complete(); err != nil {
				return err
			}
			return o.run(c.Context())
		},
	}
	flags := c.Flags()
	flags.StringVar(&o.fromFile, "from-file", "", "the snapshot to restore; with --to-revision, an earlier revision that is still in it")
	flags.StringVar(&o.fromDataDir, "from-data-dir", "", "what survived: a stopped member's data directory, its log applied to the end, or up to --to-revision")
	o.addReader(flags)
	o.addMoment(flags)
	flags.StringVar(&o.dataDir, "data-dir", "", "make this one data directory, with --member: DIR/member/snap/db …")
	flags.StringVar(&o.member, "member", "", "the member to make it for")
	flags.StringVar(&o.outDir, "out-dir", "", "make one data directory per member in this folder")
	flags.StringVar(&o.initialCluster, "initial-cluster", "", "all members of the new cluster, NAME=PEER-URL,… (default the snapshot's own)")
	flags.StringVar(&o.token, "initial-cluster-token", "", "for members that are made one by one: the token of the first one's plan (default a new one)")
	flags.Int64Var(&o.bump, "bump-revision", 0, "raise revisions by this much and mark them compacted (default 1000000000 for Kubernetes' keys, else 0)")
	flags.BoolVar(&o.clearAlarms, "clear-alarms", false, "leave out the alarms that stand in the snapshot")
	flags.StringVar(&o.targetVersion, "target-version", "", "the etcd that shall run it: 3.5, 3.6, 3.7 (default the snapshot's)")
	flags.BoolVar(&o.live, "live", false, "take the members, and the highest known revision, from the cluster that is running")
	flags.BoolVar(&o.dryRun, "dry-run", false, "verify the file and print the plan")
	o.addFlags(flags)
	return c
}

// noFileArgument refuses an argument: it was meant to be the file.
func noFileArgument(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return withHint(usagef("restore takes no argument: the file goes behind --from-file"), restoreCommand(args[0]))
}

var minorVersion = regexp.MustCompile(`^3\.\d+$`)

func (o *restoreOptions) complete() (err error) {
	if err := o.completeSource(); err != nil {
		return err
	}
	if o.fromFile == "" && o.location == "" && o.fromDataDir == "" {
		if o.dataDir != "" || o.outDir != "" || o.member != "" || o.dryRun {
			return usagef("--from-file FILE, --archive LOCATION or --from-data-dir DIR is missing: what is to be restored?")
		}
		return nil
	}
	switch {
	case o.dataDir == "" && o.outDir == "":
		return usagef("say where to: --out-dir DIR (one data directory per member), or --data-dir DIR --member NAME (one)")
	case o.dataDir != "" && o.outDir != "":
		return usagef("--data-dir and --out-dir exclude each other")
	case o.dataDir != "" && o.member == "":
		return usagef("--data-dir is one member's: say whose with --member NAME")
	case o.bumpGiven && o.bump < 0:
		return usagef("--bump-revision can't be negative: a revision never goes back")
	case o.targetVersion != "" && !minorVersion.MatchString(o.targetVersion):
		return usagef("--target-version %q is not a minor version like 3.6", o.targetVersion)
	}
	if o.targetFlag != "" && !o.live && (o.targetFlag != "etcd" || o.location == "") {
		return usagef("--%s says which running cluster is meant, and none is asked without --live", o.targetFlag)
	}
	if o.live {
		if err := o.target.complete(nil); err != nil {
			return err
		}
	}
	if o.members, err = parseInitialCluster(o.initialCluster); err != nil {
		return usagef("--initial-cluster: %w", err)
	}
	return nil
}

// changedTarget is the first flag given of those that say where etcd is, empty for none.
func changedTarget(flags *pflag.FlagSet) (name string) {
	flags.Visit(func(f *pflag.Flag) {
		if _, about := f.Annotations[targetGroup]; about && name == "" {
			name = f.Name
		}
	})
	return name
}

// parseInitialCluster reads etcd's own form: name=url,…; a name that comes again has
// several URLs.
func parseInitialCluster(text string) ([]restore.Target, error) {
	if text == "" {
		return nil, nil
	}
	var members []restore.Target
	byName := map[string]int{}
	for _, pair := range strings.Split(text, ",") {
		name, peer, ok := strings.Cut(strings.TrimSpace(pair), "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("%q is not NAME=PEER-URL", pair)
		}
		u, err := url.Parse(peer)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Port() == "" {
			return nil, fmt.Errorf("%q is not a peer URL like https://10.0.0.1:2380", peer)
		}
		i, known := byName[name]
		if !known {
			i = len(members)
			byName[name] = i
			members = append(members, restore.Target{Name: name})
		}
		members[i].PeerURLs = append(members[i].PeerURLs, peer)
	}
	return members, nil
}

func (o *restoreOptions) run(ctx context.Context) (err error) {
	if o.fromFile == "" && o.location == "" && o.fromDataDir == "" {
		return o.list(ctx)
	}
	source, err := o.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.done()) }()
	if source.snapshot == nil { // an archive's plan
		return o.printArchivePlan(source)
	}
	snapshot := source.snapshot
	options := o.planOptions()
	options.HighestKnown = source.highest()
	var found running
	if o.live {
		if found, err = o.askRunning(ctx); err != nil {
			return err
		}
		if err := found.fits(snapshot.Contents); err != nil {
			return err
		}
		options.HighestKnown = max(options.HighestKnown, found.highest)
		if len(options.Members) == 0 {
			options.Members = found.members
		}
	}
	plan, err := restore.NewPlan(snapshot, options)
	if err != nil {
		return err
	}
	if o.dryRun {
		return o.printPlan(plan)
	}
	report, err := restore.Run(ctx, plan, func(step string) { o.notice("%s", step) })
	if err != nil {
		return err
	}
	if source.label != "" {
		report.Plan.Snapshot.Path = source.label
	}
	return o.printReport(report, found, source)
}

func (o *restoreOptions) planOptions() restore.Options {
	options := restore.Options{
		Members: o.members, Only: o.member, DataDir: o.dataDir, OutDir: o.outDir, Bump: -1,
		TargetVersion: o.targetVersion, ClearAlarms: o.clearAlarms, Token: o.token,
	}
	if o.bumpGiven {
		options.Bump = o.bump
	}
	return options
}

func (o *restoreOptions) printPlan(plan *restore.Plan) error {
	if o.format.Structured() {
		return o.format.Print(o.Out, render.Object{Kind: "RestorePlan", Name: plan.Token, Value: plan})
	}
	screen := o.screen()
	viewPlan(screen, plan)
	return screen.Flush()
}

func (o *restoreOptions) printReport(report *restore.Report, found running, source *restoreSource) error {
	done := restored{Report: *report, Made: source.made, Undone: source.loss, Newest: source.newest(), Salvaged: source.salvaged, Others: o.others(&report.Plan), Next: o.steps(&report.Plan, found)}
	if o.format.Structured() {
		return o.format.Print(o.Out, render.Object{Kind: "Restore", Name: report.Plan.Token, Value: done})
	}
	screen := o.screen()
	viewRestore(screen, done)
	return screen.Flush()
}

// steps are the way to a running cluster. Of an etcd beside the main one only the running
// cluster tells where it is on the nodes: kubeadm's own places are main's.
func (o *restoreOptions) steps(plan *restore.Plan, found running) []runbook.Step {
	contents, layout := plan.Snapshot.Contents, found.layout()
	switch {
	case !contents.Kubernetes, contents.Partial && layout == nil:
		return nil
	case layout == nil:
		layout = &restore.StepOptions{}
	}
	status := []string{"kubectl", "etcd", "status"}
	if o.name != "" {
		status = append(status, "--etcd", o.name)
	}
	layout.Kubectl, layout.Status = o.kubectl("kubectl"), o.kubectl(status...)
	layout.Here = memberHere(plan.Build, ownAddresses())
	return restore.NextSteps(plan, *layout)
}

// restored is what was made, and what to do with it.
type restored struct {
	restore.Report
	Made     *made               `json:"made,omitempty"`           // of an archive, or of a snapshot's past
	Newest   int64               `json:"newestRevision,omitempty"` // of the archive's timeline
	Salvaged *restore.Salvaged   `json:"salvaged,omitempty"`       // of a data directory
	Undone   *restore.LossReport `json:"undone,omitempty"`         // what was captured after that moment
	Others   []other             `json:"otherMembers,omitempty"`   // that were not made
	Next     []runbook.Step      `json:"nextSteps,omitempty"`      // none while there are others to be made
}

// kubectl is argv with the flags that reach the cluster that this command was pointed at.
func (o *restoreOptions) kubectl(argv ...string) string {
	if path := *o.kube.KubeConfig; path != "" {
		argv = append(argv, "--kubeconfig", path)
	}
	if name := *o.kube.Context; name != "" {
		argv = append(argv, "--context", name)
	}
	return shellJoin(argv)
}

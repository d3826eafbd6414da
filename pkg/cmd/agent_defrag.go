package cmd

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
	"github.com/spf13/pflag"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agent"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/discover"
)

// handedOn are the flags of defrag that its CronJob hands on, with what checks them.
var handedOn = []struct {
	name  string
	check func(string) error
}{
	{"min-free", isBytes}, {"min-fragmentation", isShare}, {"min-quota-usage", isShare}, {"disk-speed", isBytes}, {"settle", isDuration},
}

// agentDefrag is what is special about "kubectl etcd agent manifest --defrag".
type agentDefrag struct {
	defrag   bool
	schedule string
	values   map[string]*string // of handedOn
}

func (d *agentDefrag) addDefrag(flags *pflag.FlagSet) {
	flags.BoolVar(&d.defrag, "defrag", false, "print a CronJob that defragments members which are worth it, instead of the backup")
	flags.StringVar(&d.schedule, "schedule", "17 3 * * 0", "with --defrag: when, as cron has it, by the controller-manager's clock")
	d.values = map[string]*string{}
	for _, f := range handedOn {
		d.values[f.name] = flags.String(f.name, "", "with --defrag: as defrag has it")
	}
}

// runDefrag prints the CronJob.
func (o *agentOptions) runDefrag(ctx context.Context, flags *pflag.FlagSet, args []string) error {
	if err := o.completeDefrag(flags, args); err != nil {
		return err
	}
	k, err := o.kubernetes(ctx)
	if err != nil {
		return err
	}
	if len(k.clusters) > 1 {
		return errSeveral(k.clusters)
	}
	cluster := k.clusters[0]
	if owner := cluster.Owner; owner.Managed {
		return withHint(fmt.Errorf("%s looks after etcd %q: it is not for us to defragment it", owner.Kind, cluster.Name), cmp.Or(owner.Upkeep, owner.Advice))
	}
	files := nodeFilesOf(cluster)
	if files == nil {
		return withHint(fmt.Errorf("where the nodes of etcd %s keep a client's certificate is not known", cluster.Name),
			"run it elsewhere, by the clock: kubectl etcd defrag --auto --yes --endpoints … --cacert … --cert … --key …")
	}
	return o.printYAML(agent.Defragmentation(agent.Options{
		Namespace: o.space, Name: o.name, Image: o.image, CA: files.CA, Cert: files.Cert, Key: files.Key,
		Args: slices.Concat([]string{"--auto", "--endpoints", strings.Join(endpointsOf(cluster), ",")}, o.agentDefrag.args(flags), borne(cluster)),
	}, o.schedule))
}

func (o *agentOptions) completeDefrag(flags *pflag.FlagSet, args []string) error {
	if err := o.target.complete(args); err != nil {
		return err
	}
	if _, err := cron.ParseStandard(o.schedule); err != nil {
		return usagef("--schedule %q is no schedule of cron: %w", o.schedule, err)
	}
	if o.location != "" {
		return usagef("--defrag and --archive exclude each other: the backup is a pod of its own")
	}
	if !flags.Changed("agent-name") {
		o.name = "kubectl-etcd-defrag"
	}
	for _, f := range handedOn {
		if !flags.Changed(f.name) {
			continue
		}
		if err := f.check(*o.values[f.name]); err != nil {
			return usagef("--%s %w", f.name, err)
		}
	}
	return nil
}

func isBytes(text string) error {
	_, err := parseBytes(text)
	return err
}

func isShare(text string) error {
	_, err := parseShare(text)
	return err
}

func isDuration(text string) error {
	d, err := time.ParseDuration(text)
	if err == nil && d < 0 {
		err = fmt.Errorf("%q is less than 0", text)
	}
	return err
}

// borne is the longest pause that every member's probe bears: the pod can't ask for that.
func borne(c discover.Cluster) []string {
	least := time.Duration(0)
	for _, pod := range c.Pods {
		if pod.Liveness > 0 && (least == 0 || pod.Liveness < least) {
			least = pod.Liveness
		}
	}
	if least == 0 {
		return nil
	}
	return []string{"--max-pause", (least / 2).String()}
}

// args are the flags that are handed on.
func (d *agentDefrag) args(flags *pflag.FlagSet) (args []string) {
	for _, f := range handedOn {
		if flags.Changed(f.name) {
			args = append(args, "--"+f.name, *d.values[f.name])
		}
	}
	return args
}

package cmd

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
)

const statusExample = `  # Every member of the control plane's etcd, then the verdict
  kubectl etcd status

  # Without the API server
  kubectl etcd status --endpoints https://10.0.0.1:2379 --cacert ca.crt --cert client.crt --key client.key

  # On a control plane node, as root, when no API server is left
  kubectl etcd status --on-node

  # For scripts: exit code 3 when it is critical, or already on a warning
  kubectl etcd status --fail-on warning -o jsonpath='{.items[*].verdict.level}'`

const statusLong = `Shows a row a member, then the verdict. A member that doesn't answer within --timeout
hides no other: its row says what went wrong.

Without certificates a member is asked by its own pod's etcdctl: nothing is created and no
key is read. With them (--cacert, --cert, --key, ETCDCTL_CACERT, ETCDCTL_CERT, ETCDCTL_KEY or
a Secret) it is asked through a tunnel, which measures the latency as well.
ETCDCTL_ENDPOINTS is not read: only --endpoints changes what is looked at.

Where there are several etcds, as one for the Events, each is shown; --etcd chooses. A
certificate that ends within 30 days is a warning, within 7 days critical.

With --on-node no API server is needed: static pod manifests, certificates and the data
directory on the node's disk lead to the members (kubeadm and RKE2).

In -o json and the like a duration is a number of seconds, a size a number of bytes.`

// statusOptions are those of "kubectl etcd status".
type statusOptions struct {
	target
	watch    bool
	interval time.Duration
	failOn   string
}

// clusterStatus is one cluster as -o json prints it, and as the view gets it.
type clusterStatus struct {
	Cluster   string `json:"cluster"`
	Namespace string `json:"namespace,omitempty"`
	Distro    string `json:"distro,omitempty"`
	Owner     string `json:"owner,omitempty"`
	Way       way    `json:"way"` // "direct", "port-forward", "exec", "on-node", "relay", "helper"
	etcd.Overview
	Spread time.Duration `json:"spread"` // between the first member's answer and the last's
	Notes  []string      `json:"notes,omitempty"`
}

// newStatusCommand builds "kubectl etcd status".
func newStatusCommand(s *session) *cobra.Command {
	return (&statusOptions{target: newTarget(s)}).command()
}

func (o *statusOptions) command() *cobra.Command {
	c := &cobra.Command{
		Use:     "status [CLUSTER]",
		Short:   "Show a row a member, then the verdict",
		Long:    statusLong,
		Example: statusExample,
		GroupID: groupLook,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.complete(args); err != nil {
				return err
			}
			if c.Flags().Changed("interval") && !o.watch {
				return usagef("--interval goes with --watch")
			}
			return o.run(c.Context())
		},
	}
	c.Flags().BoolVarP(&o.watch, "watch", "w", false, "look again and again, until stopped")
	c.Flags().DurationVar(&o.interval, "interval", 2*time.Second, "with --watch: how long to wait between looks")
	c.Flags().StringVar(&o.failOn, "fail-on", string(etcd.LevelCritical), "exit code 3 from this verdict on: warning, critical, never")
	o.addFlags(c.Flags())
	return c
}

func (o *statusOptions) complete(args []string) error {
	if err := o.target.complete(args); err != nil {
		return err
	}
	switch o.failOn {
	case string(etcd.LevelWarning), string(etcd.LevelCritical), "never":
	default:
		return usagef("--fail-on %q is none of warning, critical, never", o.failOn)
	}
	if o.interval <= 0 {
		return usagef("--interval must be more than 0")
	}
	return nil
}

func (o *statusOptions) run(ctx context.Context) (err error) {
	reached, err := o.readers(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll(reached)) }()
	if o.watch {
		return o.repeat(ctx, reached)
	}
	clusters, err := o.observe(ctx, reached)
	if err != nil {
		return err
	}
	if err := o.print(clusters, false); err != nil {
		return err
	}
	o.hint(clusters)
	return o.verdict(clusters)
}

// repeat looks until ctx ends, which is how a watch is meant to end.
func (o *statusOptions) repeat(ctx context.Context, reached []*reach) error {
	tick := time.NewTicker(o.interval)
	defer tick.Stop()
	for {
		clusters, err := o.observe(ctx, reached)
		if ctx.Err() != nil {
			return exitWith(exitInterrupted)
		}
		if err != nil {
			return err
		}
		if err := o.print(clusters, true); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return exitWith(exitInterrupted)
		case <-tick.C:
		}
	}
}

// observe asks all clusters at once. That RBAC forbids every way to a cluster is no
// state of etcd: it is an error.
func (o *statusOptions) observe(ctx context.Context, reached []*reach) ([]clusterStatus, error) {
	clusters := make([]clusterStatus, len(reached))
	var group errgroup.Group
	for i, r := range reached {
		group.Go(func() error {
			clusters[i] = newClusterStatus(r, etcd.Observe(ctx, r.sources, o.timeout))
			return nil
		})
	}
	_ = group.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for i, r := range reached {
		if clusters[i].answers() > 0 {
			continue
		}
		if err := r.refused.explain(ctx); err != nil {
			return nil, err
		}
	}
	return clusters, nil
}

func newClusterStatus(r *reach, overview etcd.Overview) clusterStatus {
	c := clusterStatus{
		Cluster: r.cluster.Name, Namespace: r.cluster.Namespace, Distro: r.cluster.Distro,
		Owner: r.cluster.Owner.Kind, Way: r.way, Overview: overview, Notes: r.notes,
	}
	var first, last time.Time
	for _, m := range overview.Members {
		if m.Status == nil || m.Status.At.IsZero() {
			continue
		}
		if at := m.Status.At; first.IsZero() || at.Before(first) {
			first = at
		}
		if at := m.Status.At; at.After(last) {
			last = at
		}
	}
	c.Spread = last.Sub(first)
	return c
}

func (c clusterStatus) answers() int {
	count := 0
	for _, m := range c.Members {
		if m.Status != nil {
			count++
		}
	}
	return count
}

func (o *statusOptions) print(clusters []clusterStatus, watching bool) error {
	if o.format.Structured() {
		list := render.List{Kind: "ClusterStatusList"}
		for _, c := range clusters {
			list.Items = append(list.Items, render.Object{Kind: "ClusterStatus", Name: c.Cluster, Value: c})
		}
		return o.format.Print(o.Out, list)
	}
	screen := o.screen()
	if watching {
		screen.Redraw()
		screen.Line(render.Cell{Text: render.Time(time.Now()), Tone: render.Dim})
	}
	viewStatus(screen, clusters)
	return screen.Flush()
}

// hint names the next step where no member of a cluster could be asked: its rows say
// what went wrong, and for all of them that is mostly the same.
func (o *statusOptions) hint(clusters []clusterStatus) {
	for _, c := range clusters {
		if c.answers() > 0 {
			continue
		}
		for _, m := range c.Members {
			if m.Err == nil {
				continue
			}
			hints := o.explain(m.Err, "kubectl etcd status").hints
			if len(hints) == 0 && c.Way != wayNode {
				hints = []string{onNodeHint} // whatever is in the way, there it is not
			}
			for _, hint := range hints {
				o.notice("hint: %s", o.typed(hint))
			}
			break
		}
	}
}

// verdict is exit code 3 where a cluster is as bad as --fail-on says.
func (o *statusOptions) verdict(clusters []clusterStatus) error {
	for _, c := range clusters {
		level := c.Verdict.Level
		if o.failOn != "never" && (level == etcd.LevelCritical || level == etcd.LevelWarning && o.failOn == string(etcd.LevelWarning)) {
			return exitWith(exitFindings)
		}
	}
	return nil
}

package cmd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/discover"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
)

// running is what a cluster that still answers adds to a restore.
type running struct {
	members []restore.Target // its voters
	highest int64            // revision
	cluster discover.Cluster // as the pods, or the node's disk, show it
}

// askRunning looks at the running cluster: its voters, and the highest revision that
// any member has. It refuses rather than guess when nobody answers.
func (o *restoreOptions) askRunning(ctx context.Context) (found running, err error) {
	reached, err := o.readers(ctx)
	if err != nil {
		return running{}, fmt.Errorf("look at the running cluster: %w", err)
	}
	defer func() {
		for _, r := range reached {
			err = errors.Join(err, r.Close())
		}
	}()
	if len(reached) > 1 {
		return running{}, withHint(usagef("there are %d etcd clusters", len(reached)), "choose the one whose snapshot this is: --etcd main")
	}
	overview := etcd.Observe(ctx, reached[0].sources, o.timeout)
	if err := ctx.Err(); err != nil {
		return running{}, err
	}
	found = summarize(overview)
	found.cluster = reached[0].cluster
	if err := o.enough(overview, found); err != nil {
		return running{}, withHint(fmt.Errorf("look at the running cluster: %w", err),
			"kubectl etcd status says why; --initial-cluster NAME=PEER-URL,… says who the members are, without --live they are the snapshot's own")
	}
	return found, nil
}

// enough refuses an answer that says less than --live is for.
func (o *restoreOptions) enough(overview etcd.Overview, found running) error {
	switch {
	case found.highest == 0:
		return errors.New("no member answers")
	case overview.Disagree:
		return errors.New("its members don't agree who is a member")
	case len(found.members) == 0 && len(o.members) == 0:
		return errors.New("no member could list the members")
	}
	return nil
}

// fits refuses a snapshot that is of another cluster of the same control plane: its data
// would take the place of what the other one holds.
func (r running) fits(contents etcd.Contents) error {
	main := r.cluster.Name == "main"
	switch {
	case !r.cluster.ControlPlane || !contents.Kubernetes || main != contents.Partial:
		return nil
	case main:
		return withHint(errors.New("the snapshot holds no namespaces: it is not of main, which holds them, but of an etcd beside it"),
			"choose the cluster that it is of: --etcd events; which there are: kubectl etcd status")
	}
	return withHint(fmt.Errorf("the snapshot holds a whole Kubernetes, namespaces too, and %s does not: it is of main", r.cluster.Name),
		"choose the cluster that it is of: --etcd main")
}

// layout is where the nodes keep what the steps are about. It is nil where that is not
// known, or not the same on all nodes.
func (r running) layout() *restore.StepOptions {
	var layout *restore.StepOptions
	for _, pod := range r.cluster.Pods {
		dir := pod.Settings["data-dir"]
		if dir.From != discover.FromFlag { // no command line tells this etcd from another
			dir.Value = ""
		}
		at := restore.StepOptions{
			Manifest: pod.Manifest, DataDir: pod.DataDir, DataDirFlag: dir.Value,
			HealthAddr: net.JoinHostPort("127.0.0.1", strconv.Itoa(pod.MetricsPort)),
		}
		if at.Manifest == "" || at.DataDir == "" || pod.MetricsPort == 0 || layout != nil && *layout != at {
			return nil
		}
		layout = &at
	}
	return layout
}

func summarize(overview etcd.Overview) running {
	var found running
	for _, view := range overview.Members {
		if view.Status != nil {
			found.highest = max(found.highest, view.Status.Revision)
		}
		if m := view.Member; m != nil && !m.Learner && m.Name != "" {
			found.members = append(found.members, restore.Target{Name: m.Name, PeerURLs: m.PeerURLs})
		}
	}
	return found
}

// memberHere is the member whose peer URL is at one of this machine's own addresses; empty:
// none is, or each is, as where all run on one machine for a test.
func memberHere(build []restore.Target, own []net.Addr) (name string) {
	for _, target := range build {
		ip := net.ParseIP(target.Host())
		if ip == nil || !slices.ContainsFunc(own, func(a net.Addr) bool { n, ok := a.(*net.IPNet); return ok && n.IP.Equal(ip) }) {
			continue
		}
		if name != "" {
			return ""
		}
		name = target.Name
	}
	return name
}

func ownAddresses() []net.Addr {
	own, err := net.InterfaceAddrs()
	if err != nil { // then the data is sent from here to here
		return nil
	}
	return own
}

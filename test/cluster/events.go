//go:build unix

package cluster

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"
)

// EventsEtcd is the second etcd of a node, where there is one: that of the events.
const EventsEtcd Part = "etcd-events"

const (
	eventsClientPort = "2389"
	eventsPeerPort   = "2390"
	eventsDataDir    = "/var/lib/etcd-events"
)

// addEvents gives every node a second etcd, and makes every API server keep Kubernetes'
// Events there.
func (c *Cluster) addEvents(ctx context.Context) error {
	for _, n := range c.nodes {
		if err := n.addEventsEtcd(c.eventsMembers()); err != nil {
			return fmt.Errorf("add an etcd for events to %s: %w", n.Name, err)
		}
	}
	return c.onAll(ctx, (*Node).useEvents)
}

func (c *Cluster) onAll(ctx context.Context, do func(*Node, context.Context) error) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, n := range c.nodes {
		group.Go(func() error { return do(n, ctx) })
	}
	return group.Wait()
}

// eventsMembers is the --initial-cluster of the second etcd.
func (c *Cluster) eventsMembers() string {
	var members []string
	for _, n := range c.nodes {
		members = append(members, n.Name+"=https://"+n.IP+":"+eventsPeerPort)
	}
	return strings.Join(members, ",")
}

func (n *Node) addEventsEtcd(members string) error {
	pod, err := n.manifest(Etcd)
	if err != nil {
		return err
	}
	further{
		part: EventsEtcd, client: eventsClientPort, peer: eventsPeerPort, health: 2391, dir: eventsDataDir,
		flags: []string{"--initial-cluster=" + members, "--initial-cluster-state=new", "--initial-cluster-token=events"},
	}.become(pod)
	pod.Labels["component"] = string(EventsEtcd)
	return n.writeManifest(EventsEtcd, pod)
}

// useEvents waits until the node's second etcd serves, and points its API server there.
func (n *Node) useEvents(ctx context.Context) error {
	_, err := n.Run(ctx, fmt.Sprintf(
		"timeout 180 sh -c 'until %s --endpoints https://127.0.0.1:%s endpoint health >/dev/null 2>&1; do sleep 1; done'", Etcdctl, eventsClientPort))
	if err != nil {
		return fmt.Errorf("wait for the etcd for events of %s: %w", n.Name, err)
	}
	pod, err := n.manifest(APIServer)
	if err != nil {
		return err
	}
	container := &pod.Spec.Containers[0]
	container.Command = append(container.Command, "--etcd-servers-overrides=/events#https://127.0.0.1:"+eventsClientPort)
	return n.writeManifest(APIServer, pod)
}

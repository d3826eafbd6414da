package discover

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// nodesAtOnce bounds the concurrent requests for single nodes.
const nodesAtOnce = 8

// sampleNodes is how many nodes are looked at to tell where there is no etcd.
const sampleNodes = 50

// nodeSet is the nodes that pods run on, by name.
type nodeSet map[string]nodeState

// nodeState is one node as it could be read: neither node nor gone means that it
// could not.
type nodeState struct {
	node *corev1.Node
	gone bool // no such node any more
}

// isReady is true as well for a node that could not be read.
func (n nodeState) isReady() bool {
	if n.node == nil {
		return !n.gone
	}
	for _, c := range n.node.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func (n nodeState) zone() string {
	if n.node == nil {
		return ""
	}
	return n.node.Labels[corev1.LabelTopologyZone]
}

// memory is what its pods may use, in bytes; 0: it could not be read.
func (n nodeState) memory() int64 {
	if n.node == nil {
		return 0
	}
	return n.node.Status.Allocatable.Memory().Value()
}

// readNodes gets just the named nodes, out of the API server's cache: that answers
// without etcd too. note says why some could not be read, if so.
func readNodes(ctx context.Context, client Client, names []string) (nodes nodeSet, note string) {
	slices.Sort(names)
	names = slices.DeleteFunc(slices.Compact(names), func(name string) bool { return name == "" })
	states, failures := make([]nodeState, len(names)), make([]error, len(names))
	var group errgroup.Group
	group.SetLimit(nodesAtOnce)
	for i, name := range names {
		group.Go(func() error {
			states[i], failures[i] = readNode(ctx, client, name)
			return nil
		})
	}
	_ = group.Wait() // failures has the errors

	nodes = make(nodeSet, len(names))
	for i, name := range names {
		nodes[name] = states[i]
		if failures[i] != nil {
			note = fmt.Sprintf("nodes could not be read, so their readiness and zones are unknown: %v", failures[i])
		}
	}
	return nodes, note
}

func readNode(ctx context.Context, client Client, name string) (nodeState, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	node, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{ResourceVersion: cached})
	switch {
	case apierrors.IsNotFound(err):
		return nodeState{gone: true}, nil
	case err != nil:
		return nodeState{}, fmt.Errorf("get node %s: %w", name, err)
	}
	return nodeState{node: node}, nil
}

// someNodes are a few nodes of the cluster, or none when they can't be read.
func someNodes(ctx context.Context, client Client) []corev1.Node {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{Limit: sampleNodes})
	if err != nil {
		return nil // the reason for "nothing found" is then less precise
	}
	return list.Items
}

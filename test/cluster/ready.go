//go:build unix

package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// readyTimeout is for a machine that is busy with other things, too.
const readyTimeout = 5 * time.Minute

// Client is a client of the cluster's API, as administrator.
func (c *Cluster) Client() (*kubernetes.Clientset, error) {
	config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig())
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig of cluster %s: %w", c.state.Name, err)
	}
	config.Timeout = 10 * time.Second
	return kubernetes.NewForConfig(config)
}

// WaitReady returns when every node serves (etcd with a quorum, API server,
// kubelet), the API calls it and its static pods Ready, and pods can be made
// in the default namespace. What levers stopped has to be started before.
func (c *Cluster) WaitReady(ctx context.Context) error {
	client, err := c.Client()
	if err != nil {
		return err
	}
	what := "cluster " + c.state.Name + " is ready"
	return eventually(ctx, readyTimeout, 500*time.Millisecond, what, func() (bool, error) {
		// The nodes first, and each itself: for up to a minute after something
		// has died, the API still calls it ready.
		err := c.serve(ctx)
		if err == nil {
			err = c.calledReady(ctx, client)
		}
		return err == nil, err
	})
}

func (c *Cluster) serve(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, n := range c.nodes {
		group.Go(func() error { return n.serves(ctx) })
	}
	return group.Wait()
}

// serves asks the node's own etcd (a read that needs the quorum), API server and
// kubelet, and whether the kubelet lets an API server in.
func (n *Node) serves(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	endpoints := "https://127.0.0.1:2379"
	if n.cluster.state.Events {
		endpoints += ",https://127.0.0.1:" + eventsClientPort
	}
	_, err := n.Run(ctx, fmt.Sprintf(`
		%[1]s --endpoints %[2]s endpoint health >/dev/null
		kubectl --server https://%[3]s:6443 --request-timeout 10s get --raw /readyz >/dev/null
		: </dev/tcp/127.0.0.1/10250
		kubectl --server https://%[3]s:6443 --request-timeout 10s exec -n kube-system etcd-%[4]s -c etcd -- etcdctl version >/dev/null`,
		Etcdctl, endpoints, n.IP, n.Name))
	return err
}

// calledReady says what the API does not call ready.
func (c *Cluster) calledReady(ctx context.Context, client kubernetes.Interface) error {
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	count := 0
	for _, n := range nodes.Items {
		if nodeReady(n) {
			count++
		}
	}
	if count != len(c.nodes) {
		return fmt.Errorf("%d of %d nodes are ready", count, len(c.nodes))
	}
	pods, err := client.CoreV1().Pods(metav1.NamespaceSystem).List(ctx, metav1.ListOptions{LabelSelector: "tier=control-plane"})
	if err != nil {
		return err
	}
	if err := staticPodsReady(pods.Items, c.staticPods()*len(c.nodes)); err != nil {
		return err
	}
	_, err = client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
	return err
}

// staticPods is how many each node has.
func (c *Cluster) staticPods() int {
	if c.state.Events {
		return 5
	}
	return 4
}

func nodeReady(n corev1.Node) bool {
	for _, condition := range n.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// staticPodsReady counts first: a mirror pod appears some time after its node.
func staticPodsReady(pods []corev1.Pod, want int) error {
	var missing []error
	if len(pods) != want {
		missing = append(missing, fmt.Errorf("%d of %d static pods are there", len(pods), want))
	}
	for _, p := range pods {
		if !podReady(p) {
			missing = append(missing, fmt.Errorf("pod %s is not ready", p.Name))
		}
	}
	return errors.Join(missing...)
}

func podReady(p corev1.Pod) bool {
	for _, condition := range p.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

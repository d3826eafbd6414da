package cmd

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/robfig/cron/v3"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/discover"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/health"
)

// kubeHealth looks at the API server's side of one etcd cluster.
type kubeHealth struct {
	*kubeTarget
	reach   *reach
	deep    bool
	timeout time.Duration // of one member
}

// look asks everything at once.
func (k *kubeHealth) look(whole context.Context) *health.Kubernetes {
	ctx, cancel := context.WithTimeout(whole, apiTimeout)
	defer cancel()
	found := &health.Kubernetes{
		Serves: k.serves(), Again: k.metrics,
		Encryption: health.Unknown[health.Encryption]("values are looked at with --deep"),
		Large:      health.Unknown[[]health.Object]("sizes are looked at with --deep"),
	}
	for _, server := range k.servers {
		found.Servers = append(found.Servers, healthServer(server))
	}
	var asked sync.WaitGroup
	asked.Go(func() { found.Metrics = k.metrics(ctx) })
	asked.Go(func() { found.Jobs = k.jobs(ctx) })
	asked.Go(func() { found.Nodes = k.nodes(ctx) })
	asked.Go(func() { k.readKeys(whole, found) }) // as long as that takes
	asked.Wait()
	if !k.deep {
		found.Counts = countsOf(found.Metrics)
	}
	return found
}

// serves is which part of these API servers' etcd it is; empty: somebody else's.
func (k *kubeHealth) serves() string {
	if !k.reach.cluster.ControlPlane {
		return ""
	}
	return k.reach.cluster.Name
}

func healthServer(s discover.APIServer) health.APIServer {
	return health.APIServer{
		Pod: s.Pod, Node: s.Node, EtcdServers: s.EtcdServers, Overrides: s.EtcdOverrides,
		OverridesRaw: s.Flags["etcd-servers-overrides"], Prefix: s.EtcdPrefix, Flags: s.Flags,
	}
}

// metrics are those of the API server that the kubeconfig leads to.
func (k *kubeHealth) metrics(ctx context.Context) health.Fact[*etcd.Metrics] {
	page, err := k.client.CoreV1().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return health.Unknown[*etcd.Metrics](whyNot("the API server's metrics", err))
	}
	metrics, err := etcd.ReadMetrics(bytes.NewReader(page), time.Now())
	if err != nil {
		return health.Unknown[*etcd.Metrics](etcd.Shorten(err))
	}
	return health.Known(metrics)
}

// whyNot is why something of Kubernetes could not be read, in few words.
func whyNot(what string, err error) string {
	if apierrors.IsForbidden(err) {
		return what + " may not be read: the right is missing"
	}
	return what + ": " + etcd.Shorten(err)
}

// countsOf are the keys of each resource as the API server counts them (1.34 and later; older
// ones under another name).
func countsOf(metrics health.Fact[*etcd.Metrics]) health.Fact[map[string]int64] {
	if !metrics.Known() {
		return health.Unknown[map[string]int64](metrics.Because)
	}
	counts := map[string]int64{}
	metrics.Value.Each("apiserver_resource_objects", func(labels map[string]string, n float64) {
		counts[strings.TrimSuffix(labels["resource"]+"."+labels["group"], ".")] = int64(n)
	})
	if len(counts) == 0 {
		metrics.Value.Each("apiserver_storage_objects", func(labels map[string]string, n float64) {
			counts[labels["resource"]] = int64(n)
		})
	}
	if len(counts) == 0 {
		return health.Unknown[map[string]int64]("the API server's metrics do not count objects")
	}
	return health.Known(counts)
}

func (k *kubeHealth) nodes(ctx context.Context) health.Fact[int] {
	// One page of one, out of the cache: what remains is counted by the API server.
	list, err := k.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return health.Unknown[int](whyNot("nodes", err))
	}
	n := len(list.Items)
	if list.RemainingItemCount != nil {
		n += int(*list.RemainingItemCount)
	}
	return health.Known(n)
}

// jobs are what backs etcd up in the cluster, as far as it can be told by its name, image
// or command.
func (k *kubeHealth) jobs(ctx context.Context) health.Fact[[]health.BackupJob] {
	crons, err := k.client.BatchV1().CronJobs("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return health.Unknown[[]health.BackupJob](whyNot("CronJobs", err))
	}
	var found []health.BackupJob
	for i := range crons.Items {
		if job := &crons.Items[i]; !isOff(job) && backsUp(job.Name, &job.Spec.JobTemplate.Spec.Template.Spec) {
			found = append(found, cronBackup(job))
		}
	}
	agents, err := k.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{LabelSelector: agentSelector})
	if err != nil {
		return health.Unknown[[]health.BackupJob](whyNot("pods", err))
	}
	for i := range agents.Items {
		if phase := agents.Items[i].Status.Phase; phase == corev1.PodFailed || phase == corev1.PodSucceeded {
			continue // it was evicted, and another stands in for it
		}
		found = append(found, agentBackup(&agents.Items[i], time.Now()))
	}
	return health.Known(found)
}

// agentSelector is the label of the pods of `agent manifest`.
const agentSelector = "app.kubernetes.io/name=kubectl-etcd-agent"

// agentBackup: an agent that is ready captures now; `--archive` tells more.
func agentBackup(pod *corev1.Pod, now time.Time) health.BackupJob {
	job := health.BackupJob{Kind: "agent", Namespace: pod.Namespace, Name: pod.Name}
	for _, status := range pod.Status.ContainerStatuses {
		if status.Ready {
			job.LastSuccess = now
		}
	}
	return job
}

// isOff: it is suspended, and so neither a backup nor late.
func isOff(job *batchv1.CronJob) bool { return job.Spec.Suspend != nil && *job.Spec.Suspend }

// backsUp: a container of it is about etcd, and about saving it.
func backsUp(name string, spec *corev1.PodSpec) bool {
	for _, c := range spec.Containers {
		text := strings.ToLower(strings.Join(slices.Concat([]string{name, c.Image}, c.Command, c.Args), " "))
		if strings.Contains(text, "etcd") && (strings.Contains(text, "backup") || strings.Contains(text, "snapshot")) {
			return true
		}
	}
	return false
}

func cronBackup(job *batchv1.CronJob) health.BackupJob {
	found := health.BackupJob{Kind: "CronJob", Namespace: job.Namespace, Name: job.Name}
	if last := job.Status.LastSuccessfulTime; last != nil {
		found.LastSuccess = last.Time
	}
	found.Every = period(job.Spec.Schedule, time.Now())
	return found
}

// period is the longest time between two runs of the next few by a schedule as CronJobs have
// it; 0: it can't be read, or never comes.
func period(schedule string, now time.Time) (longest time.Duration) {
	parsed, err := cron.ParseStandard(schedule)
	if err != nil {
		return 0
	}
	last := parsed.Next(now)
	for range 10 { // more than a week of a schedule that leaves out days
		next := parsed.Next(last)
		if last.IsZero() || next.IsZero() {
			return 0
		}
		longest, last = max(longest, next.Sub(last)), next
	}
	return longest
}

// readKeys reads every key once, of a member that does not lead, where that is asked for.
func (k *kubeHealth) readKeys(ctx context.Context, found *health.Kubernetes) {
	if !k.deep {
		return
	}
	client := k.reach.reader(ctx, k.timeout)
	if client == nil {
		const why = "no member could be read: it wants a certificate, or does not answer"
		found.Encryption, found.Large = health.Unknown[health.Encryption](why), health.Unknown[[]health.Object](why)
		found.Counts = health.Unknown[map[string]int64](why)
		return
	}
	prefix := "/registry"
	if len(k.servers) > 0 {
		prefix = "/" + strings.Trim(cmp.Or(k.servers[0].EtcdPrefix, prefix), "/")
	}
	found.Encryption = health.SampleEncryption(ctx, client, prefix)
	found.Large, found.Counts = health.Largest(ctx, client, prefix)
}

// reader is a member that answers in time; a follower, if one does. Nil: none does.
func (r *reach) reader(ctx context.Context, timeout time.Duration) *etcd.Client {
	var leader *etcd.Client
	for _, client := range r.clients {
		if client == nil {
			continue
		}
		bounded, cancel := context.WithTimeout(ctx, timeout)
		status, err := client.Status(bounded)
		cancel()
		switch {
		case err != nil || status.Learner:
		case status.Leader == status.MemberID:
			leader = client
		default:
			return client
		}
	}
	return leader
}

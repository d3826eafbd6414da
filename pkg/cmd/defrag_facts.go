package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"sync"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/discover"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/maintain"
)

// facts looks at the members, and at what is around each.
func (o *defragOptions) facts(ctx context.Context, r *reach) maintain.DefragFacts {
	f := maintain.DefragFacts{Overview: etcd.Observe(ctx, r.sources, o.timeout), Around: map[etcd.ID]maintain.Around{}}
	archive := o.archived(ctx, o.session, r)
	f.Backup = maintain.Backup{Newest: latest(archive.Value.LastCapture, archive.Value.LastBase), Because: archive.Because}
	var (
		asked sync.WaitGroup
		mu    sync.Mutex
	)
	for _, view := range f.Overview.Members {
		i := r.sourceOf(view)
		if i < 0 || view.Status == nil {
			continue
		}
		asked.Go(func() {
			around := o.around(ctx, r, i, *view.Status)
			mu.Lock()
			defer mu.Unlock()
			f.Around[view.Status.MemberID] = around
		})
	}
	f.Locked = maintain.LockedFor(ctx, r.members(), f.Overview, o.timeout)
	asked.Wait()
	f.At = o.now()
	return f
}

// sourceOf is the number of the source that a row is of; -1: of none.
func (r *reach) sourceOf(view etcd.MemberView) int {
	return slices.IndexFunc(r.sources, func(s etcd.Source) bool { return s.Name == view.Source })
}

func (o *defragOptions) around(ctx context.Context, r *reach, i int, status etcd.Status) maintain.Around {
	var around maintain.Around
	if pod := r.podOf(i); pod != nil {
		around.Liveness = pod.Liveness
		if r.kube != nil {
			around.APIServers, around.Ours = dependents(r.kube.servers, *pod, r.kube.host)
		}
	}
	if r.own != nil && i == 0 {
		around.DiskFree = diskFree(r.own.DataDir)
	}
	metrics, err := o.metricsOf(ctx, r, i)
	if err != nil {
		around.Unseen = etcd.Shorten(err)
		return around
	}
	around.Busy = busyWith(metrics)
	around.Speed, around.SpeedFrom = earlierSpeed(metrics, status.DBSizeInUse)
	return around
}

// metricsOf are a member's, from its client URL or its metrics URL.
func (o *defragOptions) metricsOf(ctx context.Context, r *reach, i int) (*etcd.Metrics, error) {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	page, err := etcd.Page{}, errors.New("its metrics can't be reached without a certificate")
	if r.clients[i] != nil {
		page, err = r.clients[i].Page(ctx, "/metrics")
	}
	if pages := r.memberSource(i).Pages; err != nil && pages != nil {
		page, err = pages(ctx, "/metrics")
	}
	if err != nil {
		return nil, err
	}
	return page.Metrics()
}

// busy is what a member must not be disturbed in now. seen: it could be told when the plan was
// made, so that nobody was warned that it can't.
func (o *defragOptions) busy(ctx context.Context, r *reach, id etcd.ID, seen bool) []string {
	unseen := errors.New("it does not answer")
	for i, client := range r.clients {
		if client == nil {
			continue
		}
		bounded, cancel := context.WithTimeout(ctx, o.timeout)
		status, err := client.Status(bounded)
		cancel()
		if err != nil || status.MemberID != id {
			continue
		}
		metrics, err := o.metricsOf(ctx, r, i)
		if err == nil {
			return busyWith(metrics)
		}
		unseen = err
	}
	if !seen {
		return nil
	}
	return []string{"does not tell any more whether it streams a snapshot: " + etcd.Shorten(unseen)}
}

// busyWith tells it from a member's metrics. A snapshot that streams holds pages, and a
// defragmentation waits for it with the member frozen; how many do is what began and has not
// ended of that call.
func busyWith(metrics *etcd.Metrics) (busy []string) {
	above := func(text string, value float64) {
		if value > 0 {
			busy = append(busy, text)
		}
	}
	value := func(name string, labels ...string) float64 {
		v, _ := metrics.Value(name, labels...)
		return v
	}
	snapshot := []string{"grpc_service", "etcdserverpb.Maintenance", "grpc_method", "Snapshot"}
	above("is being defragmented already", value("etcd_disk_defrag_inflight"))
	above("streams a snapshot", value("grpc_server_started_total", snapshot...)-value("grpc_server_handled_total", snapshot...))
	above("sends its database to another member", value("etcd_network_snapshot_send_inflights_total"))
	above("takes in the database of another member", value("etcd_server_snapshot_apply_in_progress_total"))
	return busy
}

// earlierSpeed is bytes in a second, if the database held as much as now the times before.
func earlierSpeed(metrics *etcd.Metrics, inUse int64) (speed float64, from string) {
	seconds, times := metrics.Sum("etcd_disk_backend_defrag_duration_seconds")
	if times == 0 || seconds <= 0 {
		return 0, ""
	}
	average := seconds / float64(times)
	return float64(inUse) / average, fmt.Sprintf("measured: its %d before took %.1fs each", times, average)
}

// dependents are the API servers that reach etcd, or a part of their keys, through this pod
// alone, and whether one of them is the one at host.
func dependents(servers []discover.APIServer, pod discover.Pod, host string) (names []string, ours bool) {
	for _, server := range servers {
		lists := [][]string{server.EtcdServers}
		for _, urls := range server.EtcdOverrides {
			lists = append(lists, urls)
		}
		for _, urls := range lists {
			if len(urls) != 1 || !leadsTo(urls[0], server.Node, pod) {
				continue
			}
			names = append(names, server.Pod)
			ours = ours || sameHost(server.URL, host)
			break
		}
	}
	return names, ours
}

// leadsTo tells whether a URL, as used on node, is where pod serves clients.
func leadsTo(text, node string, pod discover.Pod) bool {
	u, err := url.Parse(text)
	if err != nil || cmp.Or(u.Port(), "2379") != strconv.Itoa(pod.ClientPort) {
		return false
	}
	host := u.Hostname()
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return node == pod.Node
	}
	return host == pod.PodIP || host == pod.HostIP || slices.ContainsFunc(pod.ClientURLs, func(other string) bool { return sameHost(other, text) })
}

func sameHost(a, b string) bool {
	first, err := url.Parse(a)
	if err != nil {
		return false
	}
	second, err := url.Parse(b)
	return err == nil && first.Host != "" && first.Host == second.Host
}

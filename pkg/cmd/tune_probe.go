package cmd

import (
	"context"
	"io"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/health"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/tune"
)

// peerProbe opens count TCP connections from a member's node to a peer's address, one after
// the other, and says how long each took.
type peerProbe func(ctx context.Context, peer string, count int) ([]time.Duration, error)

const (
	// fewConnects are enough for a p50, and all that a far pair gets; manyConnects tell a
	// p99 too.
	fewConnects, manyConnects = 40, 100
	// connectsLimit bounds a pair: at 100 ms, 40 take 4 s; one that is lost takes 1 s more.
	connectsLimit = 30 * time.Second
	// soon is how long the few may take for the many to follow.
	soon = time.Second
)

// connects measures every pair whose beginning has something of ours running. The pairs from
// one member are measured one after the other: a node's own load would tell on them.
func (o *tuneOptions) connects(ctx context.Context, r *reach, f *health.Facts) []tune.RTT {
	rows := make([][]tune.RTT, len(r.probes))
	var measuring sync.WaitGroup
	for i, probe := range r.probes {
		from := slices.IndexFunc(f.Members, func(m health.Member) bool { return m.View.Source == r.sources[i].Name })
		if probe == nil || from < 0 || f.Members[from].View.Member == nil {
			continue
		}
		measuring.Go(func() { rows[i] = connectsFrom(ctx, probe, f.Members[from], f.Members) })
	}
	measuring.Wait()
	return slices.Concat(rows...)
}

func connectsFrom(ctx context.Context, probe peerProbe, from health.Member, all []health.Member) (row []tune.RTT) {
	for _, to := range all {
		if to.View.Member == nil || to.View.Member.ID == from.View.Member.ID {
			continue
		}
		took, missing := connectsTo(ctx, probe, addressesOf(to.View.Member.PeerURLs, "", 0))
		row = append(row, tune.FromConnects(from.View.Name, to.View.Name, took, missing))
	}
	return row
}

// connectsTo measures to the first of a member's addresses that answers.
func connectsTo(ctx context.Context, probe peerProbe, addresses []string) (took []time.Duration, missing string) {
	ctx, cancel := context.WithTimeout(ctx, connectsLimit)
	defer cancel()
	missing = "its peer address is not known"
	for _, address := range addresses {
		began := time.Now()
		took, err := probe(ctx, address, fewConnects)
		if err != nil {
			missing = etcd.Shorten(err)
			continue
		}
		if time.Since(began) < soon {
			more, err := probe(ctx, address, manyConnects-fewConnects)
			if err == nil {
				took = append(took, more...)
			}
		}
		return took, ""
	}
	return nil, missing
}

// startLog is of the log's beginning that holds the line that counts.
const startLog = 256 << 10

// startLogs are what each member's process logged when it started, by pod; without those
// that can't be read: it is only one more witness.
func (o *tuneOptions) startLogs(ctx context.Context, r *reach) map[string]tune.Settings {
	if r.kube == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	logged := make([]tune.Settings, len(r.cluster.Pods))
	var reading sync.WaitGroup
	for i, pod := range r.cluster.Pods {
		reading.Go(func() {
			stream, err := r.kube.client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{
				Container: pod.Container, LimitBytes: new(int64(startLog)),
			}).Stream(ctx)
			if err != nil {
				o.log.Info("log not read", "pod", pod.Name, "because", err)
				return
			}
			defer stream.Close() //nolint:errcheck // it was only read
			settings, err := tune.ParseStarted(io.LimitReader(stream, startLog))
			if err != nil {
				o.log.Info("log does not tell the settings", "pod", pod.Name, "because", err)
			}
			logged[i] = settings
		})
	}
	reading.Wait()
	byPod := map[string]tune.Settings{}
	for i, pod := range r.cluster.Pods {
		byPod[pod.Name] = logged[i]
	}
	return byPod
}

package health

import (
	"context"
	"sync"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// again takes the second look: at counts, Sample after the first, and at members that
// seemed unsteady.
func (s Sources) again(ctx context.Context, members []Member, facts *Facts) {
	var asked sync.WaitGroup
	for i := range members {
		members[i].Before = Unknown[*etcd.Metrics](lookedOnce)
	}
	if facts.Kubernetes != nil {
		facts.Kubernetes.Before = Unknown[*etcd.Metrics](lookedOnce)
	}
	if s.Sample > 0 {
		for i := range members {
			asked.Go(func() { s.sample(ctx, s.Members[i], &members[i]) })
		}
		if s.Kubernetes != nil && facts.Kubernetes != nil {
			asked.Go(func() { s.sampleKubernetes(ctx, facts.Kubernetes) })
		}
	}
	if s.Sample > 0 || unsteady(members) {
		for i := range members {
			asked.Go(func() { s.settle(ctx, s.Members[i], &members[i]) })
		}
	}
	asked.Wait()
}

func (s Sources) sample(ctx context.Context, source Source, m *Member) {
	m.Before = m.Now
	if !m.Now.Known() || !pause(ctx, time.Until(m.Now.Value.At.Add(s.Sample))) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	m.Now = source.metrics(ctx)
}

func (s Sources) sampleKubernetes(ctx context.Context, k *Kubernetes) {
	k.Before = k.Metrics
	if k.Again == nil || !k.Metrics.Known() || !pause(ctx, time.Until(k.Metrics.Value.At.Add(s.Sample))) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	k.Metrics = k.Again(ctx)
}

// settle asks a member that answered twice more.
func (s Sources) settle(ctx context.Context, source Source, m *Member) {
	for range 2 {
		if len(m.Statuses) == 0 || !pause(ctx, settleEvery) {
			return
		}
		bounded, cancel := context.WithTimeout(ctx, s.Timeout)
		m.Statuses = append(m.Statuses, source.status(bounded)...)
		cancel()
	}
}

// unsteady: what one look shows may have been the moment of an election, or of a burst.
func unsteady(members []Member) bool {
	var terms, leaders = map[uint64]bool{}, map[etcd.ID]bool{}
	for _, m := range members {
		for _, status := range m.Statuses {
			terms[status.RaftTerm], leaders[status.Leader] = true, true
			if status.Leader == 0 || status.RaftIndex-min(status.RaftApplied, status.RaftIndex) > unsteadyGap {
				return true
			}
		}
	}
	return len(terms) > 1 || len(leaders) > 1
}

// unsteadyGap is a gap between committed and applied entries that is worth a second look.
const unsteadyGap = 100

// pause waits; false: ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(max(d, 0))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

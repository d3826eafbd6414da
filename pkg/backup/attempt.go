package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

const (
	// eventEvery bounds how often progress is told.
	eventEvery = 250 * time.Millisecond
	// estimateAfter is from when on the first bytes' rate says how long it will take.
	estimateAfter = 2 * time.Second
)

// attempt is one try to stream a snapshot from one member.
type attempt struct {
	candidate candidate
	options   Options
}

// stream copies the member's snapshot to a writer and checks it. When it returns,
// nothing of it runs on. The writer is told when the attempt is to end.
func (a *attempt) stream(ctx context.Context, to func(context.Context) io.Writer) (*Report, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	meter := &meter{attempt: a, w: to(ctx), began: time.Now()}
	meter.heard.Store(meter.began.UnixNano())
	for _, warning := range a.candidate.warnings {
		meter.tell(Event{Note: "warning: " + warning})
	}
	guard := a.newGuard(ctx, meter)
	if guard.note != "" {
		meter.tell(Event{Note: guard.note})
	}
	var guarding sync.WaitGroup
	guarding.Go(func() { cancel(guard.watch(ctx)) })
	defer guarding.Wait()
	defer cancel(nil)

	report, err := a.copy(ctx, meter)
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(cause, context.Canceled) {
		return nil, cause // the guard's reason, or the caller's deadline
	}
	return report, err
}

func (a *attempt) copy(ctx context.Context, meter *meter) (*Report, error) {
	meter.tell(Event{})
	stream, err := a.candidate.Client.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = stream.Close() }() // it only ends the call
	meter.expect(stream.Size)
	n, err := io.Copy(meter, stream)
	if err != nil {
		return nil, err
	}
	took := time.Since(meter.began)
	meter.tell(Event{})
	status := a.candidate.status
	return &Report{
		Member:        a.candidate.Name,
		MemberID:      status.MemberID,
		ClusterID:     status.ClusterID,
		ServerVersion: status.Version,
		Size:          n,
		SHA256:        stream.SHA256(),
		Started:       meter.began.UTC(),
		Duration:      took,
		WithoutQuorum: a.candidate.withoutQuorum,
		Warnings:      append(a.candidate.warnings, etcd.Expiring(a.candidate.Name, a.candidate.Client.Certificates(), time.Now())...),
	}, nil
}

// meter writes to w, tells of the progress, and knows since when nothing came. The
// guard tells through it as well.
type meter struct {
	attempt *attempt
	w       io.Writer
	began   time.Time

	mu           sync.Mutex // of what follows, and for one event at a time
	bytes, total int64
	told         time.Time
	estimated    bool

	heard atomic.Int64 // Unix nanoseconds: when something came last; 0 while w is being written to
}

func (m *meter) Write(p []byte) (int, error) {
	m.heard.Store(0)
	n, err := m.w.Write(p)
	m.heard.Store(time.Now().UnixNano())
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bytes += int64(n)
	if err != nil {
		return n, err
	}
	m.progress()
	return n, nil
}

func (m *meter) progress() {
	now := time.Now()
	if elapsed := now.Sub(m.began); !m.estimated && elapsed >= estimateAfter {
		m.estimated = true
		m.event(Event{Note: m.estimate(elapsed)})
	}
	if now.Sub(m.told) >= eventEvery {
		m.event(Event{})
	}
}

// estimate tells how long the member's pages will be pinned, from the rate so far;
// empty when the size is unknown.
func (m *meter) estimate(elapsed time.Duration) string {
	if m.total <= 0 || m.bytes <= 0 {
		return ""
	}
	rate := float64(m.bytes) / elapsed.Seconds()
	whole := time.Duration(float64(m.total) / rate * float64(time.Second)).Round(time.Second)
	return fmt.Sprintf("about %s in all at %.1f MB/s; so long %s can't reuse space that is freed",
		whole, rate/1e6, m.attempt.candidate.Name)
}

// expect says how many bytes will come; 0: unknown.
func (m *meter) expect(total int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.total = total
}

// tell completes an event and hands it on.
func (m *meter) tell(e Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.event(e)
}

// event is tell with mu held.
func (m *meter) event(e Event) {
	m.told = time.Now()
	e.Source, e.Bytes, e.Total = m.attempt.candidate.Name, m.bytes, m.total
	e.Pinned = m.told.Sub(m.began)
	m.attempt.options.OnEvent(e)
}

// silence is how long the member has sent nothing; 0 while it is us who are slow.
func (m *meter) silence() time.Duration {
	heard := m.heard.Load()
	if heard == 0 {
		return 0
	}
	return time.Since(time.Unix(0, heard))
}

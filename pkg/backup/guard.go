package backup

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// guard ends an attempt that would fill the member's quota, or whose member sends
// nothing any more.
//
// While a snapshot is open etcd can't reuse the pages that it holds, so that the
// database of that member grows as they change (what came after it and went again bbolt
// does reuse); at its quota the whole cluster becomes read-only. The limit is AbortAtQuota of the quota. A database that is above
// that already when it begins is where a backup is needed most: it may still grow by
// half of what is left to the quota. At the quota there is nothing left to guard.
type guard struct {
	attempt *attempt
	meter   *meter
	begin   int64 // the database's size before
	quota   int64
	limit   int64 // 0: none
	note    string
	warned  bool // that the size is not known
}

func (a *attempt) newGuard(ctx context.Context, meter *meter) *guard {
	if status, err := a.status(ctx, a.candidate.Client); err == nil {
		a.candidate.status = status // fresher than from when it was chosen
	}
	g := &guard{attempt: a, meter: meter, begin: a.candidate.status.DBSize}
	g.quota = cmp.Or(a.candidate.status.DBSizeQuota, a.candidate.Quota, etcd.DefaultQuota)
	if a.options.AbortAtQuota < 0 || g.quota < 0 { // etcd's own way to say that there is no quota
		return g
	}
	share := float64(g.begin) / float64(g.quota) * 100
	g.limit = int64(a.options.AbortAtQuota * float64(g.quota))
	switch {
	case g.begin >= g.quota:
		g.limit = 0
		g.note = fmt.Sprintf("%s is at its quota already (%.0f%%)", a.candidate.Name, share)
	case g.begin >= g.limit:
		g.limit = g.begin + (g.quota-g.begin)/2
		g.note = fmt.Sprintf("%s uses %.0f%% of its quota already; the snapshot stops if it grows to %.0f%%",
			a.candidate.Name, share, float64(g.limit)/float64(g.quota)*100)
	}
	return g
}

// watch returns why the attempt must end, or nil once ctx has.
func (g *guard) watch(ctx context.Context) error {
	ticker := time.NewTicker(g.attempt.options.PollEvery)
	defer ticker.Stop()
	poller := &poller{attempt: g.attempt}
	defer poller.close()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if quiet := g.meter.silence(); quiet > g.attempt.options.StallAfter {
			return fmt.Errorf("%w: nothing came for %s", ErrStalled, quiet.Round(time.Second))
		}
		if g.limit == 0 {
			continue
		}
		size, err := poller.size(ctx)
		if err != nil {
			g.blind(ctx, err)
			continue
		}
		if err := g.check(size); err != nil {
			return err
		}
	}
}

// blind warns, once, that the quota is not watched. Whether the snapshot goes on is up
// to its stream.
func (g *guard) blind(ctx context.Context, err error) {
	if g.warned || ctx.Err() != nil {
		return
	}
	g.warned = true
	g.meter.tell(Event{Note: fmt.Sprintf("warning: %s does not say how large its database is meanwhile (%v): as long as that lasts, nothing stops the snapshot before the quota",
		g.attempt.candidate.Name, err)})
}

// check judges the database's size.
func (g *guard) check(size int64) error {
	if g.limit == 0 || size < g.limit || size <= g.begin {
		return nil
	}
	return fmt.Errorf("%w: its database grew from %d to %d bytes meanwhile, %.0f%% of its quota of %d",
		ErrQuota, g.begin, size, float64(size)/float64(g.quota)*100, g.quota)
}

// poller asks the member over a connection of its own, opened when first needed: on
// the snapshot's the answers would wait behind its bytes.
type poller struct {
	attempt *attempt
	client  *etcd.Client
}

// size is the member's database size now.
func (p *poller) size(ctx context.Context) (int64, error) {
	if p.client == nil {
		client, err := p.attempt.candidate.Client.Again()
		if err != nil {
			return 0, err
		}
		p.client = client
	}
	// a member that is silent here must not keep its stream's silence from being seen
	ctx, cancel := context.WithTimeout(ctx, p.attempt.options.StallAfter)
	defer cancel()
	status, err := p.attempt.status(ctx, p.client)
	return status.DBSize, err
}

func (p *poller) close() {
	if p.client != nil {
		_ = p.client.Close() // it only read
	}
}

func (a *attempt) status(ctx context.Context, client *etcd.Client) (etcd.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, a.options.Timeout)
	defer cancel()
	return client.Status(ctx)
}

package etcd

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// DefaultQuota is what etcd takes when quota-backend-bytes is 0 (server/v3 storage.DefaultQuotaBytes).
const DefaultQuota = 2 << 30

// Observe asks every source in parallel, each with its own timeout, and puts the
// answers together. It never fails: what went wrong stands in the rows.
func Observe(ctx context.Context, sources []Source, timeout time.Duration) Overview {
	readings := make([]reading, len(sources))
	var asked sync.WaitGroup
	for i, source := range sources {
		asked.Go(func() { readings[i] = look(ctx, source, timeout) })
	}
	asked.Wait()
	return compose(readings, time.Now())
}

// reading is what one source gave.
type reading struct {
	source  Source
	timeout time.Duration // what was waited, where less
	err     error         // why there is no status
	status  *Status       // nil: it didn't answer
	certs   []Certificate
	members []Member
	alarms  []Alarm
	health  error // why a linearizable read did not come back; nil also where none was tried
	passed  bool  // one did
}

// look asks one source. Status comes first and alone: without it the other answers
// are worth nothing, and its latency is to be that of an idle connection. Alarms
// and the health read go through consensus; where there is no leader they would
// only use up the time.
func look(ctx context.Context, source Source, timeout time.Duration) reading {
	r := reading{source: source, timeout: timeout, err: source.Err}
	if source.Reader == nil || r.err != nil {
		return r
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	began := time.Now()
	status, err := source.Reader.Status(ctx)
	if err != nil {
		r.err = overdue(ctx, err)
		if waited := time.Since(began).Round(100 * time.Millisecond); waited < timeout-timeout/10 { // a way in gave up before
			r.timeout = waited
		}
		return r
	}
	r.status, r.certs = &status, certificatesOf(source.Reader)
	if !status.Learner {
		r.ask(ctx)
	}
	return r
}

// ask asks a voter for the rest. What fails here spoils nothing: the list and the
// alarms come from the others too, and from Status.
func (r *reading) ask(ctx context.Context) {
	var asked sync.WaitGroup
	asked.Go(func() { r.members, _ = r.source.Reader.Members(ctx) })
	if r.status.Leader != 0 {
		asked.Go(func() { r.alarms, _ = r.source.Reader.Alarms(ctx) })
		if reader, ok := r.source.Reader.(HealthReader); ok {
			asked.Go(func() {
				r.health = overdue(ctx, reader.Health(ctx))
				r.passed = r.health == nil
			})
		}
	}
	asked.Wait()
}

// failed tells whether a linearizable read through it can't pass. That none came back
// while we waited is no such thing.
func (r *reading) failed() bool {
	return r.status != nil && (r.status.Leader == 0 || r.health != nil && !errors.Is(r.health, context.DeadlineExceeded))
}

// overdue is err, or that the time was up: a way in that is given up half-way says
// "canceled", as if somebody had interrupted it.
func overdue(ctx context.Context, err error) error {
	if errors.Is(err, context.Canceled) && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return context.DeadlineExceeded
	}
	return err
}

// compose is the pure part: readings to an overview.
func compose(readings []reading, at time.Time) Overview {
	list, disagree := mergeMembers(readings)
	alarms := mergeAlarms(readings)
	highest := highestIndex(readings)
	rows := pair(readings, list)
	views := make([]MemberView, len(rows))
	for i, row := range rows {
		views[i] = row.view(alarms, highest)
	}
	unclaimed := unclaimedAlarms(alarms, views)
	slices.SortStableFunc(views, func(a, b MemberView) int { return cmp.Compare(a.Name, b.Name) })
	overview := Overview{At: at, Members: views, Alarms: unclaimed, Disagree: disagree}
	overview.Verdict = judge(overview)
	return overview
}

// row is a reading, a member of the list, or both.
type row struct {
	reading *reading
	member  *Member
}

func (r row) view(alarms map[ID][]string, highest map[ID]uint64) MemberView {
	v := MemberView{Member: r.member}
	if r.member != nil {
		v.Name = r.member.Name
	}
	if r.reading == nil {
		v.Error = "no pod or endpoint is known for it"
		if v.Name == "" {
			v.Name = r.member.ID.String()
		}
		v.Alarms = v.alarmsIn(alarms)
		return v
	}
	source := r.reading.source
	v.Name = cmp.Or(v.Name, source.Name)
	v.Pod, v.Node = source.Pod, source.Node
	v.Status, v.Certificates = r.reading.status, r.reading.certs
	v.Source = source.Name
	v.Quota = cmp.Or(quotaOf(v.Status), source.Quota)
	v.Alarms = v.alarmsIn(alarms)
	v.Error, v.Err = describe(r.reading), r.reading.err
	if v.Status != nil {
		lag := highest[v.Status.ClusterID] - min(v.Status.RaftIndex, highest[v.Status.ClusterID])
		v.Lag, v.Quota = &lag, cmp.Or(v.Quota, DefaultQuota)
		v.passed, v.failed = r.reading.passed, r.reading.failed()
		v.Healthy = r.reading.health == nil && v.Member != nil && !v.unstarted() &&
			v.Status.Leader != 0 && !v.has("CORRUPT")
	}
	return v
}

func quotaOf(status *Status) int64 {
	if status == nil {
		return 0
	}
	return status.DBSizeQuota
}

// highestIndex is the highest raft index seen in each cluster. The members were
// asked at different moments, so that a lag from it is about right at best.
func highestIndex(readings []reading) map[ID]uint64 {
	highest := map[ID]uint64{}
	for _, r := range readings {
		if r.status != nil {
			highest[r.status.ClusterID] = max(highest[r.status.ClusterID], r.status.RaftIndex)
		}
	}
	return highest
}

package health

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// timedReads is how many reads of each kind are timed through a member (rules H33).
const timedReads = 40

// settleEvery is how long is waited between the answers of a member that seemed unsteady
// (etcd-diagnosis asks three times, a second apart).
const settleEvery = time.Second

// Sources are the ways to what is looked at.
type Sources struct {
	Members []Source
	Timeout time.Duration // of what one member may take for one question
	// ReadTime is what a member that answers may take for all its timed reads, for each of them
	// Timeout; 0: for all of them, too.
	ReadTime time.Duration
	Sample   time.Duration // between the two looks at counts; 0: there is one
	Deep     bool          // ask the costly questions too
	// Kubernetes looks at the API server's side, at the beginning and, with a sample, at the
	// end; nil: etcd was reached without it, WithoutKubernetes says why.
	Kubernetes        func(ctx context.Context) *Kubernetes
	WithoutKubernetes string
	Archive           func(ctx context.Context) Fact[Archive]
	Now               func() time.Time
}

// Source is the way to one member.
type Source struct {
	etcd.Source
	Client *etcd.Client // nil: it is only reached through etcdctl, or not at all
	// Pages gets a page of its metrics URL, for where the client URL has none; nil: there is no way.
	Pages func(ctx context.Context, path string) (etcd.Page, error)
	Pod   *Pod
	// Spec are its settings as they are configured; Flags are those of a command line.
	Spec  Fact[map[string]string]
	Flags func(argv []string) map[string]string
	// Written are those of Spec that stand on its command line, where that is etcd's own: then
	// the process has these and no others. Empty: it is started in another way.
	Written map[string]string
	// PeerCertificates looks at its peer port.
	PeerCertificates func(ctx context.Context) Fact[[]etcd.Certificate]
}

// Collect asks everything at once; each question to a member has its own deadline, and one
// dead member hides nothing. It never fails: what could not be had is a fact too.
func Collect(ctx context.Context, s Sources) *Facts {
	facts := &Facts{At: s.Now(), Sample: s.Sample, Deep: s.Deep, WithoutKubernetes: s.WithoutKubernetes}
	members := make([]Member, len(s.Members))
	var asked sync.WaitGroup
	for i, source := range s.Members {
		asked.Go(func() { members[i] = look(ctx, source, s.Timeout, cmp.Or(s.ReadTime, s.Timeout)) })
	}
	asked.Go(func() { facts.Overview = etcd.Observe(ctx, overviewSources(s.Members), s.Timeout) })
	asked.Go(func() { facts.Archive = s.Archive(ctx) })
	if s.Kubernetes != nil {
		asked.Go(func() { facts.Kubernetes = s.Kubernetes(ctx) })
	}
	asked.Wait()
	s.again(ctx, members, facts)
	facts.Members = arrange(facts.Overview, s.Members, members)
	if s.Deep {
		hashAll(ctx, s, facts)
	}
	return facts
}

func overviewSources(members []Source) []etcd.Source {
	list := make([]etcd.Source, len(members))
	for i, m := range members {
		list[i] = m.Source
	}
	return list
}

// look asks one member everything but what needs a second look.
func look(ctx context.Context, source Source, timeout, readTime time.Duration) Member {
	m := Member{Pod: source.Pod, Settings: source.Spec}
	limited := func(ask func(ctx context.Context)) func() {
		return func() {
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			ask(ctx)
		}
	}
	var asked sync.WaitGroup
	asked.Go(limited(func(ctx context.Context) { m.Now = source.metrics(ctx) }))
	asked.Go(limited(func(ctx context.Context) { m.Vars = fetch(ctx, source.page, "/debug/vars", etcd.Page.Vars) }))
	asked.Go(limited(func(ctx context.Context) { m.Ready = source.ready(ctx) }))
	asked.Go(limited(func(ctx context.Context) { m.Clock = source.clock(ctx) }))
	asked.Go(limited(func(ctx context.Context) { m.List = source.list(ctx) }))
	asked.Go(limited(func(ctx context.Context) { m.PeerCertificates = source.PeerCertificates(ctx) }))
	asked.Go(func() {
		limited(func(ctx context.Context) { m.Statuses = source.status(ctx) })()
		if m.Statuses == nil { // one that does not answer gets no more time
			readTime = timeout
		}
		ctx, cancel := context.WithTimeout(ctx, readTime)
		defer cancel()
		m.Reads = source.reads(ctx, timeout)
	})
	asked.Wait()
	m.settings(source)
	return m
}

// fetch gets a page and parses it.
func fetch[T any](ctx context.Context, page func(context.Context, string) (etcd.Page, error), path string, parse func(etcd.Page) (T, error)) Fact[T] {
	p, err := page(ctx, path)
	if err != nil {
		return Unknown[T](because(ctx, err))
	}
	value, err := parse(p)
	if err != nil {
		return Unknown[T](because(ctx, err))
	}
	return Known(value)
}

// because is err in few words.
func because(ctx context.Context, err error) string {
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.Is(err, errNoWay):
		return errNoWay.Error()
	}
	return etcd.Shorten(err)
}

var errNoWay = errors.New("no way leads there: it wants a certificate, and none was given")

// page is of the member's client URL, else of its metrics URL.
func (s Source) page(ctx context.Context, path string) (etcd.Page, error) {
	page, err := etcd.Page{}, errNoWay
	if s.Client != nil {
		page, err = s.Client.Page(ctx, path)
	}
	if err == nil || s.Pages == nil || path == "/debug/vars" { // the metrics URL has none
		return page, err
	}
	elsewhere, otherErr := s.Pages(ctx, path)
	if otherErr != nil {
		return page, errors.Join(err, otherErr)
	}
	return elsewhere, nil
}

func (s Source) metrics(ctx context.Context) Fact[*etcd.Metrics] {
	return fetch(ctx, s.page, "/metrics", etcd.Page.Metrics)
}

// ready is what /livez and /readyz say, check by check. Before 3.4.29 and 3.5.11 there are none.
func (s Source) ready(ctx context.Context) Fact[map[string]bool] {
	checks := map[string]bool{}
	for _, path := range []string{"/livez?verbose", "/readyz?verbose"} {
		page, err := s.page(ctx, path)
		if errors.Is(err, etcd.ErrNoPage) {
			return Unknown[map[string]bool]("this version has no " + path)
		}
		if err != nil {
			return Unknown[map[string]bool](because(ctx, err))
		}
		for name, passed := range page.Checks() {
			if was, seen := checks[name]; !seen || was {
				checks[name] = passed
			}
		}
	}
	return Known(checks)
}

// clock asks for a page that costs the member nothing.
func (s Source) clock(ctx context.Context) Fact[Clock] {
	page, err := s.page(ctx, "/version")
	if errors.Is(err, etcd.ErrNoPage) || err == nil && page.Date.IsZero() {
		page, err = s.page(ctx, "/livez")
	}
	switch {
	case err != nil:
		return Unknown[Clock](because(ctx, err))
	case page.Date.IsZero():
		return Unknown[Clock]("it does not say what time it has")
	}
	return Known(Clock{At: page.Date, Asked: page.Asked, Answered: page.Answered})
}

func (s Source) list(ctx context.Context) Fact[[]etcd.Member] {
	if s.Reader == nil {
		return Unknown[[]etcd.Member](errNoWay.Error())
	}
	members, err := s.Reader.Members(ctx)
	if err != nil {
		return Unknown[[]etcd.Member](because(ctx, err))
	}
	return Known(members)
}

func (s Source) status(ctx context.Context) []etcd.Status {
	if s.Reader == nil {
		return nil
	}
	status, err := s.Reader.Status(ctx)
	if err != nil {
		return nil // the overview says why
	}
	return []etcd.Status{status}
}

func (s Source) reads(ctx context.Context, limit time.Duration) Fact[Reads] {
	if s.Client == nil {
		return Unknown[Reads](errNoWay.Error())
	}
	linearizable, serializable, err := s.Client.TimeReads(ctx, timedReads, limit)
	if err != nil {
		return Unknown[Reads](because(ctx, err))
	}
	return Known(Reads{Linearizable: linearizable, Serializable: serializable})
}

// settings are those of the process where it tells its command line, over the configured
// ones. Where both say something and differ, a restart is pending.
func (m *Member) settings(source Source) {
	if !m.Vars.Known() || source.Flags == nil || len(m.Vars.Value.Argv) < 2 {
		return
	}
	running := source.Flags(m.Vars.Value.Argv)
	if running == nil { // etcd is a part of another program
		return
	}
	merged := map[string]string{}
	maps.Copy(merged, source.Spec.Value)
	maps.Copy(merged, running)
	m.Pending = map[string]string{}
	for name, value := range running {
		was, ok := source.Spec.Value[name]
		switch {
		case ok && was != value:
			m.Pending[name] = fmt.Sprintf("%s ≠ %s", was, value)
		case !ok && len(source.Written) > 0:
			m.Pending[name] = "not set ≠ " + value
		}
	}
	for name, value := range source.Written {
		if _, ok := running[name]; !ok {
			m.Pending[name] = value + " ≠ not set"
			delete(merged, name)
		}
	}
	m.Settings = Known(merged)
}

// arrange puts the members in the overview's order.
func arrange(overview etcd.Overview, sources []Source, members []Member) []Member {
	arranged := make([]Member, len(overview.Members))
	for i, view := range overview.Members {
		arranged[i] = nobody(view)
		for j, source := range sources {
			if view.Source != "" && source.Name == view.Source {
				arranged[i] = members[j]
			}
		}
		arranged[i].View = view
		arranged[i].quota()
	}
	return arranged
}

// quota is what its metrics show, where its answer does not tell it: before 3.6. Without them
// it is what its pod is set to, else etcd's default.
func (m *Member) quota() {
	if m.View.Status != nil && m.View.Status.DBSizeQuota != 0 {
		return
	}
	if shown, ok := m.Now.Value.Value("etcd_server_quota_backend_bytes"); ok && shown != 0 {
		m.View.Quota = int64(shown)
	}
}

// nobody is a member of the list that no way leads to.
func nobody(view etcd.MemberView) Member {
	because := view.Error
	return Member{
		List: Unknown[[]etcd.Member](because), Before: Unknown[*etcd.Metrics](because), Now: Unknown[*etcd.Metrics](because),
		Vars: Unknown[etcd.Vars](because), Reads: Unknown[Reads](because), Clock: Unknown[Clock](because),
		Ready: Unknown[map[string]bool](because), Hash: Unknown[etcd.Hash](because), Settings: Unknown[map[string]string](because),
		PeerCertificates: Unknown[[]etcd.Certificate](because),
	}
}

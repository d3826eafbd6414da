package health

import (
	"fmt"
	"slices"
	"time"

	"github.com/coreos/go-semver/semver"
)

// version is what the member runs.
func (m Member) version() (*semver.Version, error) {
	if why := m.silent(); why != "" {
		return nil, fmt.Errorf("its version is not known: %s", why)
	}
	version, err := semver.NewVersion(m.View.Status.Version)
	if err != nil {
		return nil, fmt.Errorf("%q is no version", m.View.Status.Version)
	}
	return version, nil
}

func minorOf(v *semver.Version) string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// versioned is a member whose version is known.
type versioned struct {
	Member
	is *semver.Version
}

func (f *Facts) versioned(o *outcome) []versioned {
	var known []versioned
	for _, m := range f.Members {
		version, err := m.version()
		if err != nil {
			o.unknown(m.Name(), err.Error())
			continue
		}
		known = append(known, versioned{m, version})
	}
	return known
}

func judgeVersions(f *Facts, limits Limits, o *outcome) {
	members := f.versioned(o)
	if len(members) == 0 {
		return
	}
	running := map[string][]string{}
	lowest, highest := members[0].is, members[0].is
	for _, m := range members {
		running[m.is.String()] = append(running[m.is.String()], m.Name())
		if m.is.LessThan(*lowest) {
			lowest = m.is
		}
		if highest.LessThan(*m.is) {
			highest = m.is
		}
	}
	if len(running) > 1 {
		showEach(o, "version", running)
	}
	switch {
	case lowest.Major != highest.Major || highest.Minor-lowest.Minor > 1:
		o.warn("%s and %s are more than a minor apart", lowest, highest)
	case lowest.Minor != highest.Minor:
		f.judgeMixed(members, limits.seconds("mixed-versions"), o)
	case len(running) > 1:
		o.info("the members run patches from %s to %s", lowest, highest)
	default:
		judgeStorage(members, o)
		o.ok("all run %s", highest)
	}
}

// judgeMixed is for two neighbouring minors: that is an upgrade, which should end some day.
func (f *Facts) judgeMixed(members []versioned, longest time.Duration, o *outcome) {
	var since []time.Duration // each was started
	for _, m := range members {
		running := f.running(m.Member)
		if !running.Known() {
			o.unknown("how long", m.Name()+": "+running.Because)
			o.info("the members run two minors: an upgrade is under way")
			return
		}
		since = append(since, running.Value)
	}
	last := slices.Min(since)
	if last >= longest {
		o.warn("the members run two minors, and none was started for %s", last.Round(time.Second))
		return
	}
	o.info("the members run two minors: an upgrade is under way, its last step %s ago", last.Round(time.Second))
}

// judgeStorage is for members of one minor: what they store is of it, unless a downgrade was
// enabled (server/v3 etcdserver/version, Monitor). 3.5 and older name none.
func judgeStorage(members []versioned, o *outcome) {
	for _, m := range members {
		storage, err := semver.NewVersion(m.View.Status.StorageVersion)
		if err == nil && minorOf(storage) != minorOf(m.is) {
			o.info("%s runs %s and stores as %s: a downgrade is enabled, or it was upgraded just now", m.Name(), m.is, minorOf(storage))
			o.mend("if nobody means to downgrade: etcdctl downgrade cancel")
		}
	}
}

// fault is something wrong with versions from one up to, but not with, another.
type fault struct {
	from, below string
	level       Level
	text        string
}

func faults() []fault {
	return []fault{
		{"0.0.0", "3.4.0", Warning, "has been out of support for years"},
		{"3.4.0", "3.5.0", Warning, "has had no fixes since May 2026: upgrade to 3.5"},
		{"3.4.0", "3.4.29", Warning, "is older than 3.4.29, the least that Kubernetes asks for"},
		{"3.4.0", "3.4.31", Info, "cannot serve consistent lists from the API server's cache (3.4.31 can)"},
		{"3.5.0", "3.5.3", Critical, "may lose consistency when it is killed under load"},
		{"3.5.0", "3.5.6", Warning, "may be corrupted by a crash while it is defragmented online"},
		{"3.5.0", "3.5.11", Warning, "is older than 3.5.11, the least that Kubernetes asks for"},
		{"3.5.0", "3.5.13", Info, "cannot serve consistent lists from the API server's cache (3.5.13 can)"},
		{"3.5.0", "3.5.26", Info, "may bring removed members back when it is upgraded to 3.6: upgrade to 3.5.26 or later first"},
	}
}

func judgeFaults(f *Facts, _ Limits, o *outcome) {
	var found findings
	members := f.versioned(o)
	for _, m := range members {
		for _, fault := range faults() {
			if !m.is.LessThan(*semver.New(fault.from)) && m.is.LessThan(*semver.New(fault.below)) {
				found.add(fault.level, m.Name(), "%s %s", m.is, fault.text)
			}
		}
	}
	found.tell(o)
	if len(members) > 0 {
		o.ok("no known fault")
	}
}

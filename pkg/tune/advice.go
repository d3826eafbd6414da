package tune

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Level says how much an item wants to be changed.
type Level string

// The levels, from none on. LevelUnknown is of what hangs on something that was not measured.
const (
	LevelKeep     Level = "keep"
	LevelUnknown  Level = "unknown"
	LevelSuggest  Level = "suggest"
	LevelWarning  Level = "warning"
	LevelCritical Level = "critical"
)

func (l Level) rank() int {
	for i, level := range []Level{LevelKeep, LevelUnknown, LevelSuggest, LevelWarning, LevelCritical} {
		if l == level {
			return i
		}
	}
	panic(fmt.Sprintf("tune: internal error: level %q", string(l)))
}

func worse(a, b Level) Level {
	if b.rank() > a.rank() {
		return b
	}
	return a
}

// Options are the numbers that have no source but us. Zero values are the defaults.
type Options struct {
	// LongElection is the election timeout that Kubernetes' leases no longer like: they are
	// renewed within 10 s (leaderElect's renewDeadline), and E..2E may pass without a leader. Default 5 s.
	LongElection time.Duration
	// SlowFsync is the p99 from which the disk is to be mended before anything is tuned. Default 100 ms.
	SlowFsync time.Duration
	// FewEntries is the snapshot-count below which snapshots cost more than they save. Default 1000.
	FewEntries int64
	// FullDB is the share of the quota from which it is to be looked at. Default 0.85.
	FullDB float64
}

func (o Options) withDefaults() Options {
	return Options{
		LongElection: cmp.Or(o.LongElection, 5*time.Second),
		SlowFsync:    cmp.Or(o.SlowFsync, 100*time.Millisecond),
		FewEntries:   cmp.Or(o.FewEntries, 1000),
		FullDB:       cmp.Or(o.FullDB, 0.85),
	}
}

// Advice is what to set, and why.
type Advice struct {
	Level   Level    `json:"level"` // the worst of Items
	Summary string   `json:"summary"`
	Reasons []string `json:"reasons,omitempty"` // what to know beside it
	// RTT is the longest round trip between voters, Fsync the slowest p99 of one.
	RTT   Fact[time.Duration] `json:"rtt"`
	Fsync Fact[time.Duration] `json:"fsync"`
	// Timing is what suits, the present one where that is good enough; nil: nothing does, or
	// it is not known what would.
	Timing  *Timing     `json:"timing,omitempty"`
	Effects *Effects    `json:"effects,omitempty"` // of Timing
	Items   []Item      `json:"items"`
	Writes  []WriteCost `json:"writes"`
	Steps   []Step      `json:"steps,omitempty"` // to Timing, one restart each
	Notes   []string    `json:"notes,omitempty"`
}

// Item is one flag.
type Item struct {
	Flag string `json:"flag"`
	// Current is by value: one for all members that have it.
	Current   []Current `json:"current"`
	Suggested string    `json:"suggested,omitempty"` // empty: keep
	Level     Level     `json:"level"`
	Reason    string    `json:"reason"`
	Source    string    `json:"source"`
	Default   string    `json:"default,omitempty"` // of the members' versions; empty: none, or not known
}

// Current is a value that members have.
type Current struct {
	Members []string `json:"members"`
	Value   string   `json:"value,omitempty"`
	From    Origin   `json:"from,omitempty"`
	// Pending is what the specification says instead: a restart is pending.
	Pending *string `json:"restartPending,omitempty"`
	Missing string  `json:"notMeasured,omitempty"` // why Value is not known
}

// Change is a flag and the value to give it.
type Change struct {
	Flag  string `json:"flag"`
	Value string `json:"value"`
}

// Changes are what is suggested, as one may set it.
func (a Advice) Changes() []Change {
	var changes []Change
	for _, item := range a.Items {
		if item.Suggested != "" {
			changes = append(changes, Change{item.Flag, item.Suggested})
		}
	}
	return changes
}

// Advise says what to set for what was found.
func Advise(f Facts, o Options) Advice {
	a := adviser{facts: f, options: o.withDefaults(), network: newNetwork(f)}
	a.fsync, a.fsyncUnknown = slowestFsync(f)
	a.RTT, a.Fsync = a.network.longest, a.fsync
	a.judgeTiming()
	for _, r := range rules(a.minor()) {
		if a.allHave(r) {
			a.judge(r)
		}
	}
	a.Writes = a.network.writeCosts(f)
	a.note()
	a.summarize()
	return a.Advice
}

// adviser is an advice that is being made.
type adviser struct {
	Advice
	facts        Facts
	options      Options
	network      network
	fsync        Fact[time.Duration]
	fsyncUnknown []string
	refused      bool   // no timing suits such round trips
	doubt        string // why the one that would suit is not suggested
	unseen       string // whose present one is not known
}

// minor is the oldest version of the members, whose flags all of them know; the newest
// known here where no member's version is known.
func (a *adviser) minor() Minor {
	lowest, found := newest, false
	for _, m := range a.facts.Members {
		minor, err := ParseMinor(m.Version)
		if err == nil && (!found || minor < lowest) {
			lowest, found = minor, true
		}
	}
	return lowest
}

// allHave tells whether no member's version lacks the flag: what is suggested is for all of them.
func (a *adviser) allHave(f flag) bool {
	return f.has == nil || !slices.ContainsFunc(a.facts.Members, func(m Member) bool { return m.Version != "" && !f.has(m.Version) })
}

// add takes up an item.
func (a *adviser) add(item Item) {
	a.Level = worse(cmp.Or(a.Level, LevelKeep), item.Level)
	a.Items = append(a.Items, item)
}

func (a *adviser) note() {
	a.Notes = append(a.Notes, a.network.notes...)
	for _, unknown := range a.incomplete() {
		a.Notes = append(a.Notes, "not measured: "+unknown)
	}
	for _, m := range a.facts.voters() {
		if commit := m.Commit.Value; commit != nil && *commit >= slowCommit {
			a.Notes = append(a.Notes, fmt.Sprintf("backend commit p99 of %s is %s, etcd's FAQ wants less than %s", m.Name, say(*commit), say(slowCommit)))
		}
	}
	if gated := func(m Member) bool { return !ungated(m.Version) }; a.minor() < featureGates && slices.ContainsFunc(a.facts.Members, gated) {
		a.Notes = append(a.Notes, "the checks of corruption are flags in some members' versions and feature gates in others': finish the upgrade first")
	}
	a.Notes = append(a.Notes, memberNotes(len(a.facts.voters()))...)
}

// slowCommit is from etcd's FAQ.
const slowCommit = 25 * time.Millisecond

func (a *adviser) summarize() {
	a.Summary, a.Reasons = a.verdict()
	if a.slowDisk() {
		a.Reasons = append([]string{"then: " + a.Summary}, a.Reasons...)
		a.Summary = "fix the disk first: fsync p99 " + say(*a.fsync.Value)
	}
	others := strings.Join(a.others(), ", ")
	switch {
	case others == "":
	case strings.HasPrefix(a.Summary, keep): // what there is to do comes first
		a.Summary = "look at " + others + "; " + a.Summary
	default:
		a.Reasons = append(a.Reasons, "look at "+others)
	}
}

// keep begins a summary that leaves the timeouts as they are.
const keep = "keep "

// verdict is about the two timeouts.
func (a *adviser) verdict() (summary string, reasons []string) {
	if a.refused {
		if a.diskAlone() {
			return fmt.Sprintf("no setting suits fsyncs of %s: etcd can't wait that long", say(*a.fsync.Value)), nil
		}
		return fmt.Sprintf("no setting suits round trips of %s: etcd can't go that far", say(*a.RTT.Value)), nil
	}
	if a.doubt != "" {
		return "measure the lines before the timeouts are changed: " + a.measure(), []string{a.doubt}
	}
	if a.Timing == nil {
		return "not measured: which timeouts suit", []string{a.RTT.why()}
	}
	what := fmt.Sprintf("heartbeat-interval=%s and election-timeout=%s", flagMillis(a.Timing.Heartbeat), flagMillis(a.Timing.Election))
	switch {
	case a.unseen != "":
		return what + " suit; compare with what runs", []string{a.unseen}
	case a.changes("heartbeat-interval") || a.changes("election-timeout"):
		return "set " + what, nil
	case len(a.incomplete()) > 0:
		return "so far, keep " + what, []string{"not all was measured, and more may be needed"}
	}
	return keep + what, nil
}

// measure is how to measure the farthest line, of which etcd's own probes alone tell: what was
// tried there varied too much, and reads know nothing of a line between followers.
func (a *adviser) measure() string {
	tried := map[Method]bool{}
	for _, r := range a.facts.RTTs {
		if r.P50.Value != nil {
			tried[r.Method] = tried[r.Method] || pairOf(r.From, r.To).String() == a.network.farthest
		}
	}
	_, reads := tried[MethodReadIndex]
	switch {
	case tried[MethodConnect]:
		return "again, when less goes on"
	case tried[MethodReadIndex]:
		return "again, when less goes on, or by --relay"
	case reads:
		return "--relay"
	}
	return "--relay, or a certificate"
}

// others are the flags besides the two that are not well.
func (a *adviser) others() []string {
	var flags []string
	for _, item := range a.Items {
		if item.Level.rank() > LevelUnknown.rank() && item.Flag != "heartbeat-interval" && item.Flag != "election-timeout" {
			flags = append(flags, item.Flag)
		}
	}
	return flags
}

func (a *adviser) changes(flag string) bool {
	for _, item := range a.Items {
		if item.Flag == flag {
			return item.Suggested != ""
		}
	}
	return false
}

func (a *adviser) slowDisk() bool {
	return a.fsync.Value != nil && *a.fsync.Value >= a.options.SlowFsync
}

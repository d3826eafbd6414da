// Package health judges an etcd cluster: every check of the catalogue, each with its
// evidence, its source and what mends it.
//
// Its one idea: Collect does all I/O and returns facts; a check is a pure function over
// them. What could not be measured is a fact too, and is never counted as well.
package health

import (
	"cmp"
	"slices"
	"time"
)

// Level is how a check came out.
type Level string

// Levels, from well to worst. Unmeasured is none of these: it says nothing about etcd.
const (
	OK         Level = "ok"
	Info       Level = "info"
	Warning    Level = "warning"
	Critical   Level = "critical"
	Unmeasured Level = "not measured"
)

// rank orders levels, worst highest.
func (l Level) rank() int {
	return slices.Index([]Level{Unmeasured, OK, Info, Warning, Critical}, l)
}

// AtLeast tells whether l is as bad as other, or worse.
func (l Level) AtLeast(other Level) bool { return l.rank() >= other.rank() }

// Category is what a check is about.
type Category string

// Categories, in the order in which they are shown.
const (
	Shape     Category = "members"
	Raft      Category = "raft"
	Space     Category = "space"
	Latency   Category = "latency"
	Integrity Category = "integrity"
	Wiring    Category = "kubernetes"
)

// Categories lists them in that order.
func Categories() []Category {
	return []Category{Shape, Raft, Space, Latency, Integrity, Wiring}
}

// Result is what one check found.
type Result struct {
	ID       string   `json:"id"` // "H01", stable
	Title    string   `json:"title"`
	Category Category `json:"category"`
	Level    Level    `json:"level"`
	// Summary is the answer in one sentence.
	Summary string `json:"summary"`
	// Evidence are the numbers it was judged by, a line each.
	Evidence []string `json:"evidence,omitempty"`
	// Unmeasured says of what the check could not measure why, a line each. A result may be
	// ok for those members that it could.
	Unmeasured []string `json:"unmeasured,omitempty"`
	Source     string   `json:"source"`
	// Remedy is the command or the step that mends it; empty where nothing is to be mended.
	Remedy string `json:"remedy,omitempty"`
}

// Report is the judgement of one etcd cluster.
type Report struct {
	At      time.Time     `json:"at"`
	Sample  time.Duration `json:"sample"` // between the two looks at counts; 0: there was one
	Level   Level         `json:"level"`  // of the worst result; Unmeasured: nothing was measured
	Summary string        `json:"summary"`
	// Results has every check that was asked for: findings first, worst first, then by id.
	Results []Result      `json:"results"`
	Counts  map[Level]int `json:"counts"`
}

// Judge runs checks over what was collected.
func Judge(facts *Facts, checks []Check, limits Limits) Report {
	report := Report{At: facts.At, Sample: facts.Sample, Level: Unmeasured, Summary: facts.Overview.Verdict.Summary, Counts: map[Level]int{}}
	for _, check := range checks {
		result := check.run(facts, limits)
		report.Results = append(report.Results, result)
		report.Counts[result.Level]++
		if result.Level.AtLeast(report.Level) {
			report.Level = result.Level
		}
	}
	slices.SortStableFunc(report.Results, func(a, b Result) int {
		return cmp.Or(b.Level.rank()-a.Level.rank(), cmp.Compare(a.ID, b.ID))
	})
	return report
}

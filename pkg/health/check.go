package health

import (
	"fmt"
	"slices"
	"strings"
)

// Check is one row of the catalogue.
type Check struct {
	ID       string
	Title    string // "quorum margin"
	Category Category
	Measures string   // what is measured, and of what: for the documentation
	Limits   []string // the limits that it goes by, by name
	Source   string   // where the rule is from; "ours" where no one upstream says a number
	Remedy   string   // what mends it, unless a finding knows better
	judge    func(*Facts, Limits, *outcome)
}

// Checks is the catalogue, by id.
func Checks() []Check {
	checks := slices.Concat(shapeChecks(), raftChecks(), spaceChecks(), latencyChecks(), integrityChecks(), wiringChecks())
	slices.SortFunc(checks, func(a, b Check) int { return strings.Compare(a.ID, b.ID) })
	return checks
}

func (c Check) run(facts *Facts, limits Limits) Result {
	o := outcome{level: Unmeasured}
	c.judge(facts, limits, &o)
	result := Result{
		ID: c.ID, Title: c.Title, Category: c.Category, Source: c.Source,
		Level: o.level, Summary: o.summary, Evidence: o.evidence, Unmeasured: o.unmeasured,
	}
	if o.level.AtLeast(Info) {
		result.Remedy = o.remedy
		if o.remedy == "" && o.level != Info {
			result.Remedy = c.Remedy
		}
	}
	if o.level == Unmeasured && result.Summary == "" {
		result.Summary = "not measured: " + strings.Join(o.unmeasured, "; ")
	}
	return result
}

// outcome is a result in the making. A check says for each thing that it looks at what it
// found: the worst counts, and gives the summary.
type outcome struct {
	level      Level
	summary    string
	evidence   []string
	unmeasured []string
	remedy     string
}

// ok, info, warn and critical say how one thing is, in one sentence.
func (o *outcome) ok(format string, args ...any)       { o.say(OK, format, args...) }
func (o *outcome) info(format string, args ...any)     { o.say(Info, format, args...) }
func (o *outcome) warn(format string, args ...any)     { o.say(Warning, format, args...) }
func (o *outcome) critical(format string, args ...any) { o.say(Critical, format, args...) }

// say keeps the first sentence of the worst level as the summary; what else was found at
// Info and worse becomes evidence.
func (o *outcome) say(level Level, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	switch {
	case o.summary == "" || level.rank() > o.level.rank():
		if o.summary != "" && o.level.AtLeast(Info) {
			o.evidence = append(o.evidence, o.summary)
		}
		o.level, o.summary = level, text
	case level.AtLeast(Info):
		o.evidence = append(o.evidence, text)
	}
}

// graded says text at the level that value has: at or above critical, warning, else ok.
func (o *outcome) graded(value, warning, critical float64, format string, args ...any) {
	switch {
	case value >= critical:
		o.critical(format, args...)
	case value >= warning:
		o.warn(format, args...)
	default:
		o.ok(format, args...)
	}
}

// shows adds a number that the check was judged by.
func (o *outcome) shows(format string, args ...any) {
	o.evidence = append(o.evidence, fmt.Sprintf(format, args...))
}

// unknown says what could not be measured, and why.
func (o *outcome) unknown(what, because string) {
	text := because
	if what != "" {
		text = what + ": " + because
	}
	if !slices.Contains(o.unmeasured, text) {
		o.unmeasured = append(o.unmeasured, text)
	}
}

// mend is what mends this finding, where the catalogue's remedy is too general.
func (o *outcome) mend(format string, args ...any) { o.remedy = fmt.Sprintf(format, args...) }

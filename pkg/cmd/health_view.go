package cmd

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/health"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
)

// viewHealth shows per cluster the verdict, the findings, worst first, and what each category
// counts. Wide has every check, short the findings alone, a line each.
func viewHealth(s *render.Screen, clusters []clusterHealth, short bool) {
	for i, c := range clusters {
		if i > 0 && !short {
			s.Line()
		}
		if len(clusters) > 1 && !short {
			s.Line(render.Cell{Text: strings.TrimPrefix(c.Namespace+"/"+c.Cluster, "/"), Tone: render.Strong})
		}
		switch {
		case short:
			viewFindings(s, c, len(clusters) > 1)
		default:
			viewClusterHealth(s, c)
		}
	}
}

// viewFindings is a line a finding: "critical H20 alarms: …".
func viewFindings(s *render.Screen, c clusterHealth, named bool) {
	if c.Level == health.Unmeasured { // nothing is not well
		s.Say(2, s.State(string(c.Level), healthTone(c.Level)), render.Cell{Text: " " + strings.Join(slices.Concat([]string{c.Summary}, c.Notes), "; ")})
	}
	for _, r := range c.Results {
		if !r.Level.AtLeast(health.Info) {
			continue
		}
		text := fmt.Sprintf(" %s %s: %s", r.ID, r.Title, r.Summary)
		if named {
			text = " " + c.Cluster + text
		}
		s.Say(2, s.State(string(r.Level), healthTone(r.Level)), render.Cell{Text: text})
	}
}

func viewClusterHealth(s *render.Screen, c clusterHealth) {
	s.Say(2, s.State(string(c.Level), healthTone(c.Level)), render.Cell{Text: ": " + healthAnswer(c.Report), Tone: render.Strong})
	for _, r := range c.Results {
		if s.Wide || r.Level.AtLeast(health.Info) {
			viewResult(s, r)
		}
	}
	s.Line()
	viewCounts(s, c.Report)
	for _, note := range c.Notes {
		s.Text(0, "note: "+note, render.Dim)
	}
}

// healthAnswer is the whole answer in one line.
func healthAnswer(r health.Report) string {
	var parts []string
	for _, level := range []health.Level{health.Critical, health.Warning, health.Info} {
		if n := r.Counts[level]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, level))
		}
	}
	found := "no findings"
	switch {
	case r.Level == health.Unmeasured:
		found = "nothing could be measured"
	case len(parts) > 0:
		found = strings.Join(parts, ", ")
	}
	return r.Summary + "; " + found
}

// viewResult is the finding, its numbers under it, and last what mends it.
func viewResult(s *render.Screen, r health.Result) {
	s.Line()
	s.Say(2, s.State(string(r.Level), healthTone(r.Level)), render.Cell{Text: fmt.Sprintf("  %s %s", r.ID, r.Title), Tone: render.Strong})
	s.Text(2, r.Summary, render.Plain)
	for _, line := range r.Evidence {
		s.Item(line, render.Plain)
	}
	if r.Level != health.Unmeasured { // there the summary says it
		for _, line := range r.Unmeasured {
			s.Item("not measured: "+line, render.Dim)
		}
	}
	if r.Remedy != "" {
		s.Text(2, "mend: "+r.Remedy, render.Plain)
	}
	s.Text(2, "rule: "+r.Source, render.Dim)
}

// viewCounts is a row a category.
func viewCounts(s *render.Screen, report health.Report) {
	levels := []health.Level{health.OK, health.Info, health.Warning, health.Critical, health.Unmeasured}
	table := render.Table{Columns: []render.Column{{Title: "CHECKS"}}}
	for _, level := range levels {
		table.Columns = append(table.Columns, render.Column{Title: strings.ToUpper(string(level)), Right: true})
	}
	for _, category := range health.Categories() {
		row := []render.Cell{{Text: string(category)}}
		any := false
		for _, level := range levels {
			n := countOf(report.Results, category, level)
			any = any || n > 0
			cell := render.Cell{Text: "-", Tone: render.Dim}
			if n > 0 {
				cell = render.Cell{Text: fmt.Sprint(n), Tone: healthTone(level)}
			}
			row = append(row, cell)
		}
		if any {
			table.Rows = append(table.Rows, row)
		}
	}
	s.Table(table)
	if report.Counts[health.Unmeasured] > 0 && !s.Wide {
		s.Text(0, "note: what was not measured, and why: -o wide", render.Dim)
	}
}

func countOf(results []health.Result, category health.Category, level health.Level) int {
	return len(slices.DeleteFunc(slices.Clone(results), func(r health.Result) bool { return r.Category != category || r.Level != level }))
}

func healthTone(level health.Level) render.Tone {
	switch level {
	case health.OK:
		return render.Good
	case health.Warning:
		return render.Warn
	case health.Critical:
		return render.Bad
	case health.Unmeasured:
		return render.Dim
	}
	return render.Plain
}

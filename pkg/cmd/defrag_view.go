package cmd

import (
	"fmt"
	"strconv"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/maintain"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
)

// defragColumns go with viewDefragPlan.
var defragColumns = []render.Column{
	{Title: "STEP", Right: true}, {Title: "MEMBER", Min: 12}, {Title: "DO"}, {Title: "DB SIZE", Right: true, Hide: 2}, {Title: "FREE", Right: true},
	{Title: "FREE %", Right: true, Hide: 1}, {Title: "QUOTA", Right: true, Hide: 3}, {Title: "PAUSE", Right: true}, {Title: "PAUSE IS", Wide: true},
}

// defraggedColumns go with viewDefragReport.
var defraggedColumns = []render.Column{
	{Title: "MEMBER", Min: 12}, {Title: "BEFORE", Right: true}, {Title: "AFTER", Right: true}, {Title: "RECLAIMED", Right: true},
	{Title: "PAUSE", Right: true}, {Title: "OTHERS WAITED", Right: true}, {Title: "SEEN FROM", Hide: 1},
}

// stepText is a step in a sentence.
func stepText(step maintain.DefragStep) string {
	switch step.Action {
	case maintain.ActionMove:
		return "move the leadership from " + step.Member + " to " + step.To
	case maintain.ActionDisarm:
		return "disarm NOSPACE, if every database is below 90% of its quota"
	}
	return fmt.Sprintf("defragment %s: it answers nothing for about %s", step.Member, render.Duration(step.Pause))
}

// viewDefragPlan shows the answer, the steps, who is left out and why, and what is in the way.
func viewDefragPlan(s *render.Screen, done defragmentation) {
	plan := done.Plan
	names := defragged(plan)
	switch {
	case plan.Empty() && len(plan.Refusals) == 0:
		s.Say(2, s.State("ok", render.Good), render.Cell{Text: ": nothing needs to be defragmented", Tone: render.Strong})
	case plan.Empty():
		s.Say(2, s.State("not known", render.Dim), render.Cell{Text: ": whether anything needs to be defragmented", Tone: render.Strong})
	default:
		s.Line(render.Cell{Text: fmt.Sprintf("plan: defragment %s of etcd %s, about %s to gain", countText(len(names), "member"), done.Cluster, render.Bytes(plan.Gain)), Tone: render.Strong})
		sayHidden(s, s.Table(defragTable(plan)))
		if done.Waits > 0 {
			s.Item(fmt.Sprintf("about %s in all: %s of it is waited between members (--settle)", render.Duration(done.Takes), render.Duration(done.Waits)), render.Plain)
		}
	}
	for _, m := range plan.Skipped {
		s.Item(m.Member+" is left out: "+m.Why, render.Dim)
	}
	viewRefusals(s, plan.Refusals, plan.Warnings)
	for _, note := range done.Notes {
		s.Text(0, "note: "+note, render.Dim)
	}
}

func defragTable(plan maintain.DefragPlan) render.Table {
	table := render.Table{Columns: defragColumns}
	for i, step := range plan.Steps {
		row := []render.Cell{{Text: strconv.Itoa(i + 1)}, {Text: dash(step.Member)}, {}, {Text: "-"}, {Text: "-"}, {Text: "-"}, {Text: "-"}, {Text: "-"}, {Text: "-"}}
		switch step.Action {
		case maintain.ActionMove:
			row[2].Text = "hand over to " + step.To
		case maintain.ActionDisarm:
			row[2].Text = "disarm NOSPACE"
		default:
			row[2].Text = "defragment"
			row[3].Text, row[4].Text, row[5].Text = render.Bytes(step.DBSize), render.Bytes(step.Free), render.Percent(step.Free, step.DBSize)
			row[6].Text, row[7].Text, row[8].Text = fmt.Sprintf("%.1f%%", 100*step.QuotaUsage), render.Duration(step.Pause), step.PauseFrom
		}
		table.Rows = append(table.Rows, row)
	}
	return table
}

// viewDefragReport shows what came of it, and, where it ended early, where it stands.
func viewDefragReport(s *render.Screen, done defragmentation) {
	r := done.Report
	state := s.State("ok", render.Good)
	if !r.Done {
		state = s.State("not finished", render.Bad)
	}
	s.Say(2, state, render.Cell{Text: fmt.Sprintf(": %s reclaimed from %s in %s", render.Bytes(r.Reclaimed), countText(len(r.Members), "member"), render.Duration(r.Duration)), Tone: render.Strong})
	table := render.Table{Columns: defraggedColumns}
	for _, m := range r.Members {
		stall := "-"
		if m.Through != "" {
			stall = render.Duration(m.Stall)
		}
		table.Rows = append(table.Rows, []render.Cell{
			{Text: m.Member}, {Text: render.Bytes(m.Before)}, {Text: render.Bytes(m.After)}, {Text: render.Bytes(m.Reclaimed)},
			{Text: render.Duration(m.Pause)}, {Text: stall}, {Text: dash(m.Through)},
		})
	}
	if len(table.Rows) > 0 {
		sayHidden(s, s.Table(table))
	}
	if r.LongestStall > 0 {
		s.Item("a read through another member waited for at most "+render.Duration(r.LongestStall), render.Plain)
	}
	if r.Moved {
		s.Item("the leader is now "+r.Leader, render.Plain)
	}
	if r.Unlocked != "" {
		s.Item(r.Unlocked, render.Plain)
	}
	for _, alarm := range r.Disarmed {
		s.Item(fmt.Sprintf("disarmed %s of %s", alarm.Type, alarm.MemberID), render.Plain)
	}
	if r.Stands != "" {
		s.Item("where it stands: "+r.Stands, render.Strong)
	}
}

func countText[N int | int64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

package cmd

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/maintain"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
)

// memberColumns go with viewMemberList.
var memberColumns = []render.Column{
	{Title: "MEMBER", Min: 8}, {Title: "ID"}, {Title: "NODE", Hide: 2}, {Title: "ROLE"}, {Title: "STATE"},
	{Title: "PEER URLS", Hide: 1}, {Title: "CLIENT URLS", Wide: true}, {Title: "ERRORS", Below: true},
}

// viewMemberList shows who is a member, then the arithmetic.
func viewMemberList(s *render.Screen, c memberList) {
	table := render.Table{Columns: memberColumns}
	for _, m := range c.Members {
		table.Rows = append(table.Rows, memberListRow(s, m))
	}
	hidden := s.Table(table)
	s.Line()
	state := s.State("ok", render.Good)
	switch {
	case c.Shape.Voters == 0:
		s.Say(2, s.State("not known", render.Dim), render.Cell{Text: ": who is a member", Tone: render.Strong})
		return
	case c.HasQuorum != nil && !*c.HasQuorum:
		state = s.State("no quorum", render.Bad)
	case c.Shape.CanLose < 1 && c.Shape.Voters > 1:
		state = s.State("warning", render.Warn)
	}
	s.Say(2, state, render.Cell{Text: ": " + c.Shape.String(), Tone: render.Strong})
	sayHidden(s, hidden)
	for _, note := range c.Notes {
		s.Text(0, "note: "+note, render.Dim)
	}
}

func memberListRow(s *render.Screen, m etcd.MemberView) []render.Cell {
	id, peers, clients := "-", "-", "-"
	if m.Member != nil {
		id, peers, clients = m.Member.ID.String(), strings.Join(m.Member.PeerURLs, ","), dash(strings.Join(m.Member.ClientURLs, ","))
	}
	name := m.Name
	if m.Member != nil && m.Member.Name == "" {
		name = cmp.Or(m.Pod, "-")
	}
	return []render.Cell{
		{Text: dash(name)}, {Text: id}, {Text: dash(m.Node)}, {Text: roleInList(m)}, memberState(s, m), {Text: peers}, {Text: clients}, {Text: dash(m.Error)},
	}
}

func roleInList(m etcd.MemberView) string {
	switch {
	case m.Member == nil:
		return "no member"
	case m.Member.Learner:
		return "learner"
	case m.Leads():
		return "leader"
	}
	return "voter"
}

func memberState(s *render.Screen, m etcd.MemberView) render.Cell {
	switch {
	case m.Member == nil:
		return s.State("in no list", render.Warn)
	case m.Member.Name == "":
		return s.State("never started", render.Warn)
	case m.Healthy, m.Member.Learner && m.Status != nil && m.Error == "":
		return s.State("healthy", render.Good)
	case m.Status == nil:
		return s.State("no answer", render.Bad)
	}
	return s.State("not healthy", render.Bad)
}

// viewMemberPlan shows the steps, the arithmetic before and after, and what is in the way.
func viewMemberPlan(s *render.Screen, done membership) {
	plan := done.Plan
	switch {
	case plan.There != nil:
		s.Say(2, s.State("ok", render.Good), render.Cell{Text: fmt.Sprintf(": %s is in the list of etcd %s already (%s), and was never started", plan.There.Name, done.Cluster, plan.There.ID), Tone: render.Strong})
	case plan.Empty() && len(plan.Refusals) == 0:
		s.Say(2, s.State("ok", render.Good), render.Cell{Text: ": there is nothing to change in etcd " + done.Cluster, Tone: render.Strong})
	case plan.Empty():
	default:
		s.Line(render.Cell{Text: "plan for etcd " + done.Cluster + ":", Tone: render.Strong})
		for i, step := range plan.Steps {
			s.Line(render.Cell{Text: "  " + strconv.Itoa(i+1) + ". " + step.String()})
		}
	}
	fact(s, "now", "%s", plan.Before)
	if !plan.Empty() {
		fact(s, "then", "%s", plan.After)
	}
	viewRefusals(s, plan.Refusals, plan.Warnings)
	for _, note := range done.Notes {
		s.Text(0, "note: "+note, render.Dim)
	}
}

// viewMemberReport shows what was done and, where it ended early, where it stands.
func viewMemberReport(s *render.Screen, done membership) {
	r := done.Report
	if r.Finished {
		s.Say(2, s.State("ok", render.Good), render.Cell{Text: ": " + doneText(r.Done), Tone: render.Strong})
	} else {
		s.Say(2, s.State("not finished", render.Bad), render.Cell{Text: ": " + r.Stands, Tone: render.Strong})
	}
	fact(s, "before", "%s", done.Plan.Before)
	if r.After != nil {
		fact(s, "now", "%s", *r.After)
	}
	if done.GoOn != "" {
		s.Line(render.Cell{Text: "to go on: " + done.GoOn, Tone: render.Strong})
	}
}

func doneText(steps []maintain.MemberStep) string {
	var texts []string
	for _, step := range steps {
		switch step.Action {
		case maintain.ActionMove:
			texts = append(texts, step.To+" leads")
		case maintain.ActionAdd:
			kind := "voter"
			if step.Learner {
				kind = "learner"
			}
			texts = append(texts, step.Member+" is added as a "+kind)
		case maintain.ActionPromote:
			texts = append(texts, step.Member+" is a voter")
		default:
			texts = append(texts, step.Member+" is removed")
		}
	}
	return strings.Join(texts, ", ")
}

// viewJoining shows how a member that was added gets to run.
func viewJoining(s *render.Screen, done membership) {
	if len(done.Next) > 0 {
		viewSteps(s, "next, on a node that has etcd's manifest, in this order:", done.Next)
	}
	if len(done.Machine) > 0 {
		title := "next, on a control plane node; what kubeadm prints there is to be run on the new machine, and adds its member:"
		if len(done.Next) > 0 {
			title = "or, on a control plane node; what kubeadm prints there is to be run on a new machine, takes the member over and promotes it:"
		}
		s.Line()
		s.Line(render.Cell{Text: title, Tone: render.Strong})
		for _, command := range done.Machine {
			s.Line(render.Cell{Text: "     " + command})
		}
	}
	if len(done.Environment) > 0 {
		s.Line()
		s.Line(render.Cell{Text: "anywhere else its etcd is started, with an empty data directory, by:", Tone: render.Strong})
		for _, line := range done.Environment {
			s.Line(render.Cell{Text: "  " + line})
		}
		if done.Promote != "" {
			s.Line(render.Cell{Text: "and gets its vote, also before it runs, by:"})
			s.Line(render.Cell{Text: "  " + done.Promote, Tone: render.Strong})
		}
	}
}

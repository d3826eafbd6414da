package cmd

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
)

// statusColumns go with memberRow. Hide: what a look in the night needs stays longest.
var statusColumns = []render.Column{
	{Title: "MEMBER", Min: 12},
	{Title: "NODE", Min: 8, Hide: 3},
	{Title: "ROLE"},
	{Title: "VERSION", Hide: 5},
	{Title: "STORAGE", Hide: 9},
	{Title: "DB SIZE", Right: true},
	{Title: "IN USE", Right: true, Hide: 4},
	{Title: "QUOTA", Right: true},
	{Title: "TERM", Right: true, Hide: 8},
	{Title: "INDEX", Right: true, Hide: 6},
	{Title: "APPLIED", Right: true, Hide: 7},
	{Title: "LAG", Right: true, Hide: 1},
	{Title: "LATENCY", Right: true, Hide: 2},
	{Title: "ALARMS"},
	{Title: "NAME", Wide: true},
	{Title: "ID", Wide: true},
	{Title: "REVISION", Right: true, Wide: true},
	{Title: "PEER URLS", Wide: true},
	{Title: "ERRORS", Below: true},
}

// viewStatus shows per cluster the rows, then the verdict, its reasons, and last the notes.
func viewStatus(s *render.Screen, clusters []clusterStatus) {
	for i, c := range clusters {
		if i > 0 {
			s.Line()
		}
		if len(clusters) > 1 {
			s.Line(render.Cell{Text: strings.TrimPrefix(c.Namespace+"/"+c.Cluster, "/"), Tone: render.Strong})
		}
		viewCluster(s, c)
	}
}

func viewCluster(s *render.Screen, c clusterStatus) {
	table := render.Table{Columns: statusColumns}
	for _, m := range c.Members {
		table.Rows = append(table.Rows, memberRow(s, m))
	}
	hidden := s.Table(table)
	s.Line()
	tone := levelTone(c.Verdict.Level)
	verdict := s.State(string(c.Verdict.Level), tone)
	s.Say(2, verdict, render.Cell{Text: ": " + c.Verdict.Summary, Tone: render.Strong})
	for _, reason := range c.Verdict.Reasons {
		s.Item(reason, render.Plain)
	}
	if has := c.Verdict.HasQuorum; has != nil && !*has {
		s.Line(render.Cell{Text: "next: start one more member; where none can be had: "},
			render.Cell{Text: recoveryCommand, Tone: render.Strong})
	}
	for _, note := range statusNotes(c, hidden) {
		s.Text(0, "note: "+note, render.Dim)
	}
}

func levelTone(level etcd.Level) render.Tone {
	switch level {
	case etcd.LevelOK:
		return render.Good
	case etcd.LevelWarning:
		return render.Warn
	}
	return render.Bad
}

// statusNotes are what a reader must know to read the figures rightly.
func statusNotes(c clusterStatus, hidden []string) []string {
	var notes []string
	if c.answers() > 1 {
		notes = append(notes, fmt.Sprintf("values were read at different moments (over %s)", render.Duration(c.Spread)))
	}
	if c.Disagree {
		notes = append(notes, "members do not list the same members, or belong to different clusters")
	}
	if c.Way == wayExec {
		notes = append(notes, "latency: not measured through exec")
	}
	if len(hidden) > 0 {
		notes = append(notes, hiddenText(hidden))
	}
	return append(notes, c.Notes...)
}

// memberRow has a cell per column of statusColumns.
func memberRow(s *render.Screen, m etcd.MemberView) []render.Cell {
	plain := func(text string) render.Cell { return render.Cell{Text: dash(text)} }
	name := m.Pod
	if name == "" {
		name = m.Name
	}
	row := []render.Cell{plain(name), plain(m.Node), memberRole(s, m)}
	row = append(row, statusCells(m)...)
	row = append(row, render.Cell{Text: dash(strings.Join(m.Alarms, ",")), Tone: render.Bad})
	row = append(row, wideCells(m)...)
	return append(row, render.Cell{Text: dash(memberErrors(m)), Tone: render.Bad})
}

// statusCells are VERSION to LATENCY.
func statusCells(m etcd.MemberView) []render.Cell {
	cells := slices.Repeat([]render.Cell{{Text: "-"}}, 10)
	st := m.Status
	if st == nil {
		return cells
	}
	latency, lag := "-", "-"
	if st.Latency > 0 {
		latency = render.Duration(st.Latency)
	}
	if m.Lag != nil {
		lag = strconv.FormatUint(*m.Lag, 10)
	}
	for i, text := range []string{
		st.Version, st.StorageVersion,
		render.Bytes(st.DBSize), render.Bytes(st.DBSizeInUse), render.Percent(st.DBSize, m.Quota),
		strconv.FormatUint(st.RaftTerm, 10), strconv.FormatUint(st.RaftIndex, 10), strconv.FormatUint(st.RaftApplied, 10),
		lag, latency,
	} {
		cells[i].Text = dash(text)
	}
	return cells
}

// wideCells are NAME to PEER URLS.
func wideCells(m etcd.MemberView) []render.Cell {
	var id, revision, peers string
	if m.Status != nil {
		id, revision = m.Status.MemberID.String(), strconv.FormatInt(m.Status.Revision, 10)
	}
	if m.Member != nil {
		id, peers = m.Member.ID.String(), strings.Join(m.Member.PeerURLs, ",")
	}
	return []render.Cell{{Text: dash(m.Name)}, {Text: dash(id)}, {Text: dash(revision)}, {Text: dash(peers)}}
}

// memberRole is what the member is in the raft group, and whether that is well.
func memberRole(s *render.Screen, m etcd.MemberView) render.Cell {
	st := m.Status
	switch {
	case st == nil && m.Member != nil && m.Member.Name == "":
		return s.State("unstarted", render.Dim)
	case st == nil:
		return s.State("no answer", render.Bad)
	case st.Leader == 0:
		return s.State("no leader", render.Bad)
	case st.Learner:
		return s.State("learner", memberTone(m))
	case st.Leader == st.MemberID:
		return s.State("leader", memberTone(m))
	}
	return s.State("follower", memberTone(m))
}

func memberTone(m etcd.MemberView) render.Tone {
	switch {
	case len(m.Alarms) > 0:
		return render.Bad
	case memberErrors(m) != "":
		return render.Warn
	}
	return render.Good
}

// memberErrors is our error and the server's own, in one line.
func memberErrors(m etcd.MemberView) string {
	var texts []string
	if m.Error != "" {
		texts = append(texts, m.Error)
	}
	if m.Status != nil {
		texts = append(texts, m.Status.Errors...)
	}
	return strings.Join(texts, "; ")
}

// hiddenText names the columns that a narrow terminal has no room for.
func hiddenText(hidden []string) string {
	return "no room for " + strings.Join(hidden, ", ") + ": -o wide"
}

// sayHidden says so where there are any.
func sayHidden(s *render.Screen, hidden []string) {
	if len(hidden) > 0 {
		s.Text(0, "note: "+hiddenText(hidden), render.Dim)
	}
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

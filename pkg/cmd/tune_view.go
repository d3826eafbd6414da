package cmd

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/tune"
)

// tuneColumns go with itemRow.
var tuneColumns = []render.Column{
	{Title: "FLAG"},
	{Title: "CURRENT", Min: 12},
	{Title: "SUGGESTED", Min: 12},
	{Title: "LEVEL"},
	{Title: "DEFAULT", Wide: true},
	{Title: "SOURCE", Wide: true},
	{Title: "REASON", Below: true},
}

var writeColumns = []render.Column{{Title: "MEMBERS", Right: true}, {Title: "CAN LOSE", Right: true}, {Title: "A WRITE TAKES", Right: true}, {Title: "NOTE"}}

// rttColumns go with viewRTTs.
var rttColumns = []render.Column{
	{Title: "FROM"}, {Title: "TO"}, {Title: "P50", Right: true}, {Title: "P99", Right: true}, {Title: "SAMPLES", Right: true}, {Title: "METHOD"}, {Title: "CONFIDENCE", Below: true},
}

var diskColumns = []render.Column{{Title: "MEMBER"}, {Title: "NODE"}, {Title: "ROLE"}, {Title: "FSYNC P99", Right: true}, {Title: "COMMIT P99", Right: true}, {Title: "WHY NOT", Below: true}}

// viewTune shows the answer, what was measured, and, where that is asked for, the settings,
// what a write takes, and how to get there; last the notes.
func viewTune(s *render.Screen, r tuneReport, suggest bool) {
	level := s.State(string(r.Level), adviceTone(r.Level))
	s.Say(2, level, render.Cell{Text: ": " + r.Summary, Tone: render.Strong})
	if sim := r.Simulated; sim != nil {
		s.Item(fmt.Sprintf("simulated: %d members as kubeadm starts them with etcd %s, round trip %s, fsync %s", sim.Members, sim.Version, render.Duration(sim.RTT), factText(sim.Fsync)), render.Plain)
	}
	for _, reason := range r.Reasons {
		s.Item(reason, render.Plain)
	}
	if e := r.Effects; e != nil {
		s.Item(effectsText(*r.Timing, *e), render.Plain)
	}
	viewRemoved(s, r)
	if r.Facts != nil {
		viewMeasured(s, *r.Facts)
	}
	notes := []string{"what to set, flag by flag: --suggest; every method's round trips: -o wide"}
	if suggest {
		notes = viewSuggestions(s, r)
	}
	s.Line()
	for _, note := range append(notes, r.Notes...) {
		s.Text(0, "note: "+note, render.Dim)
	}
}

// viewSuggestions returns what there was no room for.
func viewSuggestions(s *render.Screen, r tuneReport) []string {
	s.Line()
	left := viewItems(s, r.Items)
	s.Line()
	viewWrites(s, r.Writes)
	viewRestarts(s, r.Steps)
	if r.KubeadmPatch != "" {
		s.Line()
		s.Line(render.Cell{Text: "what is suggested, for kubeadm:", Tone: render.Strong})
		viewLines(s, "  ", r.KubeadmPatch)
	}
	return leftOutNotes(left)
}

func viewLines(s *render.Screen, indent, text string) {
	for line := range strings.Lines(text) {
		s.Line(render.Cell{Text: indent + strings.TrimSuffix(line, "\n")})
	}
}

// viewRemoved is a line a flag that the version in question does not have.
func viewRemoved(s *render.Screen, r tuneReport) {
	if r.ForVersion != "" && len(r.Removed) == 0 {
		text := "etcd " + r.ForVersion + " has every flag that is set"
		if r.Facts != nil && len(r.Facts.Members) == 0 {
			text = "which flags etcd " + r.ForVersion + " does not have is not known: no member is"
		}
		s.Item(text, render.Plain)
	}
	for _, m := range r.Removed {
		if m.Missing != "" {
			s.Item(fmt.Sprintf("%s: its flags are not known: %s", m.Member, m.Missing), render.Plain)
		}
		for _, f := range m.Flags {
			s.Item(fmt.Sprintf("%s: %s: %s", m.Member, f.Flag, f.Reason), adviceTone(f.Level))
		}
	}
}

// viewMeasured is who is how far from whom, and how fast the disks are.
func viewMeasured(s *render.Screen, f tune.Facts) {
	if len(f.RTTs) == 0 && len(f.Members) == 0 {
		return
	}
	s.Line()
	pairs := render.Table{Columns: rttColumns}
	shown := f.RTTs
	if !s.Wide {
		shown = tune.Best(shown)
	}
	for _, r := range shown {
		method, confidence := string(r.Method), r.Confidence+r.P50.Missing
		if s.TTY && confidence != "" && !strings.Contains(confidence, " ") { // "±700µs" needs no line of its own
			method, confidence = method+" "+confidence, ""
		}
		row := []render.Cell{{Text: r.From}, {Text: r.To}, {Text: latencyText(r.P50)}, {Text: latencyText(r.P99)}, {Text: strconv.Itoa(r.Samples)}, {Text: method}, {Text: dash(confidence)}}
		pairs.Rows = append(pairs.Rows, row)
	}
	if len(pairs.Rows) > 0 {
		s.Table(pairs)
		s.Line()
	}
	disks := render.Table{Columns: diskColumns}
	for _, m := range f.Members {
		role := map[bool]string{true: "leader", false: "follower"}[m.Leader]
		if m.Learner {
			role = "learner"
		}
		disks.Rows = append(disks.Rows, []render.Cell{{Text: m.Name}, {Text: dash(m.Node)}, {Text: role}, {Text: latencyText(m.Fsync)}, {Text: latencyText(m.Commit)}, {Text: dash(cmp.Or(m.Fsync.Missing, m.Commit.Missing))}})
	}
	s.Table(disks)
}

func adviceTone(level tune.Level) render.Tone {
	switch level {
	case tune.LevelKeep:
		return render.Good
	case tune.LevelUnknown:
		return render.Dim
	case tune.LevelCritical:
		return render.Bad
	}
	return render.Warn
}

// effectsText is what else an election timeout changes.
func effectsText(t tune.Timing, e tune.Effects) string {
	return fmt.Sprintf("election-timeout=%d: without a leader for %s to %s when it fails, a request fails after %s, a connection to a member after %s, no lease is shorter than %s",
		t.Election.Milliseconds(), render.Duration(e.FailoverMin), render.Duration(e.FailoverMax),
		render.Duration(e.RequestTimeout), render.Duration(e.PeerDialTimeout), render.Duration(e.MinLeaseTTL))
}

// viewItems shows what is to be done, and always the two that everything is about; with
// -o wide all. It returns the flags that it left out, by level.
func viewItems(s *render.Screen, items []tune.Item) (left map[tune.Level][]string) {
	table := render.Table{Columns: tuneColumns}
	left = map[tune.Level][]string{}
	for _, item := range items {
		timing := item.Flag == "heartbeat-interval" || item.Flag == "election-timeout"
		if quiet := item.Level == tune.LevelKeep || item.Level == tune.LevelUnknown; quiet && !timing && !s.Wide {
			left[item.Level] = append(left[item.Level], item.Flag)
			continue
		}
		table.Rows = append(table.Rows, itemRow(s, item))
	}
	s.Table(table)
	return left
}

func leftOutNotes(left map[tune.Level][]string) (notes []string) {
	if unknown := left[tune.LevelUnknown]; len(unknown) > 0 {
		notes = append(notes, "not known enough to judge (-o wide says why): "+strings.Join(unknown, ", "))
	}
	if kept := len(left[tune.LevelKeep]); kept > 0 {
		notes = append(notes, fmt.Sprintf("%d more flags are well as they are: -o wide", kept))
	}
	return notes
}

// itemRow has a cell per column of tuneColumns.
func itemRow(s *render.Screen, item tune.Item) []render.Cell {
	suggested := item.Suggested
	if suggested == "" {
		suggested = "-"
	}
	return []render.Cell{
		{Text: item.Flag}, {Text: currentText(item.Current)}, {Text: suggested},
		s.State(string(item.Level), adviceTone(item.Level)),
		{Text: dash(item.Default)}, {Text: item.Source}, {Text: item.Reason},
	}
}

// currentText names members only where they differ.
func currentText(current []tune.Current) string {
	var texts []string
	for _, c := range current {
		text := dash(c.Value)
		if c.Missing != "" {
			text = "?"
		}
		if c.Pending != nil {
			text += " (then " + dash(*c.Pending) + ")"
		}
		if len(current) > 1 {
			text = strings.Join(c.Members, ",") + ": " + text
		}
		texts = append(texts, text)
	}
	return dash(strings.Join(texts, "; "))
}

func viewWrites(s *render.Screen, writes []tune.WriteCost) {
	table := render.Table{Columns: writeColumns}
	for _, w := range writes {
		var note string
		switch {
		case w.Current:
			note = "now"
		case w.Latency.Value == nil:
		case w.Assumed > 0:
			note = fmt.Sprintf("%d more members, as far as the farthest", w.Assumed)
		}
		if w.Latency.Value == nil {
			note = strings.TrimPrefix(note+"; not measured: "+w.Latency.Missing, "; ")
		}
		table.Rows = append(table.Rows, []render.Cell{
			{Text: strconv.Itoa(w.Members)}, {Text: strconv.Itoa(w.CanLose)}, {Text: latencyText(w.Latency)}, {Text: note},
		})
	}
	s.Table(table)
}

func latencyText(f tune.Fact[time.Duration]) string {
	if f.Value == nil {
		return "?"
	}
	return render.Duration(*f.Value)
}

func factText(f tune.Fact[time.Duration]) string {
	if f.Value == nil {
		return "not measured"
	}
	return render.Duration(*f.Value)
}

const restartsTitle = "restart one member at a time, each back and well before the next:"

func viewRestarts(s *render.Screen, steps []tune.Step) {
	if len(steps) == 0 {
		return
	}
	s.Line()
	s.Line(render.Cell{Text: restartsTitle, Tone: render.Strong})
	for _, line := range restartLines(steps) {
		s.Item(line, render.Plain)
	}
	s.Text(0, "note: the leader is last; who that is may change with each restart: kubectl etcd status", render.Dim)
}

// restartLines are one for the members that get the same in the same pass.
func restartLines(steps []tune.Step) (lines []string) {
	for i := 0; i < len(steps); {
		first, names := steps[i], []string{}
		for ; i < len(steps) && steps[i].Pass == first.Pass && steps[i].Set == first.Set; i++ {
			names = append(names, steps[i].Member)
		}
		lines = append(lines, fmt.Sprintf("pass %d: %s: heartbeat-interval=%d, election-timeout=%d", first.Pass, strings.Join(names, ", "),
			first.Set.Heartbeat.Milliseconds(), first.Set.Election.Milliseconds()))
	}
	return lines
}

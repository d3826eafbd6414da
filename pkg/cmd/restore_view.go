package cmd

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/runbook"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
)

// viewFound lists the snapshots of a folder and the command that restores the last
// whole one: backup names them by time, so that is the newest.
func viewFound(s *render.Screen, files []found) error {
	if len(files) == 0 {
		s.Line(render.Cell{Text: "no snapshot (*.db) in this folder"})
		s.Line(render.Cell{Text: "take one:   kubectl etcd backup"})
		s.Line(render.Cell{Text: "or name it: kubectl etcd restore --from-file FILE --out-dir restored"})
		return nil
	}
	table := render.Table{Columns: []render.Column{
		{Title: "FILE", Min: 16}, {Title: "STATE"}, {Title: "SIZE", Right: true}, {Title: "REVISION", Right: true},
		{Title: "KEYS", Right: true, Hide: 1}, {Title: "VERSION", Hide: 2}, {Title: "WRITTEN", Hide: 3}, {Title: "ERRORS", Below: true},
	}}
	use := "FILE"
	for _, f := range files {
		info, err := os.Stat(f.Path)
		if err != nil {
			return fmt.Errorf("look at %s: %w", f.Path, err)
		}
		row := []render.Cell{
			{Text: f.Path}, s.State("unusable", render.Bad), {Text: render.Bytes(info.Size())}, {Text: "-"},
			{Text: "-"}, {Text: "-"}, {Text: render.Time(info.ModTime())}, {Text: dash(f.Error), Tone: render.Bad},
		}
		if snap := f.Snapshot; snap != nil {
			row[1] = s.State("whole", render.Good)
			row[3].Text = strconv.FormatInt(snap.Contents.Revision, 10)
			row[4].Text = strconv.FormatInt(snap.Contents.Keys, 10)
			row[5].Text = dash(snap.Version)
			use = f.Path
		}
		table.Rows = append(table.Rows, row)
	}
	sayHidden(s, s.Table(table))
	s.Line()
	s.Line(render.Cell{Text: "one folder per member:"})
	s.Line(render.Cell{Text: "  " + restoreCommand(use), Tone: render.Strong})
	s.Line(render.Cell{Text: "exactly one member:"})
	s.Line(render.Cell{Text: "  kubectl etcd restore --from-file " + runbook.Quote(use) + " --data-dir DIR --member NAME", Tone: render.Strong})
	return nil
}

// viewPlan says what would be done, of what, and where.
func viewPlan(s *render.Screen, p *restore.Plan) {
	s.Line(render.Cell{Text: "plan: restore " + p.Snapshot.Path, Tone: render.Strong})
	viewSource(s, p)
	for _, t := range p.Build {
		fact(s, "make", "%s for %s (%s)", t.Dir, t.Name, strings.Join(t.PeerURLs, ","))
	}
	fact(s, "disk", "needs up to %s", render.Bytes(p.DiskBytes))
	viewWarnings(s, p)
	s.Line(render.Cell{Text: "nothing was written; without --dry-run it is done", Tone: render.Dim})
}

// viewSource is what plan and report have in common.
func viewSource(s *render.Screen, p *restore.Plan) {
	c := p.Snapshot.Contents
	fact(s, "snapshot", "%s, revision %d, %d keys, etcd %s", render.Bytes(p.Snapshot.Size), c.Revision, c.Keys, dash(p.Snapshot.Version))
	if p.Bump > 0 {
		from := ""
		if newest := p.NewRevision - p.Bump; newest != int64(c.Revision) {
			from = fmt.Sprintf(" above %d, the newest that is known", newest)
		}
		fact(s, "revision", "%d, raised by %d%s; all before is marked compacted", p.NewRevision, p.Bump, from)
	} else {
		fact(s, "revision", "%d, as in the snapshot", c.Revision)
	}
	if p.TargetVersion != "" {
		fact(s, "for etcd", "%s", p.TargetVersion)
	}
	if n := len(p.Snapshot.Alarms); n > 0 {
		what := "kept: --clear-alarms leaves them out"
		if p.ClearAlarms {
			what = "left out"
		}
		fact(s, "alarms", "%d, %s", n, what)
	}
	var names []string
	for _, m := range p.Members {
		names = append(names, m.Name)
	}
	fact(s, "members", "%s", strings.Join(names, ", "))
	fact(s, "token", "%s", p.Token)
}

func viewWarnings(s *render.Screen, p *restore.Plan) {
	for _, warning := range p.Warnings {
		s.Say(2, s.State("warning", render.Warn), render.Cell{Text: ": " + warning})
	}
}

// viewRestore is what was made, whether it is proven, and the command line that uses
// each directory.
func viewRestore(s *render.Screen, r restored) {
	what := "data directories"
	if len(r.Built) == 1 {
		what = "data directory"
	}
	s.Say(2, s.State("ok", render.Good), render.Cell{
		Text: fmt.Sprintf(": %d %s out of %s in %s", len(r.Built), what, r.Plan.Snapshot.Path, render.Duration(r.Duration)),
		Tone: render.Strong,
	})
	viewSource(s, &r.Plan)
	if r.Made != nil {
		viewMade(s, r.Made)
	}
	if r.Salvaged != nil {
		viewSalvaged(s, r.Salvaged)
	}
	if r.Newest > 0 { // out of an archive
		viewLoss(s, r.Undone, segment.Revision(r.Made.Moment.Revision), segment.Revision(r.Newest))
	}
	if r.Proven {
		fact(s, "checked", "the keys of what was made hash to %d, as in the snapshot", r.HashKV)
	} else {
		s.Say(2, s.State("not proven", render.Warn), render.Cell{Text: ": the result's hash was not compared with the snapshot's"})
	}
	viewWarnings(s, &r.Plan)
	for _, b := range r.Built {
		s.Line()
		s.Line(render.Cell{Text: b.Name, Tone: render.Strong}, render.Cell{Text: "  " + b.Dir})
		s.Line(render.Cell{Text: "  " + shellJoin(b.Command)})
	}
	viewOthers(s, r)
	viewSteps(s, "next, on a kubeadm cluster, in this order:", r.Next)
	if r.Plan.Snapshot.Contents.Partial && len(r.Next) == 0 && r.Plan.Complete() {
		s.Line()
		s.Text(0, "note: the snapshot is of an etcd beside the main one, as that of the events. Don't put it in main's place: "+
			"the steps are printed with --live --etcd NAME, which asks the running cluster where that etcd is", render.Plain)
	}
}

// viewOthers is how the members are made that were not.
func viewOthers(s *render.Screen, r restored) {
	if len(r.Others) > 0 {
		s.Line()
		s.Line(render.Cell{Text: "the other members; each may go to another folder, all else must stay as it is:", Tone: render.Strong})
		for _, other := range r.Others {
			s.Line(render.Cell{Text: "  " + shellJoin(other.Command)})
		}
	}
	if !r.Plan.Complete() && r.Plan.Snapshot.Contents.Kubernetes {
		s.Line()
		s.Line(render.Cell{Text: "the steps put all members in place together, and are printed where all are made at once:"})
		s.Line(render.Cell{Text: "  --out-dir DIR, without --member"})
	}
}

// viewSteps prints the way to a running cluster. Commands stand alone on their lines,
// uncut, to be copied.
func viewSteps(s *render.Screen, title string, steps []runbook.Step) {
	if len(steps) == 0 {
		return
	}
	s.Line()
	s.Line(render.Cell{Text: title, Tone: render.Strong})
	for i, step := range steps {
		s.Line()
		s.Line(render.Cell{Text: fmt.Sprintf("%d. %s", i+1, step.Title), Tone: render.Strong}, render.Cell{Text: " (" + step.Where + ")"})
		if step.Why != "" {
			s.Text(3, step.Why, render.Dim)
		}
		for _, command := range step.Commands {
			for _, line := range strings.Split(command, "\n") {
				s.Line(render.Cell{Text: "     " + line})
			}
		}
		if step.Check != "" {
			s.Text(3, "check: "+step.Check, render.Plain)
		}
	}
}

// shellJoin is argv as it is typed.
func shellJoin(argv []string) string {
	words := make([]string, len(argv))
	for i, word := range argv {
		words[i] = runbook.Quote(word)
	}
	return strings.Join(words, " ")
}

// viewSalvaged says how far the log went beyond the database, and what is not sure of it.
func viewSalvaged(s *render.Screen, r *restore.Salvaged) {
	fact(s, "salvaged", "the database went to revision %d, its log to %d: %d entries applied", r.Database, r.Revision, r.Entries)
	if r.Beyond > 0 {
		fact(s, "", "%d of them this member had not heard to be committed; among them are writes that others acknowledged, and perhaps some that never were", r.Beyond)
	}
	if r.Left > 0 {
		fact(s, "left out", "%d entries after that revision", r.Left)
	}
}

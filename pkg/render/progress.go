package render

import (
	"fmt"
	"io"
	"time"

	"github.com/cheggaaa/pb/v3"
)

// Progress shows how far something is: a bar on a terminal, else a line every 10 %
// (every 256 MiB where the whole is unknown). It is used from one goroutine.
type Progress struct {
	w        io.Writer
	terminal Terminal
	label    string
	bar      *pb.ProgressBar
	drawn    time.Time
	step     int64 // the last tenth, or 256 MiB, that a line was written for
}

// unknownStep is how often a line is written when the whole is unknown.
const unknownStep = 256 << 20

// barTemplate: "%[1]s" is pb's form for an unknown whole, which gets both numbers.
const barTemplate = `{{string . "label"}} {{counters . "%s of %s" "%[1]s"}} {{if gt .Total 0}}{{bar . "[" "=" ">" " " "]"}} {{percent . "%.0f%%"}} {{end}}{{speed . "%s/s" " "}}{{if gt .Total 0}} {{rtime . "%s left" " " " "}}{{end}}`

// NewProgress makes one; nothing is shown before the first Set.
func NewProgress(w io.Writer, terminal Terminal, label string) *Progress {
	return &Progress{w: w, terminal: terminal, label: label}
}

// Set shows done of total bytes; total 0 is unknown. Going back starts anew.
func (p *Progress) Set(done, total int64) {
	if p.terminal.TTY && !p.terminal.Dumb {
		p.draw(done, total)
		return
	}
	step := done / unknownStep
	if total > 0 {
		step = done * 10 / total
	}
	if step <= p.step {
		p.step = step
		return
	}
	p.step = step
	if total > 0 {
		_, _ = fmt.Fprintf(p.w, "%s: %d%% (%s of %s)\n", p.label, step*10, Bytes(done), Bytes(total))
		return
	}
	_, _ = fmt.Fprintf(p.w, "%s: %s\n", p.label, Bytes(done))
}

// draw writes the bar at most ten times a second. The bar is static: it has no
// goroutine that could write after Done.
func (p *Progress) draw(done, total int64) {
	if p.bar == nil {
		p.bar = pb.New64(total).SetTemplateString(barTemplate).SetWriter(p.w)
		p.bar.Set("label", p.label).Set(pb.Static, true).Set(pb.Terminal, true).
			Set(pb.ReturnSymbol, "\r").Set(pb.Bytes, true).SetWidth(p.terminal.Width)
		p.bar.Start()
	}
	p.bar.SetTotal(total).SetCurrent(done)
	if now := time.Now(); now.Sub(p.drawn) >= 100*time.Millisecond || done == total {
		p.drawn = now
		p.bar.Write()
	}
}

// Say writes a line without breaking the bar.
func (p *Progress) Say(text string) {
	p.Done()
	_, _ = fmt.Fprintln(p.w, clean(text))
}

// Done takes the bar away.
func (p *Progress) Done() {
	if p.bar == nil {
		return
	}
	p.bar.Finish()
	p.bar, p.drawn = nil, time.Time{}
	_, _ = io.WriteString(p.w, "\r\x1b[2K")
}

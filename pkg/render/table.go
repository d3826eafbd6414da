package render

import (
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// gap is what stands between columns; kubectl's own tables use three, two is enough
// for awk -F '  +'.
const gap = 2

// Column describes one column of a Table.
type Column struct {
	Title string
	Right bool // align right: numbers
	Hide  int  // where the terminal is too narrow, the highest is hidden first; 0: never
	Min   int  // may be cut to so many cells on a terminal; 0: never cut
	Wide  bool // only with Screen.Wide
	// Below: on a terminal where it doesn't fit, the text goes below its row.
	Below bool
}

// Table is rows under titles. Every row has a cell per column.
type Table struct {
	Columns []Column
	Rows    [][]Cell
}

// layout is how a table is shown on one screen.
type layout struct {
	shown  []int       // indexes of columns
	widths map[int]int // by index
	below  []int
}

// Table adds a table. On a terminal it fits the width: texts that can go below their
// rows do, then columns are hidden (empty ones first), then cut. The titles of the
// hidden columns that say something are returned. Wide hides and cuts nothing; a pipe gets
// everything in its row.
func (s *Screen) Table(t Table) (hidden []string) {
	l := t.measure(s.Wide || !s.TTY, s.Wide)
	switch {
	case !s.TTY || s.Width == 0:
	case s.Wide:
		l.moveBelow(t, s.Width)
	default:
		hidden = l.fit(t, s.Width)
	}
	titles := make([]Cell, len(t.Columns))
	for i, c := range t.Columns {
		titles[i] = Cell{c.Title, Strong}
	}
	s.row(t, l, titles)
	for _, row := range t.Rows {
		s.row(t, l, row)
		for _, i := range l.below {
			if text := clean(row[i].Text); !blank(text) {
				s.Text(4, text, row[i].Tone)
			}
		}
	}
	return hidden
}

// measure gives every column its natural width. all keeps empty columns that go
// below; wide includes the columns of -o wide.
func (t Table) measure(all, wide bool) layout {
	l := layout{widths: map[int]int{}}
	for i, c := range t.Columns {
		switch {
		case c.Wide && !wide:
			continue
		case c.Below && !all && t.empty(i):
			continue
		}
		l.shown = append(l.shown, i)
		l.widths[i] = ansi.StringWidth(c.Title)
		for _, row := range t.Rows {
			l.widths[i] = max(l.widths[i], ansi.StringWidth(clean(row[i].Text)))
		}
	}
	return l
}

func (l *layout) total() int {
	sum := gap * (len(l.shown) - 1)
	for _, i := range l.shown {
		sum += l.widths[i]
	}
	return sum
}

// fit makes the layout no wider than width.
func (l *layout) fit(t Table, width int) (hidden []string) {
	l.moveBelow(t, width)
	var dropped []int
	for i := l.leastWanted(t); i >= 0 && l.total() > width; i = l.leastWanted(t) {
		dropped = append(dropped, i)
		l.drop(i)
	}
	for l.total() > width && l.cut(t, width) {
	}
	slices.Sort(dropped)
	for _, i := range dropped {
		if !t.empty(i) {
			hidden = append(hidden, t.Columns[i].Title)
		}
	}
	return hidden
}

func (l *layout) moveBelow(t Table, width int) {
	for _, i := range slices.Clone(l.shown) {
		if t.Columns[i].Below && l.total() > width {
			l.drop(i)
			l.below = append(l.below, i)
		}
	}
}

// leastWanted is the column to hide next: an empty one, else the highest Hide; -1: none.
func (l *layout) leastWanted(t Table) int {
	best, bestRank := -1, 0
	for _, i := range l.shown {
		rank := t.Columns[i].Hide
		if rank > 0 && t.empty(i) {
			rank += 1000
		}
		if rank > bestRank {
			best, bestRank = i, rank
		}
	}
	return best
}

// cut takes cells from the widest column that has some to give.
func (l *layout) cut(t Table, width int) bool {
	widest := -1
	for _, i := range l.shown {
		room := l.widths[i] - t.Columns[i].Min
		if t.Columns[i].Min > 0 && room > 0 && (widest < 0 || l.widths[i] > l.widths[widest]) {
			widest = i
		}
	}
	if widest < 0 {
		return false
	}
	l.widths[widest] = max(t.Columns[widest].Min, l.widths[widest]-(l.total()-width))
	return true
}

func (l *layout) drop(i int) {
	l.shown = slices.DeleteFunc(l.shown, func(other int) bool { return other == i })
}

// empty: no row says anything in that column.
func (t Table) empty(column int) bool {
	return !slices.ContainsFunc(t.Rows, func(row []Cell) bool { return !blank(row[column].Text) })
}

func blank(text string) bool { return text == "" || text == "-" }

// tone is Plain for a cell that says nothing.
func tone(c Cell) Tone {
	if blank(c.Text) {
		return Plain
	}
	return c.Tone
}

// row adds one line; nothing trails after its last text.
func (s *Screen) row(t Table, l layout, cells []Cell) {
	var line strings.Builder
	pending := 0
	for n, i := range l.shown {
		if n > 0 {
			pending += gap
		}
		text := clean(cells[i].Text)
		if s.TTY && ansi.StringWidth(text) > l.widths[i] {
			text = ansi.Truncate(text, l.widths[i], s.look.cut)
		}
		pad := l.widths[i] - ansi.StringWidth(text)
		if t.Columns[i].Right {
			pending, pad = pending+pad, 0
		}
		if text != "" {
			line.WriteString(strings.Repeat(" ", pending))
			line.WriteString(s.look.paint(text, tone(cells[i])))
			pending = 0
		}
		pending += pad
	}
	s.buf.WriteString(line.String())
	s.buf.WriteByte('\n')
}

package render

import (
	"bytes"
	"io"
	"strings"
	"unicode"

	"github.com/charmbracelet/x/ansi"
)

// Screen collects a view and writes it in one piece. Texts may come from a server:
// control characters in them never reach the terminal.
type Screen struct {
	Terminal
	// Wide shows everything, whatever the width (-o wide).
	Wide bool

	w    io.Writer
	buf  bytes.Buffer
	look theme
}

// NewScreen makes a view for w as terminal describes it.
func NewScreen(w io.Writer, terminal Terminal) *Screen {
	return &Screen{Terminal: terminal, w: w, look: newTheme(terminal)}
}

// Cell is a text with a tone.
type Cell struct {
	Text string
	Tone Tone
}

// State is a word with its tone's symbol before it; on a pipe the word alone, so
// that it stays one field.
func (s *Screen) State(word string, tone Tone) Cell {
	if symbol := s.look.symbols[tone]; s.TTY && symbol != "" {
		word = symbol + " " + word
	}
	return Cell{Text: word, Tone: tone}
}

// Line adds one line out of cells; it is never wrapped or cut: what stands in it may be a
// command to be copied.
func (s *Screen) Line(cells ...Cell) {
	for _, c := range cells {
		s.buf.WriteString(s.look.paint(clean(c.Text), c.Tone))
	}
	s.buf.WriteByte('\n')
}

// Say is Line for a sentence: on a terminal that is too narrow it goes on below, indented.
func (s *Screen) Say(indent int, cells ...Cell) {
	var line strings.Builder
	for _, c := range cells {
		line.WriteString(s.look.paint(clean(c.Text), c.Tone))
	}
	text := line.String()
	if s.TTY && s.Width > indent+20 && ansi.StringWidth(text) > s.Width {
		first, _, _ := strings.Cut(wrap(text, s.Width), "\n")
		rest := wrap(strings.TrimPrefix(text[len(first):], " "), s.Width-indent)
		text = first + "\n" + strings.Repeat(" ", indent) + strings.ReplaceAll(rest, "\n", "\n"+strings.Repeat(" ", indent))
	}
	s.buf.WriteString(text)
	s.buf.WriteByte('\n')
}

// Text adds a paragraph, indented; on a terminal it is wrapped at words.
func (s *Screen) Text(indent int, text string, tone Tone) {
	text = clean(text)
	if s.TTY && s.Width > indent+20 {
		text = wrap(text, s.Width-indent)
	}
	for _, line := range strings.Split(text, "\n") {
		s.buf.WriteString(strings.Repeat(" ", indent))
		s.buf.WriteString(s.look.paint(strings.TrimRight(line, " "), tone))
		s.buf.WriteByte('\n')
	}
}

// wrap breaks text between words, and a word only where no line holds it: a hyphen is no place
// to break, for a flag begins with two (ansi.Wrap breaks behind each).
func wrap(text string, width int) string {
	var b strings.Builder
	column := 0
	for i, word := range strings.Split(text, " ") {
		cells := ansi.StringWidth(word)
		switch {
		case i == 0:
		case column+1+cells <= width:
			b.WriteByte(' ')
			column++
		default:
			b.WriteByte('\n')
			column = 0
		}
		b.WriteString(ansi.Hardwrap(word, width, true))
		if column += cells; column > width {
			column = (column-1)%width + 1
		}
	}
	return b.String()
}

// Item is Text with a bullet before it.
func (s *Screen) Item(text string, tone Tone) {
	start := s.buf.Len()
	s.Text(4, text, tone)
	copy(s.buf.Bytes()[start:], "  ")
	rest := append([]byte("  "+s.look.dot+" "), s.buf.Bytes()[start+4:]...)
	s.buf.Truncate(start)
	s.buf.Write(rest)
}

// Term is a name and what it means, which begins in column at and stays right of it.
func (s *Screen) Term(indent, at int, name, text string) {
	start := s.buf.Len()
	s.Text(indent+at, text, Plain)
	copy(s.buf.Bytes()[start+indent:start+indent+at], name)
}

// Redraw makes Flush clear the terminal first.
func (s *Screen) Redraw() {
	if s.TTY && !s.Dumb {
		s.buf.WriteString("\x1b[H\x1b[2J")
	}
}

// Flush writes what was collected.
func (s *Screen) Flush() error {
	_, err := s.buf.WriteTo(s.w)
	return err
}

// Clean keeps text's lines and takes every other control character out, escape
// sequences whole: for what is written without a Screen.
func Clean(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = clean(line)
	}
	return strings.Join(lines, "\n")
}

// clean makes text one line without control characters.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r):
			return -1
		}
		return r
	}, ansi.Strip(text))
}

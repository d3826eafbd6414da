// Command svg draws what a terminal shows: it reads the bytes that a command wrote to a
// terminal on standard input, and writes an SVG to standard output.
//
// Its one idea: every run of one look gets its own place and length in cells, so that columns
// stand in line whatever font the reader has; none is embedded.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"html"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

func main() {
	command := flag.String("command", "", "the command line, shown behind a prompt and as the picture's title")
	flag.Parse()
	output, err := io.ReadAll(os.Stdin)
	if err == nil {
		err = draw(os.Stdout, *command, string(output))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// All in pixels.
const (
	cell    = 8.4
	leading = 18
	margin  = 16
	size    = 14
)

// head is the panel: dark, with a border, to be read on a light page and on a dark one. The
// palette is a terminal's 16 colours, as far as they are used.
const head = `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%d" viewBox="0 0 %[1]f %[2]d" role="img">
<title>%s</title>
<style>
text { font: %dpx ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace; fill: #d0d7de; white-space: pre }
.b { font-weight: bold; fill: #ffffff }
.f { fill: #8b949e }
.c31 { fill: #ff7b72 }
.c32 { fill: #56d364 }
.c33 { fill: #e3b341 }
</style>
<rect x="0.5" y="0.5" width="%.0f" height="%d" rx="8" fill="#0d1117" stroke="#57606a"/>
`

// draw writes the picture of one command and what it showed.
func draw(w io.Writer, command, output string) error {
	lines := [][]run{{{text: "$ ", class: "f"}, {text: command, class: "b"}}}
	for line := range strings.Lines(strings.TrimRight(output, "\r\n")) {
		runs, err := split(strings.TrimRight(line, "\r\n"))
		if err != nil {
			return err
		}
		lines = append(lines, runs)
	}
	cells := 0
	for _, line := range lines {
		cells = max(cells, width(line))
	}
	wide, high := 2*margin+cell*float64(cells), 2*margin+leading*len(lines)
	var b bytes.Buffer
	fmt.Fprintf(&b, head, wide, high, html.EscapeString(command), size, wide-1, high-1)
	for i, line := range lines {
		drawLine(&b, line, margin+leading*i+size)
	}
	b.WriteString("</svg>\n")
	_, err := b.WriteTo(w)
	return err
}

// drawLine leaves out the blanks: what follows has a place of its own.
func drawLine(b *bytes.Buffer, line []run, y int) {
	column := 0
	for _, r := range line {
		for _, at := range words.FindAllStringIndex(r.text, -1) {
			word := r.text[at[0]:at[1]]
			x := margin + cell*float64(column+ansi.StringWidth(r.text[:at[0]]))
			fmt.Fprintf(b, `<text x="%.1f" y="%d" textLength="%.1f"`, x, y, cell*float64(ansi.StringWidth(word)))
			if r.class != "" {
				fmt.Fprintf(b, ` class="%s"`, r.class)
			}
			fmt.Fprintf(b, ">%s</text>\n", html.EscapeString(word))
		}
		column += ansi.StringWidth(r.text)
	}
}

// run is a piece of a line in one look.
type run struct{ text, class string }

func width(line []run) (cells int) {
	for _, r := range line {
		cells += ansi.StringWidth(r.text)
	}
	return cells
}

var (
	// words are what two blanks tell apart: the texts of a table's cells.
	words = regexp.MustCompile(`\S+( \S+)*`)
	look  = regexp.MustCompile(`\x1b\[([0-9;]*)m`)
)

// split refuses what is no look: a picture shows what stays, not what moves.
func split(line string) (runs []run, err error) {
	class, from := "", 0
	for _, at := range look.FindAllStringSubmatchIndex(line, -1) {
		runs = append(runs, run{line[from:at[0]], class})
		class, from = classOf(line[at[2]:at[3]], class), at[1]
	}
	runs = append(runs, run{line[from:], class})
	if strings.ContainsRune(look.ReplaceAllString(line, ""), '\x1b') {
		return nil, fmt.Errorf("draw %q: it has escape sequences besides colours", line)
	}
	return runs, nil
}

// classOf is what an SGR sequence makes of a class; a colour is plainer than bold's white.
func classOf(codes, class string) string {
	for _, code := range strings.Split(codes, ";") {
		switch code {
		case "", "0":
			class = ""
		case "1":
			class = strings.TrimSpace("b " + class)
		case "2":
			class = strings.TrimSpace("f " + class)
		default:
			class = strings.TrimSpace(class + " c" + code)
		}
	}
	return class
}

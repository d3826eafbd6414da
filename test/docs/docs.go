// Package docs reads the command lines out of this project's pages, so that tests can hold
// each against the program, the Makefile and the tests.
//
// Its one idea: what begins a line of a fenced block is typed as it stands, and has to run; any
// other code that names a command only speaks of it, and has to be right.
package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Line is one command line of a page.
type Line struct {
	Page   string // "docs/rbac.md"
	Number int    // of its line, from 1
	// Text begins with "kubectl etcd", "kubectl-etcd", "make", "go test" or "go run", and has
	// neither prompt nor comment.
	Text string
	// Typed: it is a command of ours that stands at the beginning of a fenced line.
	Typed bool
}

// Plugin tells that it is a command line of the program itself.
func (l Line) Plugin() bool {
	return strings.HasPrefix(l.Text, "kubectl etcd") || strings.HasPrefix(l.Text, "kubectl-etcd")
}

// Lines are those of README.md, CONTRIBUTING.md and docs/*.md below root, but for what is
// made from the help (docs/commands.md), which examples hold. names are the program's
// commands: code that begins with one and has a flag, as `backup --follow`, is a line, too.
func Lines(root string, names ...string) ([]Line, error) {
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		return nil, err
	}
	var lines []Line
	for _, path := range append([]string{filepath.Join(root, "README.md"), filepath.Join(root, "CONTRIBUTING.md")}, pages...) {
		page, err := filepath.Rel(root, path)
		if err != nil {
			return nil, err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if page = filepath.ToSlash(page); page != "docs/commands.md" {
			lines = append(lines, (&reader{page: page, names: names}).read(string(text))...)
		}
	}
	return lines, nil
}

// walked are pages whose fenced commands have a test of their own that runs them in order.
var walked = []string{"docs/recovery.md"} // TestRecovery

// reader goes through a page.
type reader struct {
	page   string
	names  []string
	number int
	lines  []Line
}

func (r *reader) read(page string) []Line {
	var block []string
	fenced := false
	for text := range strings.Lines(page) {
		r.number++
		switch text = strings.TrimRight(text, "\n"); {
		case strings.HasPrefix(text, "```"):
			if fenced {
				r.fence(block)
			}
			fenced, block = !fenced, nil
		case fenced:
			block = append(block, text)
		default:
			r.prose(text)
		}
	}
	return r.lines
}

const prompt = "$ "

// fence reads a block whose last line is the one before r.number. With prompts in it the rest
// is output.
func (r *reader) fence(block []string) {
	prompts := slices.ContainsFunc(block, func(s string) bool { return strings.HasPrefix(s, prompt) })
	first := r.number - len(block)
	for i, text := range block {
		typed, prompted := strings.CutPrefix(text, prompt)
		typed = uncomment(typed)
		if (prompted || !prompts) && (Line{Text: typed}).Plugin() {
			r.lines = append(r.lines, Line{r.page, first + i, typed, !slices.Contains(walked, r.page)})
			continue
		}
		r.mentions(first+i, uncomment(strings.TrimLeft(text, " ")))
	}
}

var code = regexp.MustCompile("`([^`]+)`")

// prose reads the code within a line of text.
func (r *reader) prose(text string) {
	for _, span := range code.FindAllStringSubmatch(text, -1) {
		if word, _, more := strings.Cut(span[1], " "); more && slices.Contains(r.names, word) && strings.Contains(span[1], " -") {
			r.lines = append(r.lines, Line{Page: r.page, Number: r.number, Text: "kubectl etcd " + span[1]})
			continue
		}
		r.mentions(r.number, span[1])
	}
}

// command is where a command begins, wherever it stands.
var command = regexp.MustCompile(`(?:^|[\s(])(kubectl[ -]etcd|make|go test|go run)(?:\s|$)`)

// mentions are the commands within text, each as far as the next one, or a parenthesis's end.
func (r *reader) mentions(number int, text string) {
	for {
		at := command.FindStringSubmatchIndex(text)
		if at == nil {
			return
		}
		text = text[at[2]:]
		end := len(text)
		if next := command.FindStringSubmatchIndex(text[1:]); next != nil {
			end = next[2] + 1
		}
		if i := strings.IndexByte(text, ')'); i >= 0 {
			end = min(end, i)
		}
		r.lines = append(r.lines, Line{Page: r.page, Number: number, Text: strings.Trim(text[:end], " ,(")})
		text = text[end:]
	}
}

// uncomment cuts what follows a # or, as in a list of commands, two blanks.
func uncomment(text string) string {
	for _, mark := range []string{" #", "  "} {
		text, _, _ = strings.Cut(text, mark)
	}
	return strings.TrimRight(text, " ")
}

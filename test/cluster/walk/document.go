//go:build unix

package walk

import (
	"regexp"
	"strings"
)

var (
	// fence opens a block of commands: "```sh node0 node1" has the nodes behind the language.
	fence   = regexp.MustCompile("^```sh((?: [a-z0-9-]+)+)$")
	heading = regexp.MustCompile(`^#+ (.*)$`)
	// printedTitle is a step as a person sees it: "3. See that they have stopped (node node0)".
	printedTitle = regexp.MustCompile(`^(\d+)\. (.*) \(([^()]*)\)$`)
)

// PrintedSteps is the step in a document's place for what the command before it printed.
const PrintedSteps = "printed"

// Document takes the steps out of a Markdown text: each block of commands that says on which
// nodes, a line a command, and PrintedSteps for each "<!-- the printed steps -->".
func Document(text string) (steps []Step) {
	title, inside := "", false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		opening, head := fence.FindStringSubmatch(line), heading.FindStringSubmatch(line)
		switch {
		case inside && line == "```":
			inside = false
		case inside:
			last := &steps[len(steps)-1]
			last.Commands = append(last.Commands, line)
		case opening != nil:
			nodes := strings.Fields(opening[1])
			steps = append(steps, Step{ID: title, Title: title, Where: strings.Join(nodes, ", "), On: nodes})
			inside = true
		case line == "<!-- the printed steps -->":
			steps = append(steps, Step{ID: PrintedSteps})
		case head != nil:
			title = head[1]
		}
	}
	return steps
}

// Printed takes the steps out of what a command printed for a person: nodes are all of the
// cluster's, for those that are to be done on every one.
func Printed(text string, nodes []string) (steps []Step) {
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		command, indented := strings.CutPrefix(line, "     ")
		title := printedTitle.FindStringSubmatch(line)
		switch {
		case title != nil:
			steps = append(steps, Step{
				ID: title[1], Title: title[2], Where: title[3], On: placed(title[3], nodes),
				Later: strings.HasPrefix(title[2], "Later"),
			})
		case indented && len(steps) > 0:
			last := &steps[len(steps)-1]
			last.Commands = append(last.Commands, command)
		}
	}
	return steps
}

// placed are the nodes that a step's "(…)" means; none: here.
func placed(where string, nodes []string) (on []string) {
	if strings.HasPrefix(where, "every ") {
		return nodes
	}
	for _, word := range strings.Split(where, ", ") {
		if name, ok := strings.CutPrefix(word, "node "); ok {
			on = append(on, name)
		}
	}
	return on
}

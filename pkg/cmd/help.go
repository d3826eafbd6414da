package cmd

import (
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
)

// helpWidth is as wide as help is ever written; a narrower terminal gets it narrower.
const helpWidth = 100

// helpScreen is the paper for help: a pipe gets what docs/commands.md has.
func (s *session) helpScreen(w io.Writer) *render.Screen {
	s.colors, _ = render.ParseColor(s.color) // --help comes before the flags are looked at
	screen := s.screenOn(w)
	if screen.Width == 0 || screen.Width > helpWidth {
		screen.Width = helpWidth
	}
	return screen
}

// writeHelp is every command's help: what it does, how it is typed, its flags by what
// they are about, and always the exit codes.
func writeHelp(s *render.Screen, c *cobra.Command) {
	about := c.Long
	if about == "" {
		about = c.Short + "."
	}
	writeParagraphs(s, about)
	title(s, "Usage")
	s.Line(render.Cell{Text: "  " + usageLine(c)})
	if c.Example != "" {
		title(s, "Examples")
		writeLines(s, strings.TrimRight(c.Example, "\n"))
	}
	writeCommands(s, c)
	if c.HasParent() {
		writeFlags(s, c)
	} else {
		s.Line(render.Cell{Text: "When quorum is lost: " + recoveryCommand})
	}
	title(s, "Exit codes")
	writeLines(s, strings.TrimRight(exitCodesHelp, "\n"))
	s.Line()
	s.Text(0, "kubectl's own flags (--context, --kubeconfig, -n, …) go after the command; all of them: "+commandName+" options", render.Plain)
}

func title(s *render.Screen, text string) {
	s.Line()
	s.Line(render.Cell{Text: text + ":", Tone: render.Strong})
}

// writeLines writes text as it stands; a line of an example that is no command stands back.
func writeLines(s *render.Screen, text string) {
	for _, line := range strings.Split(text, "\n") {
		tone := render.Plain
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			tone = render.Dim
		}
		s.Line(render.Cell{Text: line, Tone: tone})
	}
}

// writeParagraphs breaks the lines anew on a terminal: they were broken for helpWidth.
func writeParagraphs(s *render.Screen, text string) {
	if !s.TTY {
		writeLines(s, text)
		return
	}
	for i, paragraph := range strings.Split(text, "\n\n") {
		if i > 0 {
			s.Line()
		}
		s.Text(0, paragraph, render.Plain)
	}
}

func usageLine(c *cobra.Command) string {
	if c.HasParent() && !c.HasAvailableSubCommands() {
		return c.UseLine()
	}
	return c.CommandPath() + " COMMAND [flags]"
}

func writeCommands(s *render.Screen, c *cobra.Command) {
	if !c.HasAvailableSubCommands() {
		return
	}
	rest, longest := "More", 0
	if len(c.Groups()) == 0 {
		rest = "Commands"
	}
	for _, child := range c.Commands() {
		if child.IsAvailableCommand() {
			longest = max(longest, len(child.Name()))
		}
	}
	for _, group := range append(c.Groups(), &cobra.Group{Title: rest}) {
		empty := true
		for _, child := range c.Commands() {
			if child.GroupID != group.ID || !child.IsAvailableCommand() {
				continue
			}
			if empty {
				title(s, group.Title)
			}
			empty = false
			s.Term(2, longest+2, child.Name(), child.Short)
		}
	}
	s.Line()
	s.Line(render.Cell{Text: c.CommandPath() + " COMMAND --help tells more about one."})
}

// writeFlags tells a command's own flags from those about the target and those that
// every command has.
func writeFlags(s *render.Screen, c *cobra.Command) {
	own, target := flagsOf(c)
	for _, section := range []struct {
		title string
		flags *pflag.FlagSet
	}{
		{"Flags", own},
		{"Which etcd, and how to reach it", target},
		{"Flags of every command", c.InheritedFlags()},
	} {
		if usages := section.flags.FlagUsagesWrapped(s.Width); usages != "" {
			title(s, section.title)
			writeLines(s, strings.TrimRight(usages, "\n"))
		}
	}
}

// flagsOf are a command's own flags, and those about the target.
func flagsOf(c *cobra.Command) (own, target *pflag.FlagSet) {
	own = pflag.NewFlagSet("own", pflag.ContinueOnError)
	target = pflag.NewFlagSet("target", pflag.ContinueOnError)
	c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		if _, about := f.Annotations[targetGroup]; about {
			target.AddFlag(f)
		} else if f.Name != "help" {
			own.AddFlag(f)
		}
	})
	return own, target
}

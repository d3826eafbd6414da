package cmd

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// writeHelp is every command's help: what it does, how it is typed, its flags by what
// they are about, and always the exit codes.
func writeHelp(c *cobra.Command) {
	var b strings.Builder
	about := c.Long
	if about == "" {
		about = c.Short + "."
	}
	fmt.Fprintf(&b, "%s\n\nUsage:\n  %s\n", about, usageLine(c))
	if c.Example != "" {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", strings.TrimRight(c.Example, "\n"))
	}
	writeCommands(&b, c)
	if c.HasParent() {
		writeFlags(&b, c)
	} else {
		fmt.Fprintf(&b, "When quorum is lost: %s\n", recoveryCommand)
	}
	fmt.Fprintf(&b, "\nExit codes:\n%s", exitCodesHelp)
	fmt.Fprintf(&b, "\nkubectl's own flags (--context, --kubeconfig, -n, …) go after the command; all of them: %s options\n", commandName)
	_, _ = io.WriteString(c.OutOrStdout(), b.String())
}

func usageLine(c *cobra.Command) string {
	if c.HasParent() && !c.HasAvailableSubCommands() {
		return c.UseLine()
	}
	return c.CommandPath() + " COMMAND [flags]"
}

func writeCommands(b *strings.Builder, c *cobra.Command) {
	if !c.HasAvailableSubCommands() {
		return
	}
	rest := "More"
	if len(c.Groups()) == 0 {
		rest = "Commands"
	}
	groups := append(c.Groups(), &cobra.Group{Title: rest})
	for _, group := range groups {
		title := "\n" + group.Title + ":\n"
		for _, child := range c.Commands() {
			if child.GroupID != group.ID || !child.IsAvailableCommand() {
				continue
			}
			fmt.Fprintf(b, "%s  %-9s %s\n", title, child.Name(), child.Short)
			title = ""
		}
	}
	fmt.Fprintf(b, "\n%s COMMAND --help tells more about one.\n", c.CommandPath())
}

// writeFlags tells a command's own flags from those about the target and those that
// every command has.
func writeFlags(b *strings.Builder, c *cobra.Command) {
	own, target := flagsOf(c)
	for _, section := range []struct {
		title string
		flags *pflag.FlagSet
	}{
		{"Flags", own},
		{"Which etcd, and how to reach it", target},
		{"Flags of every command", c.InheritedFlags()},
	} {
		if usages := section.flags.FlagUsagesWrapped(100); usages != "" {
			fmt.Fprintf(b, "\n%s:\n%s", section.title, usages)
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

package cmd

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

const referenceFile = "../../docs/commands.md"

// TestReference: docs/commands.md is what the commands say of themselves.
func TestReference(t *testing.T) {
	s, _, _ := testSession(nil)
	want := reference(newRootCommand(s))
	if *update {
		if err := os.WriteFile(referenceFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(got), want); diff != "" {
		t.Errorf("docs/commands.md is stale, go test ./pkg/cmd -run TestReference -update writes it anew (-is +should be):\n%s", diff)
	}
}

// reference is every command's help, what they have in common told once.
func reference(root *cobra.Command) string {
	var b strings.Builder
	status, _, _ := root.Find([]string{"status"})
	_, target := flagsOf(status)
	b.WriteString("# Commands\n\nMade from what the commands say themselves: `kubectl etcd COMMAND --help`. When quorum is lost: [recovery.md](recovery.md).\n")
	fence(&b, "Exit codes", exitCodesHelp)
	fence(&b, "Flags of every command", root.PersistentFlags().FlagUsagesWrapped(100))
	fence(&b, "Which etcd, and how to reach it (of those that ask one)", target.FlagUsagesWrapped(100))
	describeAll(&b, root)
	return b.String()
}

func describeAll(b *strings.Builder, c *cobra.Command) {
	for _, child := range c.Commands() {
		if !child.IsAvailableCommand() {
			continue
		}
		about := child.Long
		if about == "" {
			about = child.Short + "."
		}
		fmt.Fprintf(b, "\n## %s\n\n%s.\n", child.CommandPath(), child.Short)
		if child.HasAvailableSubCommands() {
			describeAll(b, child)
			continue
		}
		if about != child.Short+"." {
			fmt.Fprintf(b, "\n%s\n", about)
		}
		own, _ := flagsOf(child)
		text := usageLine(child) + "\n"
		if flags := own.FlagUsagesWrapped(100); flags != "" {
			text += "\n" + flags
		}
		fence(b, "", text)
		fence(b, "", strings.TrimRight(child.Example, "\n")+"\n")
	}
}

func fence(b *strings.Builder, title, text string) {
	if title != "" {
		fmt.Fprintf(b, "\n## %s\n", title)
	}
	fmt.Fprintf(b, "\n```\n%s```\n", text)
}

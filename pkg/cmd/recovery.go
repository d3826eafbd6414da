package cmd

import (
	"io"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/docs"
)

const recoveryCommand = commandName + " help recovery"

// newRecoveryTopic is what "kubectl etcd help recovery" shows: docs/recovery.md. It needs
// nothing that may be gone when it is needed: no network, no browser.
func newRecoveryTopic() *cobra.Command {
	c := &cobra.Command{
		Use:    "recovery",
		Short:  "Quorum lost: from one survivor back to three",
		Hidden: true, // it does nothing; the root's help names it apart
		Args:   cobra.NoArgs,
		RunE:   func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.SetHelpFunc(func(c *cobra.Command, _ []string) { _, _ = io.WriteString(c.OutOrStdout(), recoveryText()) })
	return c
}

var htmlComment = regexp.MustCompile(`(?m)^<!--.*-->\n\n?`)

// recoveryText is the document without what is only for a program that walks it.
func recoveryText() string { return htmlComment.ReplaceAllString(docs.Recovery, "") }

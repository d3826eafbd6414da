package cmd

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
)

// newOptionsCommand builds "kubectl etcd options".
func newOptionsCommand(s *session) *cobra.Command {
	return &cobra.Command{
		Use:     "options",
		Short:   "List the flags that every command takes",
		Example: "  kubectl etcd options",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			own := pflag.NewFlagSet("own", pflag.ContinueOnError)
			newSession(s.IOStreams, s.getenv).addFlags(own)
			kube := pflag.NewFlagSet("kube", pflag.ContinueOnError)
			genericclioptions.NewConfigFlags(true).AddFlags(kube)
			screen := s.helpScreen(s.Out)
			screen.Line(render.Cell{Text: "Flags of every command:", Tone: render.Strong})
			writeLines(screen, strings.TrimRight(own.FlagUsagesWrapped(screen.Width), "\n"))
			title(screen, "kubectl's own flags, after the command (kubectl etcd status --context NAME)")
			writeLines(screen, strings.TrimRight(kube.FlagUsagesWrapped(screen.Width), "\n"))
			return screen.Flush()
		},
	}
}

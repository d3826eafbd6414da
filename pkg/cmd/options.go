package cmd

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericclioptions"
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
			_, err := fmt.Fprintf(s.Out, "Flags of every command:\n%s\nkubectl's own flags; they go after the command (kubectl etcd status --context NAME):\n%s",
				own.FlagUsagesWrapped(100), kube.FlagUsagesWrapped(100))
			return err
		},
	}
}

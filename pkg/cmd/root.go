package cmd

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The groups of the root's help.
const (
	groupLook     = "look"
	groupBackup   = "backup"
	groupMaintain = "maintain"
	commandName   = "kubectl etcd"
	binaryName    = "kubectl-etcd"
	specialFormat = "kubectl-etcd/format" // annotation: the form of -o that only this command has
	targetGroup   = "kubectl-etcd/target" // annotation of flags that say where etcd is
	rootExamples  = `  # How is etcd?
  kubectl etcd status

  # One plain snapshot file, verified while it streams
  kubectl etcd backup -f snapshot.db

  # Data directories out of it, and the steps that put them in place
  kubectl etcd restore --from-file snapshot.db --out-dir restored`
)

// newRootCommand builds the whole tree.
func newRootCommand(s *session) *cobra.Command {
	root := &cobra.Command{
		Use:               binaryName,
		Annotations:       map[string]string{cobra.CommandDisplayNameAnnotation: commandName},
		Short:             "See, back up and restore a cluster's etcd",
		Long:              "Finds the etcd of a Kubernetes control plane through the kubeconfig, says how it is,\nbacks it up and restores it. Looking needs no flag and creates nothing.",
		Example:           rootExamples,
		Version:           readBuild().Version,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Args:              onlyCommands,
		RunE:              func(c *cobra.Command, _ []string) error { return c.Help() },
		PersistentPreRunE: func(c *cobra.Command, _ []string) error {
			if err := refuseEmpty(c); err != nil {
				return err
			}
			if err := s.complete(); err != nil {
				return err
			}
			s.wayToEtcd, s.wayToArchive = reaching(c.Flags()), archived(c.Flags())
			return s.refuseSpecial(c)
		},
	}
	root.AddGroup(&cobra.Group{ID: groupLook, Title: "Look"}, &cobra.Group{ID: groupBackup, Title: "Back up and restore"},
		&cobra.Group{ID: groupMaintain, Title: "Keep house"})
	root.AddCommand(
		newStatusCommand(s), newHealthCommand(s), newTuneCommand(s), newTailCommand(s),
		newBackupCommand(s), newBackupsCommand(s), newRestoreCommand(s), newExportCommand(s),
		newVerifyCommand(s), newPruneCommand(s), newKeygenCommand(s), newAgentCommand(s),
		newDefragCommand(s), newCompactCommand(s), newAlarmCommand(s), newMemberCommand(s),
		newCompletionCommand(s), newOptionsCommand(s), newVersionCommand(s), newRelayCommand(s), newRecoveryTopic(),
	)
	s.addFlags(root.PersistentFlags())
	addHiddenKubeFlags(s, root.PersistentFlags())
	root.SetVersionTemplate(binaryName + " {{.Version}}\n")
	help := func(c *cobra.Command) error {
		screen := s.helpScreen(c.OutOrStdout())
		writeHelp(screen, c)
		return screen.Flush()
	}
	root.SetHelpFunc(func(c *cobra.Command, _ []string) { _ = help(c) })
	root.SetUsageFunc(help)
	root.SetFlagErrorFunc(flagError)
	markArgsErrors(root)
	addCompletions(s, root)
	return root
}

// addHiddenKubeFlags adds kubectl's own flags; `options` lists them.
func addHiddenKubeFlags(s *session, flags *pflag.FlagSet) {
	kube := pflag.NewFlagSet("kube", pflag.ContinueOnError)
	s.kube.AddFlags(kube)
	kube.VisitAll(func(f *pflag.Flag) { f.Hidden = true })
	flags.AddFlagSet(kube)
}

// markArgsErrors makes what cobra says about arguments a usage error.
func markArgsErrors(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return &usageError{err}
			}
			return nil
		}
	}
	for _, child := range c.Commands() {
		markArgsErrors(child)
	}
}

// refuseEmpty refuses a flag of the command's own that is given and says nothing, as "--endpoints $UNSET"
// in quotes does: left out, it would send the command to another etcd, or another file.
func refuseEmpty(c *cobra.Command) error {
	var err error
	own := c.LocalNonPersistentFlags() // a new set, which doesn't know what was given
	c.Flags().Visit(func(f *pflag.Flag) {
		empty := f.Value.Type() == "string" && f.Value.String() == ""
		if list, ok := f.Value.(pflag.SliceValue); ok {
			empty = len(list.GetSlice()) == 0
		}
		if empty && err == nil && own.Lookup(f.Name) != nil {
			err = usagef("--%s is given, but empty", f.Name)
		}
	})
	return err
}

// onlyCommands is the root's Args: whatever stands there was meant to be a command.
func onlyCommands(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	c.SuggestionsMinimumDistance = 2
	text := fmt.Sprintf("unknown command %q", args[0])
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		text += fmt.Sprintf("; did you mean %s?", strings.Join(near, " or "))
	}
	return fmt.Errorf("%s", text)
}

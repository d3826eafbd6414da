package cmd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"
)

const completionExample = `  # Let kubectl complete "kubectl etcd", with kubectl's own completion in your shell
  kubectl etcd completion install`

const completionLong = `kubectl completes what its plugins offer, in bash, zsh, fish and PowerShell, where it finds a
program of the name kubectl_complete-etcd on PATH. "completion install" writes that one: a script
of one line, beside the plugin unless --dir says otherwise. kubectl's own completion has to be on
in your shell: kubectl completion --help.

Clusters, members, check ids, and an archive's timelines and revisions complete: these are looked
up, within 3 seconds, and nothing is created for it.`

// completionName is what kubectl looks for (kubectl pkg/cmd/plugin, SetupPluginCompletion).
const completionName = "kubectl_complete-etcd"

// newCompletionCommand builds "kubectl etcd completion".
func newCompletionCommand(s *session) *cobra.Command {
	c := &cobra.Command{
		Use: "completion", Short: "Let kubectl complete this plugin in your shell",
		Long: completionLong, Example: completionExample, Args: onlyCommands,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newCompletionInstallCommand(s))
	return c
}

func newCompletionInstallCommand(s *session) *cobra.Command {
	dir := ""
	c := &cobra.Command{
		Use: "install", Short: "Write " + completionName + ", which kubectl asks",
		Long: completionLong, Example: completionExample, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			path, err := installCompletion(dir)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(s.Out, "ok: kubectl completes \"%s\" by %s\n", commandName, path)
			if found, lookErr := exec.LookPath(completionName); lookErr != nil {
				s.notice("warning: %s is not on PATH: kubectl does not find it", filepath.Dir(path))
			} else if !sameFile(found, path) {
				s.notice("warning: %s comes before it on PATH, and is what kubectl asks", found)
			}
			return err
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "the folder to write it to (default the plugin's own)")
	return c
}

// installCompletion writes the script as a whole, and replaces none that is not ours.
func installCompletion(dir string) (path string, err error) {
	if dir == "" {
		own, err := os.Executable()
		if err != nil {
			return "", fmt.Errorf("find out where this program is: %w", err)
		}
		if first, err := exec.LookPath(binaryName); err == nil { // krew's link, not what it leads to
			own = first
		}
		dir = filepath.Dir(own)
	}
	path, content := completionScript(filepath.Join(dir, completionName), runtime.GOOS)
	switch old, err := os.ReadFile(path); {
	case err == nil && !strings.Contains(string(old), binaryName+" __complete"):
		return "", withHint(fmt.Errorf("write %s: there is another program of that name", path), "remove it, or choose another folder: --dir DIR")
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("write %s: %w", path, err)
	}
	return path, writeWhole(path, content)
}

// completionScript is the file's name and what is in it.
func completionScript(path, system string) (name, content string) {
	if system == "windows" {
		return path + ".cmd", "@" + binaryName + " __complete %*\r\n"
	}
	return path, "#!/bin/sh\nexec " + binaryName + " __complete \"$@\"\n"
}

// writeWhole writes a program: it is there whole, or not at all.
func writeWhole(path, content string) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+completionName+"-")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("write %s: %w", path, errors.Join(err, os.Remove(file.Name())))
		}
	}()
	_, err = file.WriteString(content)
	if err = errors.Join(err, file.Chmod(0o755), file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

func sameFile(a, b string) bool {
	first, err := os.Stat(a)
	if err != nil {
		return false
	}
	second, err := os.Stat(b)
	return err == nil && os.SameFile(first, second)
}

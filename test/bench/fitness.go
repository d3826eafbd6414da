//go:build unix

package main

import (
	"compress/gzip"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// What the binary may be at most: MB as 1,000,000 bytes.
const (
	maxStripped   = 80_000_000
	maxCompressed = 25_000_000
	maxHelp       = 50 * time.Millisecond
	helpRuns      = 20
)

// benchFitness measures what everybody pays who only installs the plugin and asks what it
// can do, and fails where that is more than it may be.
func benchFitness(ctx context.Context, plugin string) error {
	size, compressed, err := sizes(plugin)
	if err != nil {
		return err
	}
	helps, err := timeHelp(ctx, plugin)
	if err != nil {
		return err
	}
	half := median(helps)
	if _, err := fmt.Fprintf(os.Stdout, "stripped: %.1f MB (at most %d); gzip -9: %.1f MB (at most %d)\n--help: median of %d %s (at most %s), %s to %s\n",
		float64(size)/1e6, maxStripped/1_000_000, float64(compressed)/1e6, maxCompressed/1_000_000,
		helpRuns, milliseconds(half), maxHelp, milliseconds(slices.Min(helps)), milliseconds(slices.Max(helps))); err != nil {
		return err
	}
	if size > maxStripped || compressed > maxCompressed || half > maxHelp {
		return errors.New("it is more than it may be")
	}
	return benchSilence(ctx, plugin)
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/1e6) }

// sizes are those of the file and of what gzip -9 makes of it.
func sizes(plugin string) (size, compressed int64, err error) {
	if file, err := elf.Open(plugin); err == nil { // of Linux; others are taken at their word
		symbols := file.Section(".symtab")
		if err := file.Close(); err != nil {
			return 0, 0, err
		}
		if symbols != nil {
			return 0, 0, fmt.Errorf("%s is not stripped: take what make build made", plugin)
		}
	}
	file, err := os.Open(plugin)
	if err != nil {
		return 0, 0, err
	}
	defer file.Close() //nolint:errcheck // it was only read
	var counted counter
	packer, err := gzip.NewWriterLevel(&counted, gzip.BestCompression)
	if err != nil {
		return 0, 0, err
	}
	if size, err = io.Copy(packer, file); err != nil {
		return 0, 0, err
	}
	err = packer.Close()
	return size, int64(counted), err
}

// counter counts what is written.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// timeHelp is from the start of a process to its end, once the file is in the page cache.
func timeHelp(ctx context.Context, plugin string) (times []time.Duration, err error) {
	for i := range helpRuns + 1 {
		began := time.Now()
		if out, err := exec.CommandContext(ctx, plugin, "--help").CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s --help: %w: %s", plugin, err, out)
		}
		if i > 0 {
			times = append(times, time.Since(began))
		}
	}
	return times, nil
}

// quiet are commands that need nobody, and the exit codes that they end with.
var quiet = []struct {
	args []string
	code int
}{
	{[]string{"--help"}, 0},
	{[]string{"version"}, 0},
	{[]string{"backup", "--help"}, 0},
	{[]string{"status", "--no-such-flag"}, 2},
	{[]string{"no-such-command"}, 2},
}

// benchSilence runs commands with a kubeconfig, an archive and a proxy at hand, where the
// kernel ends a process at its first socket(2): of any family, so that neither a server nor
// a resolver can be asked. A command that does ask ends so, which shows that the trap works.
func benchSilence(ctx context.Context, plugin string) (err error) {
	dir, err := os.MkdirTemp("", "kubectl-etcd-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	environment, err := temptation(dir)
	if err != nil {
		return err
	}
	for _, q := range quiet {
		c, err := trapped(ctx, plugin, q.args)
		if err != nil {
			return err
		}
		c.Env = environment
		if out, err := c.CombinedOutput(); c.ProcessState == nil || c.ProcessState.ExitCode() != q.code {
			return fmt.Errorf("%q, which may open no socket: %w: %s", q.args, err, out)
		}
	}
	c, err := trapped(ctx, plugin, []string{"status"})
	if err != nil {
		return err
	}
	c.Env = environment
	if out, err := c.CombinedOutput(); !endedByTrap(c.ProcessState) {
		return fmt.Errorf("status opens a socket, and was not ended by that: the trap does not work: %w: %s", err, out)
	}
	_, err = fmt.Fprintf(os.Stdout, "no socket is opened by --help, version, a command's help, a wrong flag and a wrong command; status was ended at its first\n")
	return err
}

// temptation is an environment that names servers, all of them in a network for documentation.
func temptation(dir string) ([]string, error) {
	kubeconfig := filepath.Join(dir, "kubeconfig")
	err := os.WriteFile(kubeconfig, []byte(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://192.0.2.1:6443"}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
current-context: c
`), 0o600)
	return []string{
		"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "KUBECONFIG=" + kubeconfig, "ETCDCTL_ENDPOINTS=https://192.0.2.2:2379",
		"KUBECTL_ETCD_ARCHIVE=s3://archive?endpoint=https://192.0.2.3", "HTTPS_PROXY=http://192.0.2.4:3128",
	}, err
}

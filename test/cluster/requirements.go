//go:build unix

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
)

// ErrUnsupported is returned where no test cluster can be made.
var ErrUnsupported = errors.New("a test cluster needs root on Linux with cgroup v1; without, point KUBECONFIG at any cluster whose etcd runs in pods (kind, kubeadm, RKE2 …)")

// tools are the programs that making a cluster calls, and the Debian package of each.
func tools() map[string]string {
	return map[string]string{
		"ip":      "iproute2",
		"nsenter": "util-linux", "unshare": "util-linux", "setsid": "util-linux",
		"mount": "mount", "hostname": "hostname", "sysctl": "procps",
		"gcc": "gcc libc6-dev",
	}
}

// require checks the machine and installs the tools that are missing.
func require(ctx context.Context, log io.Writer) error {
	if err := supported(runtime.GOOS, os.Geteuid()); err != nil {
		return err
	}
	if _, err := machineHierarchies(); err != nil {
		return err
	}
	packages := missing(exec.LookPath)
	if len(packages) == 0 {
		return nil
	}
	_, _ = fmt.Fprintf(log, "installing %s\n", strings.Join(packages, ", "))
	install := append([]string{"install", "--yes", "--no-install-recommends"}, packages...)
	if run(ctx, "apt-get", install...) == nil {
		return nil
	}
	if err := run(ctx, "apt-get", "update"); err != nil { // a fresh machine has no package lists
		return err
	}
	return run(ctx, "apt-get", install...)
}

func supported(goos string, uid int) error {
	if goos != "linux" {
		return fmt.Errorf("%w (this is %s)", ErrUnsupported, goos)
	}
	if uid != 0 {
		return fmt.Errorf("%w (this is user %d)", ErrUnsupported, uid)
	}
	return nil
}

// missing lists the packages of tools that look does not find.
func missing(look func(string) (string, error)) []string {
	var packages []string
	for tool, of := range tools() {
		if _, err := look(tool); err != nil {
			packages = append(packages, strings.Fields(of)...)
		}
	}
	slices.Sort(packages)
	return slices.Compact(packages)
}

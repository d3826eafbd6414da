//go:build unix

package binaries

import (
	"bufio"
	"context"
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

//go:embed pause/pause.c
var pauseSource []byte

// unpackDebian makes the root file system of a node. The packages are unpacked, not
// installed: nothing of them is left in the system, and containerd's would start a service.
func unpackDebian(ctx context.Context, log io.Writer, dir string) error {
	return unpack(ctx, log, dir, "containerd", "runc", "containernetworking-plugins", "busybox-static", "libseccomp2")
}

// unpackEtcd34 takes etcd out of Debian's package: of 3.4 no module builds.
func unpackEtcd34(ctx context.Context, log io.Writer, dir string) error {
	if err := unpack(ctx, log, dir, "etcd-server"); err != nil {
		return err
	}
	return os.Rename(filepath.Join(dir, "usr", "bin", "etcd"), filepath.Join(dir, "etcd"))
}

// folder is the set's name in the cache. Debian's contents hang on the release
// that the machine runs and on its architecture.
func (s Set) folder() (string, error) {
	if s != Debian {
		return string(s), nil
	}
	release, err := osRelease("/etc/os-release")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s-%s-%s", release["ID"], release["VERSION_ID"], runtime.GOARCH), nil
}

// osRelease reads KEY=value lines, as os-release(5) has them.
func osRelease(path string) (map[string]string, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the system's release: %w", err)
	}
	defer file.Close() //nolint:errcheck // only read
	fields := map[string]string{}
	scanner := bufio.NewScanner(file)
	for scanner.Scan() {
		if key, value, ok := strings.Cut(scanner.Text(), "="); ok {
			fields[key] = strings.Trim(value, `"`)
		}
	}
	return fields, scanner.Err()
}

func unpack(ctx context.Context, log io.Writer, dir string, packages ...string) error {
	_, _ = fmt.Fprintf(log, "fetching %s from Debian (once)\n", strings.Join(packages, ", "))
	debs := filepath.Join(dir, "debs")
	if err := os.Mkdir(debs, 0o755); err != nil {
		return err
	}
	if err := download(ctx, debs, packages); err != nil {
		// A fresh machine has no package lists, an old one names versions that are gone.
		if err := run(exec.CommandContext(ctx, "apt-get", "update")); err != nil {
			return err
		}
		if err := download(ctx, debs, packages); err != nil {
			return err
		}
	}
	files, err := filepath.Glob(filepath.Join(debs, "*.deb"))
	if err != nil {
		return err
	}
	for _, deb := range files {
		if err := run(exec.CommandContext(ctx, "dpkg", "-x", deb, dir)); err != nil {
			return err
		}
	}
	return os.RemoveAll(debs)
}

func download(ctx context.Context, dir string, packages []string) error {
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"download"}, packages...)...)
	cmd.Dir = dir
	return run(cmd)
}

func compilePause(ctx context.Context, log io.Writer, dir string) error {
	_, _ = fmt.Fprintln(log, "compiling pause (once)")
	source := filepath.Join(dir, "pause.c")
	if err := os.WriteFile(source, pauseSource, 0o644); err != nil {
		return err
	}
	return run(exec.CommandContext(ctx, "gcc", "-Os", "-static", "-o", filepath.Join(dir, "pause"), source))
}

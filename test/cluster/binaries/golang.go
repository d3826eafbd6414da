//go:build unix

package binaries

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const module = "github.com/kubectl-etcd/kubectl-etcd"

// builder returns what fills the folder of set.
func builder(set Set) (func(ctx context.Context, log io.Writer, dir string) error, error) {
	switch set {
	case Kubernetes:
		return buildKubernetes, nil
	case Etcd34:
		return unpackEtcd34, nil
	case Etcd35:
		return func(ctx context.Context, log io.Writer, dir string) error {
			return buildEtcd(ctx, log, "etcd-3.5", dir)
		}, nil
	case Etcd36:
		return func(ctx context.Context, log io.Writer, dir string) error {
			return buildEtcd(ctx, log, "etcd-3.6", dir)
		}, nil
	case VersityGW:
		return buildServer(VersityGW, "versitygw", "github.com/versity/versitygw/cmd/versitygw"), nil
	case FakeGCS:
		return buildServer(FakeGCS, "fake-gcs-server", "github.com/fsouza/fake-gcs-server"), nil
	case Azurite:
		return installAzurite, nil
	case Debian:
		return unpackDebian, nil
	case Pause:
		return compilePause, nil
	}
	return nil, fmt.Errorf("make %s: no such set of binaries", set)
}

func buildKubernetes(ctx context.Context, log io.Writer, dir string) error {
	_, _ = fmt.Fprintf(log, "building Kubernetes %s and etcd %s (once; about 10 minutes on 2 cores)\n", KubernetesVersion, EtcdVersion)
	started := time.Now()
	if err := buildEtcd(ctx, log, "", dir); err != nil {
		return err
	}
	packages := []string{"go.etcd.io/etcd/etcdctl/v3"}
	for _, name := range []string{"kubeadm", "kubelet", "kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
		packages = append(packages, "k8s.io/kubernetes/cmd/"+name)
	}
	if err := goBuild(ctx, "", versionFlags(), dir+"/", packages...); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(log, "built in %s\n", time.Since(started).Round(time.Second))
	return nil
}

// buildEtcd builds etcd and etcdutl from the module in test/cluster/tools/sub.
// The server's main package is the module's root, whose name ends in v3: its
// output has to be named.
func buildEtcd(ctx context.Context, log io.Writer, sub, dir string) error {
	if sub != "" {
		_, _ = fmt.Fprintf(log, "building %s (once; about a minute)\n", sub)
	}
	if err := goBuild(ctx, sub, "-s -w", filepath.Join(dir, "etcd"), "go.etcd.io/etcd/server/v3"); err != nil {
		return err
	}
	return goBuild(ctx, sub, "-s -w", filepath.Join(dir, "etcdutl"), "go.etcd.io/etcd/etcdutl/v3")
}

// buildServer builds the program of a store from the module in test/cluster/tools/sub.
func buildServer(set Set, sub, program string) func(ctx context.Context, log io.Writer, dir string) error {
	return func(ctx context.Context, log io.Writer, dir string) error {
		_, _ = fmt.Fprintf(log, "building %s (once; a minute or two)\n", set)
		return goBuild(ctx, sub, "-s -w", dir+"/", program)
	}
}

// versionFlags stamps the version: kubeadm computes the skew it allows from it,
// and refuses v0.0.0.
func versionFlags() string {
	parts := strings.Split(KubernetesVersion, ".")
	flags := []string{"-s", "-w"}
	for _, kv := range []string{
		"gitVersion=v" + KubernetesVersion, "gitMajor=" + parts[0], "gitMinor=" + parts[1],
		"gitTreeState=clean", "gitCommit=" + strings.Repeat("0", 40), "buildDate=2026-01-01T00:00:00Z",
	} {
		flags = append(flags, "-X", "k8s.io/component-base/version."+kv)
	}
	return strings.Join(flags, " ")
}

// goBuild builds packages of the tools module (or the module sub below it) to output.
func goBuild(ctx context.Context, sub, ldflags, output string, packages ...string) error {
	root, err := ModuleDir(ctx)
	if err != nil {
		return err
	}
	args := append([]string{"-n", "5", "go", "build", "-trimpath", "-ldflags", ldflags, "-o", output}, packages...)
	cmd := exec.CommandContext(ctx, "nice", args...)
	cmd.Dir = filepath.Join(root, "test", "cluster", "tools", sub)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=")
	return run(cmd)
}

// ModuleDir is this project's root: the tools modules below it are not part of
// any binary, so the caller must run within the source tree (tests and make do).
func ModuleDir(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		return "", fmt.Errorf("find the source of %s (run inside its tree): %w", module, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// run runs cmd; on failure the end of what it printed is part of the error.
func run(cmd *exec.Cmd) error {
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	const tail = 2000
	if len(out) > tail {
		out = out[len(out)-tail:]
	}
	return fmt.Errorf("run %s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
}

//go:build unix

// Package binaries makes the programs that a test cluster and other tests run,
// once, and keeps them in a cache outside the work tree.
//
// Its one idea: a set is a folder named after its versions that appears whole
// (built beside, then renamed), so a folder that exists needs no build.
package binaries

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/kubectl-etcd/kubectl-etcd/test/cluster/internal/flock"
)

// Versions of what the sets hold. KubernetesVersion and EtcdVersion repeat
// test/cluster/tools/go.mod; a test compares them.
const (
	KubernetesVersion = "1.37.2"
	EtcdVersion       = "3.7.3"
	PauseVersion      = "3.10.2"
)

// Set names a folder of programs in the cache.
type Set string

// The sets.
const (
	// Kubernetes: kube-apiserver, kubelet, kubeadm, kube-controller-manager,
	// kube-scheduler, etcd, etcdctl, etcdutl; static, from test/cluster/tools.
	Kubernetes Set = "k8s-" + KubernetesVersion + "-etcd-" + EtcdVersion
	// Etcd34: etcd, out of Debian 12's package.
	Etcd34 Set = "etcd-3.4.23"
	// Etcd35 and Etcd36: etcd and etcdutl of older releases.
	Etcd35 Set = "etcd-3.5.35"
	Etcd36 Set = "etcd-3.6.16"
	// VersityGW: versitygw, an S3 server over a folder.
	VersityGW Set = "versitygw-1.8.0"
	// FakeGCS: fake-gcs-server, an emulator of Google Cloud Storage.
	FakeGCS Set = "fake-gcs-server-1.56.1"
	// Azurite: node_modules/azurite, an emulator of Azure's storage; wants npm.
	Azurite Set = "azurite-3.35.0"
	// Debian: containerd, runc, CNI plugins, busybox and libseccomp, unpacked
	// as a root file system (usr/bin/containerd, …), not installed.
	Debian Set = "debian"
	// Pause: the program that holds a pod's namespaces.
	Pause Set = "pause-" + PauseVersion
)

// CacheDir is where everything is kept: $KUBECTL_ETCD_CACHE, or kubectl-etcd in
// the user's cache directory. It is created.
func CacheDir() (string, error) {
	dir := os.Getenv("KUBECTL_ETCD_CACHE")
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find a cache directory (set KUBECTL_ETCD_CACHE): %w", err)
		}
		dir = filepath.Join(user, "kubectl-etcd")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("resolve cache directory: %w", err)
	}
	return dir, os.MkdirAll(dir, 0o755)
}

// Ensure returns the folder of set, making it first if it is not there. Two
// callers never build the same twice: the second waits. What takes long is told
// to log, a line each.
func Ensure(ctx context.Context, log io.Writer, set Set) (string, error) {
	build, err := builder(set)
	if err != nil {
		return "", err
	}
	folder, err := set.folder()
	if err != nil {
		return "", err
	}
	return Cached(ctx, filepath.Join("bin", folder), func(ctx context.Context, dir string) error {
		return build(ctx, log, dir)
	})
}

// Etcd returns the folder with etcd and, but for "3.4.23", etcdutl of one version: also
// "3.5.35", "3.6.16" or EtcdVersion.
func Etcd(ctx context.Context, log io.Writer, version string) (string, error) {
	if version == EtcdVersion {
		return Ensure(ctx, log, Kubernetes)
	}
	return Ensure(ctx, log, Set("etcd-"+version))
}

// Cached returns the folder name in the cache; when it is missing, make fills a
// temporary one that then takes its place whole.
func Cached(ctx context.Context, name string, fill func(ctx context.Context, dir string) error) (string, error) {
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, name)
	if isDir(dir) {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", fmt.Errorf("create cache: %w", err)
	}
	lock, err := flock.Acquire(ctx, dir+".lock")
	if err != nil {
		return "", err
	}
	err = fillOnce(ctx, dir, fill)
	return dir, errors.Join(err, lock.Remove())
}

func fillOnce(ctx context.Context, dir string, fill func(ctx context.Context, dir string) error) error {
	if isDir(dir) { // another caller made it while we waited for the lock
		return nil
	}
	building := dir + ".building"
	if err := os.RemoveAll(building); err != nil { // a crash's leftovers
		return fmt.Errorf("clear %s: %w", building, err)
	}
	if err := os.Mkdir(building, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", filepath.Base(dir), err)
	}
	if err := fill(ctx, building); err != nil {
		return errors.Join(fmt.Errorf("make %s: %w", filepath.Base(dir), err), os.RemoveAll(building))
	}
	return os.Rename(building, dir)
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

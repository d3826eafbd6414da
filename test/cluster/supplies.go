//go:build unix

package cluster

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/kubectl-etcd/kubectl-etcd/test/cluster/binaries"
	"github.com/kubectl-etcd/kubectl-etcd/test/cluster/image"
)

const (
	etcdTag    = binaries.EtcdVersion + "-0"
	pauseImage = "registry.k8s.io/pause:" + binaries.PauseVersion

	// BusyboxImage has a shell and the usual tools; it is on every node, for
	// pods that tests start.
	BusyboxImage = "registry.k8s.io/busybox:1.35"

	// imagesRevision goes up with every change of what images() says.
	imagesRevision = "1"
)

// supplies are the folders that nodes are made of, all in the cache.
type supplies struct {
	kubernetes, debian, images string
}

func fetchSupplies(ctx context.Context, log io.Writer) (supplies, error) {
	var s supplies
	var err error
	if s.kubernetes, err = binaries.Ensure(ctx, log, binaries.Kubernetes); err != nil {
		return s, err
	}
	if s.debian, err = binaries.Ensure(ctx, log, binaries.Debian); err != nil {
		return s, err
	}
	pause, err := binaries.Ensure(ctx, log, binaries.Pause)
	if err != nil {
		return s, err
	}
	name := filepath.Join("images", filepath.Base(s.kubernetes)+"-"+filepath.Base(pause)+"-"+imagesRevision)
	s.images, err = binaries.Cached(ctx, name, func(ctx context.Context, dir string) error {
		fmt.Fprintln(log, "writing images (once)")
		return writeImages(ctx, dir, s, pause)
	})
	return s, err
}

func writeImages(ctx context.Context, dir string, s supplies, pause string) error {
	busybox, err := busyboxImage(ctx, filepath.Join(s.debian, "bin", "busybox"))
	if err != nil {
		return err
	}
	images := append(controlPlaneImages(s.kubernetes), busybox, image.Image{
		Ref:        pauseImage,
		Files:      []image.File{{Source: filepath.Join(pause, "pause"), Path: "/pause"}},
		Entrypoint: []string{"/pause"},
	})
	for _, im := range images {
		if err := writeImage(dir, im); err != nil {
			return err
		}
	}
	return nil
}

// controlPlaneImages are those that kubeadm's static pods name.
func controlPlaneImages(kubernetes string) []image.Image {
	at := func(name string) image.File {
		return image.File{Source: filepath.Join(kubernetes, name), Path: "/usr/local/bin/" + name}
	}
	images := []image.Image{{
		Ref:   "registry.k8s.io/etcd:" + etcdTag,
		Files: []image.File{at("etcd"), at("etcdctl"), at("etcdutl")},
	}}
	for _, name := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
		images = append(images, image.Image{
			Ref:   "registry.k8s.io/" + name + ":v" + binaries.KubernetesVersion,
			Files: []image.File{at(name)},
		})
	}
	return images
}

// busyboxImage has a link for every tool that busybox knows.
func busyboxImage(ctx context.Context, busybox string) (image.Image, error) {
	im := image.Image{Ref: BusyboxImage, Files: []image.File{{Source: busybox, Path: "/bin/busybox"}}}
	tools, err := output(exec.CommandContext(ctx, busybox, "--list"))
	if err != nil {
		return im, err
	}
	for _, tool := range strings.Fields(tools) {
		if tool != "busybox" {
			im.Links = append(im.Links, image.Link{Target: "busybox", Path: "/bin/" + tool})
		}
	}
	return im, nil
}

// writeImage writes im into dir, in a file named after it.
func writeImage(dir string, im image.Image) (err error) {
	layer, err := os.CreateTemp(dir, "layer-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(layer.Name()) }()
	defer layer.Close()
	name, _, _ := strings.Cut(filepath.Base(im.Ref), ":")
	file, err := os.Create(filepath.Join(dir, name+".tar"))
	if err != nil {
		return err
	}
	defer file.Close()
	if err := im.Write(file, layer); err != nil {
		return err
	}
	return file.Close()
}

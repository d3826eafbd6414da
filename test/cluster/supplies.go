//go:build unix

package cluster

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/kubectl-etcd/kubectl-etcd/test/cluster/binaries"
	"github.com/kubectl-etcd/kubectl-etcd/test/cluster/image"
)

//go:embed seed.sh
var seedScript string

const (
	etcdTag    = binaries.EtcdVersion + "-0"
	pauseImage = "registry.k8s.io/pause:" + binaries.PauseVersion

	// BusyboxImage has a shell and the usual tools; it is on every node, for
	// pods that tests start.
	BusyboxImage = "registry.k8s.io/busybox:1.35"

	// imagesRevision goes up with every change of what the images hold, and of seed.sh.
	imagesRevision = "1"
)

// supplies are the folders that nodes are made of, all in the cache.
type supplies struct {
	kubernetes, debian string
	// containerd is the state directory of a containerd that has every image.
	containerd string
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
	parts := []string{filepath.Base(s.kubernetes), filepath.Base(pause), filepath.Base(s.debian), imagesRevision}
	name := filepath.Join("containerd", strings.Join(parts, "-"))
	s.containerd, err = binaries.Cached(ctx, name, func(ctx context.Context, dir string) error {
		_, _ = fmt.Fprintln(log, "making images (once)")
		return seedContainerd(ctx, dir, s, pause)
	})
	return s, err
}

// seedContainerd writes the images and has a containerd unpack them into dir.
// Each node's containerd starts from links to that, which is quicker than
// unpacking again, takes no more disk, and shares the programs' memory.
func seedContainerd(ctx context.Context, dir string, s supplies, pause string) error {
	images, err := os.MkdirTemp(filepath.Dir(dir), "images-*")
	if err != nil {
		return err
	}
	err = writeImages(ctx, images, s, pause)
	if err == nil {
		cmd := exec.CommandContext(ctx, "unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c", seedScript)
		cmd.Env = append(os.Environ(), "DIR="+dir, "DEBIAN="+s.debian, "IMAGES="+images)
		_, err = output(cmd)
	}
	return errors.Join(err, os.RemoveAll(images))
}

// plant fills a node's still empty containerd directory from seed. What
// containerd writes to in place, its databases, is copied; all else it only
// reads, adds or deletes, so links do.
func plant(ctx context.Context, seed, dir string) error {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return err
	}
	if err := run(ctx, "cp", "--archive", "--link", seed+"/.", dir); err != nil {
		return err
	}
	databases, err := filepath.Glob(filepath.Join(seed, "*", "*.db"))
	if err != nil {
		return err
	}
	for _, db := range databases {
		copied := filepath.Join(dir, strings.TrimPrefix(db, seed))
		if err := run(ctx, "cp", "--remove-destination", db, copied); err != nil {
			return err
		}
	}
	return nil
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
		name, _, _ := strings.Cut(filepath.Base(im.Ref), ":")
		if err := writeImage(filepath.Join(dir, name+".tar"), im); err != nil {
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

// writeImage writes im to the file at path.
func writeImage(path string, im image.Image) (err error) {
	layer, err := os.CreateTemp(filepath.Dir(path), "layer-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, layer.Close(), os.Remove(layer.Name())) }()
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(im.Write(file, layer), file.Close())
}

// LoadImage puts an image on every node that runs, for pods with
// imagePullPolicy Never or IfNotPresent: there is no registry.
func (c *Cluster) LoadImage(ctx context.Context, im image.Image) error {
	return c.load(ctx, im.Ref, func(file string) error { return writeImage(file, im) })
}

// LoadArchive does so with an archive of images, such as an OCI layout in a tar.
func (c *Cluster) LoadArchive(ctx context.Context, archive string) error {
	return c.load(ctx, filepath.Base(archive), func(file string) error { return run(ctx, "cp", archive, file) })
}

// load lets write make an archive for each node, and imports it there.
func (c *Cluster) load(ctx context.Context, name string, write func(file string) error) error {
	for _, n := range c.nodes {
		if !n.Running(Machine) {
			continue
		}
		file := filepath.Join(n.Dir(), "load.tar")
		err := write(file)
		if err == nil {
			_, err = n.Run(ctx, "ctr -n k8s.io images import /mnt/node/load.tar")
		}
		if err := errors.Join(err, os.RemoveAll(file)); err != nil {
			return fmt.Errorf("load image %s on %s: %w", name, n.Name, err)
		}
	}
	return nil
}

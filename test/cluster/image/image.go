// Package image writes container images from scratch: one layer of static
// files, no registry, no daemon.
//
// The format is docker-archive (what "docker save" writes and "ctr images
// import" reads): layer.tar, a config named after its sha256, manifest.json.
package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"strings"
	"time"
)

// Image describes an image. Paths inside it are absolute.
type Image struct {
	Ref        string   // "registry.k8s.io/etcd:3.7.3-0"
	Files      []File   // in the order they are written
	Links      []Link   //
	Entrypoint []string // empty: none
}

// File is one file of the layer, mode 0755.
type File struct{ Source, Path string }

// Link is a symbolic link at Path.
type Link struct{ Target, Path string }

// epoch stands for every time in an image: the same files give the same digest.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Write writes the archive to w. The layer is built in layer first, since the
// config, which carries its digest, and its size are needed before its bytes.
func (im Image) Write(w io.Writer, layer *os.File) error {
	diffID, size, err := im.writeLayer(layer)
	if err != nil {
		return fmt.Errorf("write layer of %s: %w", im.Ref, err)
	}
	config, err := im.config(diffID)
	if err != nil {
		return fmt.Errorf("encode config of %s: %w", im.Ref, err)
	}
	sum := sha256.Sum256(config)
	configName := hex.EncodeToString(sum[:]) + ".json"
	manifest, err := json.Marshal([]any{map[string]any{
		"Config": configName, "RepoTags": []string{im.Ref}, "Layers": []string{"layer.tar"},
	}})
	if err != nil {
		return fmt.Errorf("encode manifest of %s: %w", im.Ref, err)
	}
	if _, err := layer.Seek(0, io.SeekStart); err != nil {
		return err
	}
	archive := tar.NewWriter(w)
	if err := addFile(archive, "layer.tar", 0o644, size, layer); err != nil {
		return err
	}
	if err := addFile(archive, configName, 0o644, int64(len(config)), bytes.NewReader(config)); err != nil {
		return err
	}
	if err := addFile(archive, "manifest.json", 0o644, int64(len(manifest)), bytes.NewReader(manifest)); err != nil {
		return err
	}
	return archive.Close()
}

// config is the image's OCI configuration.
func (im Image) config(diffID string) ([]byte, error) {
	run := map[string]any{"Env": []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}}
	if len(im.Entrypoint) > 0 {
		run["Entrypoint"] = im.Entrypoint
	}
	return json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"created":      epoch,
		"config":       run,
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{diffID}},
		"history":      []any{map[string]any{"created": epoch, "created_by": "test/cluster/image"}},
	})
}

// writeLayer writes the layer's tar and returns its digest and size.
func (im Image) writeLayer(w io.Writer) (diffID string, size int64, err error) {
	digest := sha256.New()
	counted := &counter{w: io.MultiWriter(w, digest)}
	l := &layerWriter{tar: tar.NewWriter(counted), made: map[string]bool{}}
	if err := l.skeleton(); err != nil {
		return "", 0, err
	}
	for _, f := range im.Files {
		if err := l.file(f); err != nil {
			return "", 0, err
		}
	}
	for _, link := range im.Links {
		if err := l.link(link); err != nil {
			return "", 0, err
		}
	}
	if err := l.tar.Close(); err != nil {
		return "", 0, err
	}
	return "sha256:" + hex.EncodeToString(digest.Sum(nil)), counted.n, nil
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// layerWriter writes a layer, every parent directory before what is in it.
type layerWriter struct {
	tar  *tar.Writer
	made map[string]bool
}

// skeleton writes what programs expect of any system: users, a place for
// temporary files, and names looked up in files first.
func (l *layerWriter) skeleton() error {
	if err := l.dir("tmp", 0o1777); err != nil {
		return err
	}
	for _, f := range []struct{ path, body string }{
		{"etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n"},
		{"etc/group", "root:x:0:\n"},
		{"etc/nsswitch.conf", "hosts: files dns\n"},
	} {
		if err := l.parents(f.path); err != nil {
			return err
		}
		if err := addFile(l.tar, f.path, 0o644, int64(len(f.body)), strings.NewReader(f.body)); err != nil {
			return err
		}
	}
	return nil
}

func (l *layerWriter) file(f File) error {
	source, err := os.Open(f.Source)
	if err != nil {
		return err
	}
	defer source.Close() //nolint:errcheck // only read
	info, err := source.Stat()
	if err != nil {
		return err
	}
	name := strings.TrimPrefix(f.Path, "/")
	if err := l.parents(name); err != nil {
		return err
	}
	return addFile(l.tar, name, 0o755, info.Size(), source)
}

func (l *layerWriter) link(link Link) error {
	name := strings.TrimPrefix(link.Path, "/")
	if err := l.parents(name); err != nil {
		return err
	}
	return l.tar.WriteHeader(&tar.Header{
		Typeflag: tar.TypeSymlink, Name: name, Linkname: link.Target, Mode: 0o777, ModTime: epoch,
	})
}

func (l *layerWriter) parents(name string) error {
	parent := path.Dir(name)
	if parent == "." {
		return nil
	}
	if err := l.parents(parent); err != nil {
		return err
	}
	return l.dir(parent, 0o755)
}

func (l *layerWriter) dir(name string, mode int64) error {
	if l.made[name] {
		return nil
	}
	l.made[name] = true
	return l.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode, ModTime: epoch})
}

func addFile(w *tar.Writer, name string, mode, size int64, body io.Reader) error {
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: size, ModTime: epoch}); err != nil {
		return err
	}
	_, err := io.Copy(w, body)
	return err
}

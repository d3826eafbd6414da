// Command image writes the relay's image: one static binary a platform, nothing else, as
// an OCI layout in a tar. It needs no registry and no daemon, and the same binaries give
// the same bytes.
package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const binary = "kubectl-etcd"

// nobody runs what says nothing else. The pods of relay and agent say root, without
// capabilities: they read keys that are root's.
const nobody = "65532:65532"

const usage = "usage: image -name NAME:TAG -out FILE linux/amd64=BINARY linux/arm64=BINARY, or image -name NAME:TAG -push FILE"

func main() {
	name := flag.String("name", "", "what the image is called: registry.example.com/kubectl-etcd:v1")
	out := flag.String("out", "", "the tar to write")
	pushed := flag.String("push", "", "the tar to push to the registry that -name begins with")
	flag.Parse()
	err := errors.New(usage)
	switch {
	case *name == "" || (*pushed == "") == (*out == ""):
	case *pushed != "":
		err = push(*name, *pushed)
	case flag.NArg() > 0:
		err = report(*name, *out, flag.Args())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

// report writes the image and says what a release compiles in: NAME@sha256:DIGEST.
func report(name, out string, binaries []string) error {
	digest, err := run(name, out, binaries)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(os.Stdout, "%s@%s\n", repository(name), digest)
	return err
}

// repository is name without its tag; a colon before a slash is a port's.
func repository(name string) string {
	at := strings.LastIndex(name, ":")
	if at < 0 || strings.Contains(name[at:], "/") {
		return name
	}
	return name[:at]
}

// run writes the tar and returns the digest of its index.
func run(name, out string, binaries []string) (v1.Hash, error) {
	index, err := newIndex(binaries)
	if err != nil {
		return v1.Hash{}, err
	}
	digest, err := index.Digest()
	if err != nil {
		return v1.Hash{}, err
	}
	dir, err := os.MkdirTemp("", "kubectl-etcd-image-")
	if err != nil {
		return v1.Hash{}, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a folder of the system's own
	if err := writeLayout(dir, name, index); err != nil {
		return v1.Hash{}, fmt.Errorf("write layout: %w", err)
	}
	return digest, writeTar(out, dir)
}

// newIndex has an image for each "os/arch=file".
func newIndex(binaries []string) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, argument := range binaries {
		text, file, ok := strings.Cut(argument, "=")
		platform, err := v1.ParsePlatform(text)
		if err != nil || !ok {
			return nil, fmt.Errorf("%q is not os/arch=FILE", argument)
		}
		image, err := newImage(*platform, file)
		if err != nil {
			return nil, fmt.Errorf("image for %s: %w", platform, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: platform}})
	}
	return index, nil
}

// newImage is one platform's: a layer with the binary, which is its entrypoint.
func newImage(platform v1.Platform, file string) (v1.Image, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var tarred bytes.Buffer
	w := tar.NewWriter(&tarred)
	if err := add(w, binary, 0o755, content); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	opener := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(tarred.Bytes())), nil }
	layer, err := tarball.LayerFromOpener(opener, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err = mutate.Append(image, mutate.Addendum{Layer: layer, History: v1.History{CreatedBy: "make image"}})
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = platform.OS, platform.Architecture
	config.Config.Entrypoint = []string{"/" + binary}
	config.Config.User = nobody
	return mutate.ConfigFile(image, config)
}

// writeLayout writes an OCI layout whose one index is called name; containerd and others
// read different annotations.
func writeLayout(dir, name string, index v1.ImageIndex) error {
	at, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	return at.AppendIndex(index, layout.WithAnnotations(map[string]string{
		"org.opencontainers.image.ref.name": name,
		"io.containerd.image.name":          name,
	}))
}

// writeTar writes dir's files, in the order of their names. The tar appears whole.
func writeTar(out, dir string) (err error) {
	file, err := os.CreateTemp(filepath.Dir(out), ".image-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name()) // the first error says more
		}
	}()
	w := tar.NewWriter(file)
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		return add(w, filepath.ToSlash(name), 0o644, content)
	})
	if err == nil {
		err = w.Close()
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", out, err)
	}
	if err := os.Chmod(file.Name(), 0o644); err != nil {
		return err
	}
	return os.Rename(file.Name(), out)
}

// add writes a file of no particular time: the same content gives the same digest.
func add(w *tar.Writer, name string, mode int64, content []byte) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content)), ModTime: time.Unix(0, 0).UTC()}
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	_, err := w.Write(content)
	return err
}

package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// push sends the image in a tar that run wrote, byte for byte, so that its digest is the
// one that binaries name. It logs in as docker login did.
func push(to, file string) error {
	reference, err := name.ParseReference(to)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "kubectl-etcd-image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a folder of the system's own
	index, err := readTar(dir, file)
	if err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	if err := remote.WriteIndex(reference, index, remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
		return fmt.Errorf("push to %s: %w", to, err)
	}
	_, err = fmt.Fprintf(os.Stdout, "%s@%s\n", reference.Context().Name(), digest)
	return err
}

// readTar unpacks a layout into dir and returns its one image, for all platforms.
func readTar(dir, file string) (v1.ImageIndex, error) {
	content, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer content.Close() //nolint:errcheck // it was only read
	for r := tar.NewReader(content); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if err := unpackFile(dir, header.Name, r); err != nil {
			return nil, err
		}
	}
	outer, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, err
	}
	top, err := outer.IndexManifest()
	if err != nil {
		return nil, err
	}
	if len(top.Manifests) != 1 {
		return nil, fmt.Errorf("it holds %d images, want 1", len(top.Manifests))
	}
	return outer.ImageIndex(top.Manifests[0].Digest)
}

// unpackFile writes one file of a layout; its names lead nowhere else.
func unpackFile(dir, name string, from io.Reader) error {
	if !filepath.IsLocal(name) {
		return fmt.Errorf("%q is no name of a layout's file", name)
	}
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(file, from); err != nil {
		_ = file.Close() // the first error says more
		return err
	}
	return file.Close()
}

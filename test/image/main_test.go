package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "binary")
	if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// unpack reads the tar back as a layout.
func unpack(t *testing.T, file string) layout.Path {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for r := tar.NewReader(bytes.NewReader(content)); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return layout.Path(dir)
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, header.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, body, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestImage(t *testing.T) {
	content := map[string]string{"amd64": "the one", "arm64": "the other"}
	args := []string{"linux/amd64=" + write(t, content["amd64"]), "linux/arm64=" + write(t, content["arm64"])}
	out := filepath.Join(t.TempDir(), "image.tar")
	digest, err := run("example.com:5000/relay:v1", out, args)
	if err != nil {
		t.Fatal(err)
	}
	outer, err := unpack(t, out).ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	top, err := outer.IndexManifest()
	if err != nil || len(top.Manifests) != 1 || top.Manifests[0].Digest != digest ||
		top.Manifests[0].Annotations["io.containerd.image.name"] != "example.com:5000/relay:v1" {
		t.Fatalf("index.json: %+v, %v, want one of digest %s", top, err, digest)
	}
	index, err := outer.ImageIndex(digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range manifest.Manifests {
		image, err := index.Image(m.Digest)
		if err != nil {
			t.Fatal(err)
		}
		wantImage(t, image, m.Platform.Architecture, content[m.Platform.Architecture])
		delete(content, m.Platform.Architecture)
	}
	if len(content) > 0 {
		t.Errorf("not in the index: %v", content)
	}

	again := filepath.Join(t.TempDir(), "again.tar")
	if _, err := run("example.com:5000/relay:v1", again, args); err != nil {
		t.Fatal(err)
	}
	one, _ := os.ReadFile(out)
	two, _ := os.ReadFile(again)
	if !bytes.Equal(one, two) {
		t.Error("the same binaries gave another tar")
	}
}

func wantImage(t *testing.T, image v1.Image, arch, content string) {
	t.Helper()
	config, err := image.ConfigFile()
	if err != nil || config.OS != "linux" || config.Architecture != arch || len(config.Config.Entrypoint) != 1 || config.Config.Entrypoint[0] != "/kubectl-etcd" || config.Config.User != "65532:65532" {
		t.Errorf("config %+v, %v", config, err)
	}
	layers, err := image.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("layers %v, %v", layers, err)
	}
	compressed, err := layers[0].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	unzipped, err := gzip.NewReader(compressed)
	if err != nil {
		t.Fatal(err)
	}
	files := tar.NewReader(unzipped)
	header, err := files.Next()
	if err != nil || header.Name != "kubectl-etcd" || header.Mode != 0o755 || header.Uid != 0 {
		t.Fatalf("file %+v, %v", header, err)
	}
	if got, err := io.ReadAll(files); err != nil || string(got) != content {
		t.Errorf("%s: holds %q, %v, want %q", arch, got, err, content)
	}
	if header, err := files.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("there is more: %+v, %v", header, err)
	}
}

func TestImageErrors(t *testing.T) {
	dir := t.TempDir()
	for _, args := range [][]string{{"linux/amd64"}, {"linux/amd64=" + filepath.Join(dir, "nothing")}, {"a/b/c/d=x"}} {
		if _, err := run("x:1", filepath.Join(dir, "out.tar"), args); err == nil {
			t.Errorf("%v was taken", args)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestRepository(t *testing.T) {
	for name, want := range map[string]string{"a:1": "a", "example.com:5000/a:1": "example.com:5000/a", "example.com:5000/a": "example.com:5000/a", "a": "a"} {
		if got := repository(name); got != want {
			t.Errorf("%s: got %s", name, got)
		}
	}
}

package image_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-etcd/kubectl-etcd/test/cluster/image"
)

func TestWrite(t *testing.T) {
	archive := read(t, write(t, sample(t)))

	var manifest []struct {
		Config           string
		RepoTags, Layers []string
	}
	decode(t, archive["manifest.json"], &manifest)
	if diff := cmp.Diff([]string{"registry.example.com/app:1"}, manifest[0].RepoTags); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	raw, ok := archive[manifest[0].Config]
	if !ok {
		t.Fatalf("config %s is not in the archive", manifest[0].Config)
	}
	if sum := sha256.Sum256(raw); hex.EncodeToString(sum[:])+".json" != manifest[0].Config {
		t.Errorf("config is not named after its digest: %s", manifest[0].Config)
	}
	var config struct {
		OS     string
		Config struct{ Entrypoint []string }
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	decode(t, raw, &config)
	layer := archive[manifest[0].Layers[0]]
	sum := sha256.Sum256(layer)
	if want := []string{"sha256:" + hex.EncodeToString(sum[:])}; !cmp.Equal(want, config.RootFS.DiffIDs) {
		t.Errorf("diff ids = %v, want %v", config.RootFS.DiffIDs, want)
	}
	if config.OS != "linux" || !cmp.Equal([]string{"/bin/app"}, config.Config.Entrypoint) {
		t.Errorf("config = %+v", config)
	}
}

func TestLayer(t *testing.T) {
	archive := read(t, write(t, sample(t)))
	var names []string
	modes := map[string]int64{}
	links := map[string]string{}
	for r := tar.NewReader(bytes.NewReader(archive["layer.tar"])); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		modes[h.Name] = h.Mode
		links[h.Name] = h.Linkname
	}
	want := []string{"tmp/", "etc/", "etc/passwd", "etc/group", "etc/nsswitch.conf", "bin/", "bin/app", "usr/", "usr/bin/", "usr/bin/alias"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("entries, parents first (-want +got):\n%s", diff)
	}
	if modes["bin/app"] != 0o755 || modes["tmp/"] != 0o1777 || links["usr/bin/alias"] != "/bin/app" {
		t.Errorf("modes %v, links %v", modes, links)
	}
}

func TestWriteIsReproducible(t *testing.T) {
	im := sample(t)
	if !bytes.Equal(write(t, im), write(t, im)) {
		t.Error("the same files gave two different images")
	}
}

func TestWriteSaysWhatIsMissing(t *testing.T) {
	im := image.Image{Ref: "r:1", Files: []image.File{{Source: filepath.Join(t.TempDir(), "absent"), Path: "/x"}}}
	if err := im.Write(io.Discard, temp(t)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error = %v, want that the file does not exist", err)
	}
}

func sample(t *testing.T) image.Image {
	t.Helper()
	app := filepath.Join(t.TempDir(), "app")
	if err := os.WriteFile(app, []byte("program"), 0o600); err != nil {
		t.Fatal(err)
	}
	return image.Image{
		Ref:        "registry.example.com/app:1",
		Files:      []image.File{{Source: app, Path: "/bin/app"}},
		Links:      []image.Link{{Target: "/bin/app", Path: "/usr/bin/alias"}},
		Entrypoint: []string{"/bin/app"},
	}
}

func temp(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "layer"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func write(t *testing.T, im image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := im.Write(&b, temp(t)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func read(t *testing.T, raw []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(raw)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

func decode(t *testing.T, raw []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatal(err)
	}
}

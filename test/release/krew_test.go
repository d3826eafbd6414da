//go:build release

package release

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const older = "v9.8.6"

func here() string { return runtime.GOOS + "/" + runtime.GOARCH }

func manifestFile() string { return filepath.Join(dist, "krew-manifest.yaml") }

// manifest is what krew reads of one (sigs.k8s.io/krew/pkg/index, Plugin).
type manifest struct {
	Spec struct {
		Version, ShortDescription, Description string
		Platforms                              []struct {
			URI, Sha256, Bin string
			Selector         struct{ MatchLabels struct{ OS, Arch string } }
		}
	}
}

func readManifest(t *testing.T) manifest {
	t.Helper()
	content, err := os.ReadFile(manifestFile())
	if err != nil {
		t.Fatal(err)
	}
	var m manifest
	if err := yaml.Unmarshal(content, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestKrewManifest(t *testing.T) {
	m := readManifest(t)
	if m.Spec.Version != version || len(m.Spec.ShortDescription) > 50 {
		t.Errorf("version %s, short description %q", m.Spec.Version, m.Spec.ShortDescription)
	}
	for line := range strings.Lines(m.Spec.Description) {
		if len(strings.TrimRight(line, "\n")) > 80 {
			t.Errorf("the description has a line of more than 80 characters: %q", line)
		}
	}
	var seen []string
	for _, p := range m.Spec.Platforms {
		platform := p.Selector.MatchLabels.OS + "/" + p.Selector.MatchLabels.Arch
		seen = append(seen, platform)
		content, err := os.ReadFile(archiveOf(platform))
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%x", sha256.Sum256(content)); got != p.Sha256 || p.Bin != binaryIn(platform) {
			t.Errorf("%s: sha256 %s, bin %s, want %s, %s", platform, p.Sha256, p.Bin, got, binaryIn(platform))
		}
		if want := "/releases/download/" + version + "/" + filepath.Base(archiveOf(platform)); !strings.HasSuffix(p.URI, want) {
			t.Errorf("%s: %s, want …%s", platform, p.URI, want)
		}
	}
	slices.Sort(seen)
	if !slices.Equal(seen, platforms) {
		t.Errorf("the manifest has %v, want %v", seen, platforms)
	}
}

// What is at the top of the repository is that of the last release.
func TestKrewManifestOfTheLastRelease(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(root, "krew-manifest.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "etcd.yaml") // krew wants the plugin's name
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	validator, err := filepath.Abs(filepath.Join(root, "bin/tools/validate-krew-manifest"))
	if err != nil {
		t.Fatal(err)
	}
	command(t, nil, validator, "-manifest", file, "-skip-install")
}

// krew is kubectl with krew in a root of its own.
type krew struct {
	root string
	env  []string
}

// newKrew builds krew, once, out of its own module.
func newKrew(t *testing.T, env ...string) *krew {
	t.Helper()
	tools, err := filepath.Abs(filepath.Join(root, "bin/tools/krew"))
	if err != nil {
		t.Fatal(err)
	}
	command(t, []string{"CGO_ENABLED=0"}, "go", "-C", root, "build", "-modfile=test/release/krew/go.mod", "-o", filepath.Join(tools, "kubectl-krew"), "sigs.k8s.io/krew/cmd/krew")
	dir := t.TempDir()
	return &krew{dir, append([]string{
		"KREW_ROOT=" + dir, "KREW_NO_UPGRADE_CHECK=1", "KUBECONFIG=" + os.DevNull, "HOME=" + dir,
		"PATH=" + filepath.Join(dir, "bin") + string(os.PathListSeparator) + tools + string(os.PathListSeparator) + os.Getenv("PATH"),
	}, env...)}
}

func (k *krew) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return command(t, k.env, "kubectl", args...)
}

// try runs what may fail, and returns all that it says.
func (k *krew) try(args ...string) (string, error) {
	c := exec.Command("kubectl", args...)
	c.Env = append(slices.Clip(os.Environ()), k.env...)
	out, err := c.CombinedOutput()
	return string(out), err
}

// Each platform's archive, by krew as it runs there.
func TestKrewInstallsEveryPlatform(t *testing.T) {
	for _, platform := range platforms {
		t.Run(platform, func(t *testing.T) {
			system, arch, _ := strings.Cut(platform, "/")
			k := newKrew(t, "KREW_OS="+system, "KREW_ARCH="+arch)
			k.kubectl(t, "krew", "install", "--manifest", manifestFile(), "--archive", archiveOf(platform))
			for name, want := range unpack(t, archiveOf(platform)) {
				got, err := os.ReadFile(filepath.Join(k.root, "store/etcd", version, name))
				if err != nil || !bytes.Equal(got, want.content) {
					t.Errorf("%s was not installed as it is in the archive: %v", name, err)
				}
			}
			linked, err := filepath.EvalSymlinks(filepath.Join(k.root, "bin", binaryIn(platform)))
			if err != nil || filepath.Base(linked) != binaryIn(platform) {
				t.Errorf("the link leads to %q: %v", linked, err)
			}
		})
	}
}

// krew takes no archive but the manifest's.
func TestKrewRefusesAnotherArchive(t *testing.T) {
	k := newKrew(t, "KREW_OS=linux", "KREW_ARCH=amd64")
	defer func() {
		if _, err := os.Stat(filepath.Join(k.root, "store/etcd")); err == nil {
			t.Error("an archive with another sha256 was installed")
		}
	}()
	if out, err := k.try("krew", "install", "--manifest", manifestFile(), "--archive", archiveOf("linux/arm64")); err == nil || !strings.Contains(out, "checksum") {
		t.Errorf("want an error about the checksum: %v: %s", err, out)
	}
}

// The way of a user: an index, install, use, upgrade, uninstall.
func TestKrewLifecycle(t *testing.T) {
	files := http.NewServeMux()
	server := httptest.NewServer(files)
	defer server.Close()
	files.Handle("/"+version+"/", http.StripPrefix("/"+version+"/", http.FileServer(http.Dir(dist))))
	files.HandleFunc("/"+older+"/", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(olderArchive(t)) })

	index := newIndex(t)
	k := newKrew(t, "KREW_DEFAULT_INDEX_URI="+index.dir)
	index.put(t, olderManifest(t, server.URL))
	k.kubectl(t, "krew", "update")
	if found := k.kubectl(t, "krew", "search", "etcd"); !strings.Contains(found, readManifest(t).Spec.ShortDescription) {
		t.Errorf("search says %s", found)
	}
	k.kubectl(t, "krew", "install", "etcd")
	k.wantVersion(t, older)
	if listed := k.kubectl(t, "plugin", "list"); !strings.Contains(listed, filepath.Join(k.root, "bin/kubectl-etcd")) {
		t.Errorf("plugin list says %s", listed)
	}

	index.put(t, newerManifest(t, server.URL))
	k.kubectl(t, "krew", "update")
	k.kubectl(t, "krew", "upgrade", "etcd")
	k.wantVersion(t, version)

	k.kubectl(t, "krew", "uninstall", "etcd")
	for _, gone := range []string{"bin/kubectl-etcd", "store/etcd"} {
		if _, err := os.Lstat(filepath.Join(k.root, gone)); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", gone, err)
		}
	}
	if out, err := k.try("etcd", "version"); err == nil {
		t.Errorf("kubectl etcd still runs: %s", out)
	}
}

// This platform's archive without an index, as it is tried before a release.
func TestKrewInstallsHere(t *testing.T) {
	k := newKrew(t)
	k.kubectl(t, "krew", "install", "--manifest", manifestFile(), "--archive", archiveOf(here()))
	k.wantVersion(t, version)
	if help := k.kubectl(t, "etcd", "--help"); !strings.Contains(help, "kubectl etcd") {
		t.Errorf("help says %s", help)
	}
	k.kubectl(t, "etcd", "completion", "install")
	if words := k.kubectl(t, "__complete", "etcd", "stat"); !strings.Contains(words, "status") {
		t.Errorf("kubectl completes %s", words)
	}
}

func (k *krew) wantVersion(t *testing.T, want string) {
	t.Helper()
	if got := k.kubectl(t, "etcd", "version", "-o", "jsonpath={.version}"); got != want {
		t.Errorf("kubectl etcd version says %q, want %s", got, want)
	}
}

// olderArchive is an earlier build of this platform.
var olderArchive = onceFor(func(t *testing.T) []byte {
	path := filepath.Join(t.TempDir(), "kubectl-etcd")
	command(t, []string{"CGO_ENABLED=0"}, "go", "-C", root, "build", "-trimpath", "-ldflags", "-s -w -X github.com/kubectl-etcd/kubectl-etcd/pkg/cmd.version="+older, "-o", path, "./cmd/kubectl-etcd")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	z := gzip.NewWriter(&archive)
	w := tar.NewWriter(z)
	if err := w.WriteHeader(&tar.Header{Name: "kubectl-etcd", Mode: 0o755, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	for _, c := range []interface{ Close() error }{w, z} {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return archive.Bytes()
})

func onceFor[T any](f func(*testing.T) T) func(*testing.T) T {
	var made *T
	return func(t *testing.T) T {
		if made == nil {
			value := f(t)
			made = &value
		}
		return *made
	}
}

// newerManifest is the release's, with addresses on this machine.
func newerManifest(t *testing.T, server string) string {
	t.Helper()
	content, err := os.ReadFile(manifestFile())
	if err != nil {
		t.Fatal(err)
	}
	at := "https://github.com/kubectl-etcd/kubectl-etcd/releases/download"
	if !bytes.Contains(content, []byte(at)) {
		t.Fatalf("no address to replace in %s", content)
	}
	return strings.ReplaceAll(string(content), at, server)
}

// olderManifest is one of the earlier build, for this platform.
func olderManifest(t *testing.T, server string) string {
	t.Helper()
	m := newerManifest(t, server)
	for _, p := range readManifest(t).Spec.Platforms {
		if p.Selector.MatchLabels.OS+"/"+p.Selector.MatchLabels.Arch == here() {
			m = strings.ReplaceAll(m, p.Sha256, fmt.Sprintf("%x", sha256.Sum256(olderArchive(t))))
		}
	}
	return strings.ReplaceAll(m, version, older)
}

// krewIndex is a repository of manifests, as krew-index is one.
type krewIndex struct{ dir string }

func newIndex(t *testing.T) krewIndex {
	t.Helper()
	i := krewIndex{t.TempDir()}
	i.git(t, "init", "--quiet")
	return i
}

func (i krewIndex) git(t *testing.T, args ...string) {
	t.Helper()
	command(t, nil, "git", append([]string{"-C", i.dir, "-c", "user.name=test", "-c", "user.email=test@example.com"}, args...)...)
}

func (i krewIndex) put(t *testing.T, manifest string) {
	t.Helper()
	path := filepath.Join(i.dir, "plugins/etcd.yaml")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(manifest), 0o644); err != nil {
		t.Fatal(err)
	}
	i.git(t, "add", ".")
	i.git(t, "commit", "--quiet", "-m", "etcd")
}

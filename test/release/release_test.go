//go:build release

// Package release makes a release and looks at what came of it, with real krew.
package release

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	root    = "../.."
	version = "v9.8.7"
	image   = "registry.example.com/ops/kubectl-etcd"
)

// dist is what make release made.
var dist = filepath.Join(root, "dist")

var platforms = []string{"darwin/amd64", "darwin/arm64", "linux/amd64", "linux/arm64", "windows/amd64", "windows/arm64"}

func TestMain(m *testing.M) {
	// -w: what make itself says is no part of the image's name.
	c := exec.Command("make", "-w", "-C", root, "release", "VERSION="+version, "RELEASE_IMAGE="+image)
	c.Stdout, c.Stderr = os.Stderr, os.Stderr
	c.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "MAKEFLAGS=") }) // those of a make around it
	if err := c.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "make release:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// archiveOf is the path of a platform's archive.
func archiveOf(platform string) string {
	ending := "tar.gz"
	if strings.HasPrefix(platform, "windows") {
		ending = "zip"
	}
	return filepath.Join(dist, fmt.Sprintf("kubectl-etcd_%s_%s.%s", version, strings.ReplaceAll(platform, "/", "_"), ending))
}

// binaryIn is the plugin's name in a platform's archive.
func binaryIn(platform string) string {
	if strings.HasPrefix(platform, "windows") {
		return "kubectl-etcd.exe"
	}
	return "kubectl-etcd"
}

// entry is a file in an archive.
type entry struct {
	mode    fs.FileMode
	content []byte
}

func unpack(t *testing.T, path string) map[string]entry {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(path, ".zip") {
		return unzip(t, content)
	}
	return untar(t, content)
}

func unzip(t *testing.T, content []byte) map[string]entry {
	t.Helper()
	files := map[string]entry{}
	r, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.File {
		body, err := fs.ReadFile(r, f.Name)
		if err != nil {
			t.Fatal(err)
		}
		files[f.Name] = entry{f.Mode(), body}
	}
	return files
}

func untar(t *testing.T, content []byte) map[string]entry {
	t.Helper()
	files := map[string]entry{}
	z, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[header.Name] = entry{header.FileInfo().Mode(), body}
	}
}

func TestArchives(t *testing.T) {
	licence, err := os.ReadFile(filepath.Join(root, "LICENSE"))
	if err != nil {
		t.Fatal(err)
	}
	for _, platform := range platforms {
		t.Run(platform, func(t *testing.T) {
			files := unpack(t, archiveOf(platform))
			binary := files[binaryIn(platform)]
			if len(files) != 2 || !bytes.Equal(files["LICENSE"].content, licence) || binary.mode.Perm() != 0o755 {
				t.Errorf("the archive has %d files, want LICENSE and %s (mode %s)", len(files), binaryIn(platform), binary.mode)
			}
			if got := builtFor(t, binary.content); got != platform {
				t.Errorf("the binary is for %s", got)
			}
			if len(binary.content) > 80e6 {
				t.Errorf("the binary has %d bytes, more than 80 MB", len(binary.content))
			}
			if info, err := os.Stat(archiveOf(platform)); err != nil || info.Size() > 25e6 {
				t.Errorf("the archive: %v, or more than 25 MB: %d", err, info.Size())
			}
		})
	}
}

// builtFor reads a program's platform out of its header.
func builtFor(t *testing.T, content []byte) string {
	t.Helper()
	r := bytes.NewReader(content)
	if f, err := elf.NewFile(r); err == nil {
		return map[elf.Machine]string{elf.EM_X86_64: "linux/amd64", elf.EM_AARCH64: "linux/arm64"}[f.Machine]
	}
	if f, err := macho.NewFile(r); err == nil {
		return map[macho.Cpu]string{macho.CpuAmd64: "darwin/amd64", macho.CpuArm64: "darwin/arm64"}[f.Cpu]
	}
	f, err := pe.NewFile(r)
	if err != nil {
		t.Fatal("neither ELF nor Mach-O nor PE")
	}
	return map[uint16]string{pe.IMAGE_FILE_MACHINE_AMD64: "windows/amd64", pe.IMAGE_FILE_MACHINE_ARM64: "windows/arm64"}[f.Machine]
}

func TestChecksums(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(dist, "checksums.txt"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for line := range strings.Lines(string(content)) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		want[name] = sum
	}
	names := []string{"kubectl-etcd_" + version + "_image.tar"}
	for _, platform := range platforms {
		base := filepath.Base(archiveOf(platform))
		names = append(names, base, strings.TrimSuffix(strings.TrimSuffix(base, ".zip"), ".tar.gz")+".cdx.json")
	}
	if len(want) != len(names) { // docs/install.md says of what they are
		t.Errorf("checksums.txt has %d files, want %d: %v", len(want), len(names), want)
	}
	for _, name := range names {
		content, err := os.ReadFile(filepath.Join(dist, name))
		if err != nil {
			t.Error(err)
			continue
		}
		if got := fmt.Sprintf("%x", sha256.Sum256(content)); got != want[name] {
			t.Errorf("%s has sha256 %s, checksums.txt says %q", name, got, want[name])
		}
	}
}

// A bill of materials names what is in that binary, and nothing that only tests use, nor when or
// as which document it was made: the same commit gives the same bytes.
func TestBillsOfMaterials(t *testing.T) {
	for _, platform := range platforms {
		content, err := os.ReadFile(filepath.Join(dist, fmt.Sprintf("kubectl-etcd_%s_%s.cdx.json", version, strings.ReplaceAll(platform, "/", "_"))))
		if err != nil {
			t.Fatal(err)
		}
		var bill struct {
			BOMFormat, SerialNumber string
			Metadata                struct{ Timestamp string }
			Components              []struct{ Name, Version, Purl string }
		}
		if err := json.Unmarshal(content, &bill); err != nil {
			t.Fatal(err)
		}
		names := map[string]string{}
		for _, c := range bill.Components {
			names[c.Name] = c.Purl
		}
		for _, module := range []string{"go.etcd.io/etcd/client/v3", "k8s.io/client-go", "filippo.io/age"} {
			if !strings.HasPrefix(names[module], "pkg:golang/"+module+"@v") {
				t.Errorf("%s: %s is %q", platform, module, names[module])
			}
		}
		if bill.SerialNumber != "" || bill.Metadata.Timestamp != "" {
			t.Errorf("%s: number %q, time %q: another one each time", platform, bill.SerialNumber, bill.Metadata.Timestamp)
		}
		if bill.BOMFormat != "CycloneDX" || names["github.com/rogpeppe/go-internal"] != "" {
			t.Errorf("%s: %s, with testscript: %q", platform, bill.BOMFormat, names["github.com/rogpeppe/go-internal"])
		}
	}
}

// The image's digest is in the binary, and is that of the image beside it.
func TestImageDigest(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(dist, "kubectl-etcd_"+version+"_image.tar"))
	if err != nil {
		t.Fatal(err)
	}
	var index struct {
		Manifests []struct {
			Digest      string
			Annotations map[string]string
		}
	}
	for r := tar.NewReader(bytes.NewReader(content)); ; {
		header, err := r.Next()
		if err != nil {
			t.Fatal("no index.json: ", err)
		}
		if header.Name == "index.json" {
			if err := json.NewDecoder(r).Decode(&index); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	if len(index.Manifests) != 1 || index.Manifests[0].Annotations["io.containerd.image.name"] != image+":"+version {
		t.Fatalf("the image's index has %+v", index.Manifests)
	}
	want := image + "@" + index.Manifests[0].Digest
	for _, platform := range platforms {
		if !bytes.Contains(unpack(t, archiveOf(platform))[binaryIn(platform)].content, []byte(want)) {
			t.Errorf("%s: the binary does not name %s", platform, want)
		}
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "kubectl-etcd")
	if err := os.WriteFile(path, unpack(t, archiveOf(here()))[binaryIn(here())].content, 0o755); err != nil {
		t.Fatal(err)
	}
	var said struct{ Version, RelayImage string }
	if err := json.Unmarshal([]byte(command(t, nil, path, "version", "-o", "json")), &said); err != nil {
		t.Fatal(err)
	}
	if said.Version != version || said.RelayImage != want {
		t.Errorf("version says %+v, want %s and %s", said, version, want)
	}
}

// command runs a program and returns what it says on stdout.
func command(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	c := exec.Command(name, args...)
	c.Env = append(slices.Clip(os.Environ()), env...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", filepath.Base(name), strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out)
}

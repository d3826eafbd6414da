package discover

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// copyNode is a node's disk that a test may change.
func copyNode(t *testing.T, dir string) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "a [disk") // no pattern, whatever its name looks like
	if err := os.CopyFS(root, os.DirFS(onNode+dir)); err != nil {
		t.Fatal(err)
	}
	return root
}

func writeFile(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func readOne(t *testing.T, root string) (*Local, LocalCluster) {
	t.Helper()
	local, err := ReadNode(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(local.Clusters) != 1 {
		t.Fatalf("%d clusters: %+v", len(local.Clusters), local)
	}
	return local, local.Clusters[0]
}

func TestRootIsALink(t *testing.T) {
	link := filepath.Join(t.TempDir(), "node")
	if err := os.Symlink(copyNode(t, "kubeadm"), link); err != nil {
		t.Fatal(err)
	}
	for _, root := range []string{link, link + "/"} {
		if local, got := readOne(t, root); local.Node != "node1" || got.DataDir != link+"/srv/etcd" {
			t.Errorf("%s: node %s, data in %s", root, local.Node, got.DataDir)
		}
	}
}

// A link on the node's disk means a file on that disk, though there is one of that name
// here as well.
func TestLinksOfFiles(t *testing.T) {
	root, here := copyNode(t, "rke2"), t.TempDir()
	link := func(name, content string) (target string) {
		target = filepath.Join(here, filepath.Base(name))
		writeFile(t, target, "name: wrong\ndata-dir: /wrong\n")
		writeFile(t, filepath.Join(root, target), content)
		name = filepath.Join(root, name)
		if err := os.RemoveAll(name); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, name); err != nil {
			t.Fatal(err)
		}
		return target
	}
	const manifest = "data/rke2/agent/pod-manifests/etcd.yaml"
	etcd := link(manifest, readFile(t, filepath.Join(root, manifest)))
	link("etc/rancher/rke2/config.yaml.d/99-disk.yaml", "data-dir: /data/rke2\n")
	database := link("data/rke2/server/db/etcd/member", "a directory in truth")
	local, got := readOne(t, root)
	if got.MemberName != "node0-3f1" || got.Manifest != filepath.Join(root, etcd) || len(local.Notes) > 0 {
		t.Errorf("member %s of %s, notes %q", got.MemberName, got.Manifest, local.Notes)
	}
	if want := filepath.Join(root, database, "snap/db"); got.Database != want {
		t.Errorf("database %s, want %s", got.Database, want)
	}
}

// kubelet may run either: the one that is taken gives all that is said.
func TestTwoManifestsOfOnePod(t *testing.T) {
	root := copyNode(t, "kubeadm")
	dir := filepath.Join(root, kubeadmManifests)
	etcd := filepath.Join(dir, "etcd.yaml")
	writeFile(t, etcd+".bak", strings.ReplaceAll(readFile(t, etcd), "/srv/etcd", "/srv/old"))
	local, got := readOne(t, root)
	if got.Manifest != etcd || got.DataDir != filepath.Join(root, "srv/etcd") || len(got.Pods) != 1 {
		t.Errorf("manifest %s, data in %s, %d pods", got.Manifest, got.DataDir, len(got.Pods))
	}
	if len(local.Notes) != 1 {
		t.Fatalf("notes %q", local.Notes)
	}
	wantParts(t, "note", local.Notes[0], []string{"two manifests", etcd + ", which is taken here", etcd + ".bak: move"})

	if err := os.Remove(etcd + ".bak"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("etcd.yaml", filepath.Join(dir, "same.yaml")); err != nil {
		t.Fatal(err)
	}
	if local, _ := readOne(t, root); len(local.Notes) > 0 {
		t.Errorf("a link to the same file: %q", local.Notes)
	}
}

func TestGlob(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"b.yaml", "a.yaml", "c.yml"} {
		writeFile(t, filepath.Join(root, "data/conf", name), "")
	}
	if err := os.Symlink("/data", filepath.Join(root, "etc")); err != nil {
		t.Fatal(err)
	}
	got := slices.Concat(disk{root}.glob("/etc/conf/*.yaml"), disk{root}.glob("/none/*.yaml"))
	if diff := cmp.Diff([]string{"/etc/conf/a.yaml", "/etc/conf/b.yaml"}, got); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
}

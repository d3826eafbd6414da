package cmd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The disk is a's, which is dead, and it is mounted on the node of b: b answers where a
// would.
func TestNodeRootOfAnotherMember(t *testing.T) {
	d := newNodeDisk(t, 3)
	a, b := d.cluster.Members[0], d.cluster.Members[1]
	manifest := "etc/kubernetes/manifests/etcd.yaml"
	content, err := os.ReadFile(filepath.Join(d.root, manifest))
	if err != nil {
		t.Fatal(err)
	}
	d.write(manifest, strings.ReplaceAll(string(content), "--listen-client-urls="+a.ClientURL, "--listen-client-urls="+b.ClientURL))
	a.Stop()
	d.wantRows("another answers", map[string]bool{"a": false, "b": true, "c": true},
		b.Addr()+" is member b, not this disk's a", "its data is in "+d.root+"/var/lib/etcd",
		b.Addr()+" is asked on the machine that this runs on")

	file := filepath.Join(t.TempDir(), "a.db")
	code, out, errOut := d.run("backup", "-f", file, "--from", "a")
	if code != exitError && code != exitUsage {
		t.Errorf("a snapshot of the dead member: exit code %d, %s%s", code, out, errOut)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("there is a snapshot of the dead member")
	}
	b.Stop()
	d.wantRows("one is left", map[string]bool{"a": false, "b": false, "c": true},
		b.Addr()+" is asked on the machine that this runs on")
	d.cluster.Members[2].Stop()
	d.wantRows("none answers", map[string]bool{"a": false, "b": false, "c": false},
		b.Addr()+" is asked on the machine that this runs on")
}

func TestNoteOfLoopback(t *testing.T) {
	for _, test := range []struct {
		root, url string
		noted     bool
	}{
		{"/mnt", "https://127.0.0.1:2379", true},
		{"/mnt", "https://[::1]:2379", true},
		{"/mnt/", "https://localhost:2379", true},
		{"/mnt", "https://10.0.0.1:2379", false},
		{"/mnt", "https://etcd-1.example:2379", false},
		{"/", "https://127.0.0.1:2379", false},
		{"//", "https://127.0.0.1:2379", false},
	} {
		n := nodeSearch{root: test.root}
		n.cluster.URL = test.url
		notes := n.loopback()
		if noted := len(notes) == 1 && strings.Contains(notes[0], test.root); noted != test.noted {
			t.Errorf("%s on %s: %q", test.url, test.root, notes)
		}
	}
}

// What is wrong with the database may be why etcd does not run.
func TestDamagedDatabaseOnNode(t *testing.T) {
	d := newNodeDisk(t, 1)
	d.cluster.Members[0].Stop()
	database := filepath.Join(d.root, "var/lib/etcd/member/snap/db")
	if err := os.Truncate(database, 8192); err != nil {
		t.Fatal(err)
	}
	d.wantRows("cut off", map[string]bool{"a": false}, "this node's member can't be looked into: read database "+database, "cut off")
}

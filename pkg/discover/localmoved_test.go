package discover

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A stopped etcd is not named as one to ask: its data and the other nodes are.
func TestManifestMovedAway(t *testing.T) {
	for _, test := range []struct{ name, to string }{
		{"by a restore's steps", "etc/kubernetes/manifests.held-kubectl-etcd-20260102T030405Z-01020304/etcd.yaml"},
		{"by hand", "etc/kubernetes/etcd.yaml"},
	} {
		root := copyNode(t, "kubeadm")
		dir := filepath.Join(root, kubeadmManifests)
		moved := filepath.Join(root, test.to)
		writeFile(t, filepath.Join(root, "etc/kubernetes/other.yaml"), "no: [pod")
		for _, servers := range []string{"runs", "was moved, too"} {
			if servers != "runs" {
				move(t, filepath.Join(dir, "kube-apiserver.yaml"), filepath.Join(filepath.Dir(moved), "kube-apiserver.yaml"))
			} else {
				move(t, filepath.Join(dir, "etcd.yaml"), moved)
			}
			_, err := ReadNode(root)
			var notFound *NotFoundError
			if !errors.As(err, &notFound) {
				t.Fatalf("%s, the API server %s: %v", test.name, servers, err)
			}
			wantParts(t, test.name, notFound.Reason, []string{"moved away", moved + ", not in " + dir, "its data is in " + root + "/srv/etcd"})
			wantParts(t, test.name, notFound.Instead, []string{"on another control plane node", "status --on-node", "mv " + moved + " " + dir + "/"})
			if strings.Contains(notFound.Instead, "--endpoints") {
				t.Errorf("%s, the API server %s: %s", test.name, servers, notFound.Instead)
			}
		}
	}
}

func move(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// The newest restore's come first, and what kubelet runs is not among them.
func TestManifestsBeside(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"manifests/etcd.yaml", "manifests.held-1/etcd.yaml", "manifests.held-2/etcd.yaml", "pki/etcd.yaml", "etcd.yaml"} {
		writeFile(t, filepath.Join(root, "etc/kubernetes", name), "")
	}
	got := strings.Join(disk{root}.beside(kubeadmManifests+"/"), " ")
	want := "/etc/kubernetes/manifests.held-2/etcd.yaml /etc/kubernetes/manifests.held-1/etcd.yaml /etc/kubernetes/etcd.yaml"
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

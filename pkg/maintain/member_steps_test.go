package maintain

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// firstManifest is etcd's as kubeadm init writes it, joinedManifest as kubeadm join does.
const (
	firstManifest = `spec:
  containers:
  - command:
    - etcd
    - --data-dir=/var/lib/etcd
    - --initial-advertise-peer-urls=https://10.0.0.1:2380
    - --initial-cluster=a=https://10.0.0.1:2380
    - --name=a
    image: etcd
    name: etcd
`
	joinedManifest = `spec:
  containers:
  - command:
    - etcd
    - --data-dir=/var/lib/etcd
    - --initial-advertise-peer-urls=https://10.0.0.1:2380
    - --initial-cluster=b=https://10.0.0.2:2380,a=https://10.0.0.1:2380
    - --initial-cluster-state=existing
    - --initial-cluster-token=keep
    - --name=a
    image: etcd
    name: etcd
`
	started = `spec:
  containers:
  - command:
    - etcd
    - --data-dir=/var/lib/etcd
    - --initial-cluster=a=https://10.0.0.1:2380,c=https://10.0.0.3:2380
    - --initial-cluster-state=existing
    - --initial-advertise-peer-urls=https://10.0.0.1:2380
    - --name=a
    image: etcd
    name: etcd
`
)

func joiningIn(dir string) Joining {
	return Joining{
		Member:         etcd.Member{ID: 0xab, Name: "a", PeerURLs: []string{"https://10.0.0.1:2380"}, Learner: true},
		InitialCluster: "a=https://10.0.0.1:2380,c=https://10.0.0.3:2380", Node: "node-a", Promote: "echo promoted",
		Layout: Layout{ManifestDir: filepath.Join(dir, "manifests"), Manifest: "etcd", DataDir: filepath.Join(dir, "etcd"), DataDirFlag: filepath.Join(dir, "etcd")},
	}
}

// The printed commands, run twice, on a node's files: with etcd's manifest in its place or put
// away before, and with the old data, something else in its place, or nothing.
func TestNodeStepsMoveTheFiles(t *testing.T) {
	for _, test := range []struct {
		name     string
		manifest string
		away     bool
		data     string // of member/snap/db; empty: there is no member directory
		want     string
	}{
		{"the first member's, its data there", firstManifest, false, "old", started},
		{"one that joined, put away", joinedManifest, true, "old", strings.Replace(started, "    - --name", "    - --initial-cluster-token=keep\n    - --name", 1)},
		{"no data", firstManifest, false, "", started},
		{"quoted", strings.ReplaceAll(joinedManifest, "- --initial-cluster-state=existing", `- "--initial-cluster-state=new"`), false, "old",
			strings.Replace(started, "    - --name", "    - --initial-cluster-token=keep\n    - --name", 1)},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "no de") // a space: everything must be quoted
			j := joiningIn(dir)
			held := filepath.Join(dir, "manifests.held")
			first := filepath.Join(j.Layout.ManifestDir, "etcd.yaml")
			if test.away {
				first = filepath.Join(held, "etcd.yaml")
			}
			put(t, first, test.manifest)
			put(t, filepath.Join(j.Layout.ManifestDir, "kube-apiserver.yaml"), "apiserver")
			if test.data != "" {
				put(t, filepath.Join(j.Layout.DataDir, "member", "snap", "db"), test.data)
			}
			for range 2 {
				for _, step := range j.NodeSteps() {
					if step.Later {
						continue
					}
					for _, command := range step.Commands {
						sh(t, command)
					}
				}
			}
			if diff := cmp.Diff(test.want, read(t, filepath.Join(j.Layout.ManifestDir, "etcd.yaml"))); diff != "" {
				t.Errorf("the manifest (-want +got):\n%s", diff)
			}
			if got := read(t, filepath.Join(held, "etcd.before-ab")); got != test.manifest {
				t.Errorf("the manifest of before is\n%s", got)
			}
			if _, err := os.Stat(filepath.Join(j.Layout.DataDir, "member")); err == nil {
				t.Error("the old data is there still")
			}
			old := filepath.Join(j.Layout.DataDir, "member.before-ab", "snap", "db")
			if test.data != "" && read(t, old) != test.data {
				t.Error("the old data was not put aside")
			}

			put(t, filepath.Join(j.Layout.DataDir, "member", "snap", "db"), "new") // etcd runs: once more changes nothing
			for _, step := range j.NodeSteps() {
				for _, command := range step.Commands {
					sh(t, command)
				}
			}
			if got := read(t, filepath.Join(j.Layout.DataDir, "member", "snap", "db")); got != "new" {
				t.Errorf("the new member's data is %q", got)
			}
			for _, gone := range []string{filepath.Join(held, "etcd.before-ab"), filepath.Dir(filepath.Dir(old))} {
				if _, err := os.Stat(gone); err == nil {
					t.Errorf("%s is there after the last step", gone)
				}
			}
		})
	}
}

// An etcd that does not run just now may be started once more by a kubelet that has not seen yet
// that its manifest is gone.
func TestNodeStepsWaitForTheKubelet(t *testing.T) {
	j := joiningIn(t.TempDir())
	put(t, filepath.Join(j.Layout.ManifestDir, "etcd.yaml"), firstManifest)
	commands := j.NodeSteps()[0].Commands
	sh(t, commands[0])
	sh(t, commands[1])
	for ago, waits := range map[string]bool{unseen: true, "0 seconds ago": false} {
		command := strings.ReplaceAll(strings.ReplaceAll(commands[2], unseen, ago), "timeout 180", "timeout 2")
		if err := exec.Command("sh", "-c", command).Run(); (err != nil) != waits {
			t.Errorf("moved away %s: %v", ago, err)
		}
	}
}

// A manifest of another shape, or of another member, is left alone, and said so.
func TestNodeStepsRefuseAnotherShape(t *testing.T) {
	for name, manifest := range map[string]string{
		"flags in one line":             "spec: {containers: [{command: [etcd, --data-dir=/var/lib/etcd, --name=a]}]}\n",
		"initial-cluster's value apart": strings.ReplaceAll(firstManifest, "--initial-cluster=", "--initial-cluster\n    - "),
		"the state's value apart":       strings.ReplaceAll(joinedManifest, "--initial-cluster-state=", "--initial-cluster-state\n    - "),
		"one dash":                      strings.ReplaceAll(firstManifest, "- --initial-cluster=", "- -initial-cluster="),
		"a configuration file besides":  strings.ReplaceAll(firstManifest, "    - --data-dir=", "    - --config-file=/etc/etcd.yaml\n    - --data-dir="),
		"another name":                  strings.ReplaceAll(firstManifest, "--name=a", "--name=ab"),
		"other peer URLs":               strings.ReplaceAll(firstManifest, "urls=https://10.0.0.1:", "urls=https://10.0.0.10:"),
		"a flag and its value":          strings.ReplaceAll(joinedManifest, "- --initial-advertise-peer-urls=", "- --initial-advertise-peer-urls\n    - "),
		"no data directory":             strings.ReplaceAll(firstManifest, "    - --data-dir=/var/lib/etcd\n", ""),
		"two etcds in one pod":          firstManifest + firstManifest,
	} {
		t.Run(name, func(t *testing.T) { refusesManifest(t, manifest) })
	}
}

func refusesManifest(t *testing.T, manifest string) {
	t.Helper()
	j := joiningIn(t.TempDir())
	put(t, filepath.Join(j.Layout.ManifestDir, "etcd.yaml"), manifest)
	var last []byte
	for _, step := range j.NodeSteps() {
		for _, command := range step.Commands {
			var err error
			if last, err = exec.Command("sh", "-c", strings.ReplaceAll(command, unseen, "0 seconds ago")).CombinedOutput(); err != nil {
				if step.ID != "start" || !strings.Contains(string(last), "by hand") {
					t.Errorf("%s failed: %s", step.ID, last)
				}
				if _, err := os.Stat(filepath.Join(j.Layout.ManifestDir, "etcd.yaml")); err == nil {
					t.Error("a manifest was put in place all the same")
				}
				return
			}
		}
	}
	t.Error("no command failed")
}

func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func sh(t *testing.T, command string) {
	t.Helper()
	command = strings.ReplaceAll(command, unseen, "0 seconds ago") // no kubelet looks here
	if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
}

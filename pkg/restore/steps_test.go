package restore

import (
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/runbook"
)

func kubeadmPlan(t *testing.T) *Plan {
	t.Helper()
	p, err := NewPlan(threeMembers(), Options{OutDir: t.TempDir(), Token: "kubectl-etcd-t"})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestNextStepsInOrder(t *testing.T) {
	steps := NextSteps(kubeadmPlan(t), StepOptions{})
	type row struct {
		ID, Where string
		On        []string
	}
	var got []row
	for _, s := range steps {
		got = append(got, row{s.ID, s.Where, s.On})
	}
	every, all := "every control-plane node", []string{"a", "b", "c"}
	want := []row{
		{"copy", "here", nil},
		{"stop", every, all},
		{"stopped", every, all},
		{"swap", every, all},
		{"start-etcd", every, all},
		{"serving", every, all},
		{"first-apiserver", "node a", all[:1]},
		{"look", "here", nil},
		{"other-apiservers", "node b, node c", all[1:]},
		{"kubelets", "every node, workers too", all},
		{"healthy", "here", nil},
		{"discard", every, all},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if steps[0].Commands[0] != "scp -rp "+filepath.Join(steps0Dir(steps), "member")+" root@10.0.0.2:/var/lib/etcd/member.new-kubectl-etcd-t" {
		t.Errorf("copy: %s", steps[0].Commands[0])
	}
	for _, s := range steps {
		if s.Later != (s.ID == "discard") {
			t.Errorf("%s: later is %v", s.ID, s.Later)
		}
	}
}

// steps0Dir is the data directory that the first copy command names.
func steps0Dir(steps []runbook.Step) string {
	return filepath.Dir(strings.Fields(steps[0].Commands[0])[2])
}

func TestNextStepsOfOneMember(t *testing.T) {
	snapshot := threeMembers()
	snapshot.Members = snapshot.Members[:1]
	p, err := NewPlan(snapshot, Options{DataDir: filepath.Join(t.TempDir(), "data"), Token: "t"})
	if err != nil {
		t.Fatal(err)
	}
	steps := NextSteps(p, StepOptions{})
	if len(steps) != 11 {
		t.Errorf("%d steps, want 11", len(steps))
	}
	for _, s := range steps {
		want := []string{"c"}
		if s.ID == "copy" || s.ID == "look" || s.ID == "healthy" {
			want = nil
		}
		if !slices.Equal(s.On, want) {
			t.Errorf("%s is on %v, want %v", s.ID, s.On, want)
		}
		if s.ID == "other-apiservers" {
			t.Error("there is no other API server to start")
		}
	}
}

// A way that stops every etcd and has the data of one only leads nowhere.
func TestNextStepsNeedEveryMember(t *testing.T) {
	p, err := NewPlan(threeMembers(), Options{Only: "b", DataDir: filepath.Join(t.TempDir(), "data"), Token: "t"})
	if err != nil {
		t.Fatal(err)
	}
	if steps := NextSteps(p, StepOptions{}); len(steps) > 0 {
		t.Errorf("steps for one of three members: %+v", steps)
	}
}

func TestNextStepsAreShell(t *testing.T) {
	o := StepOptions{DataDir: "/var/lib/it's etcd", ManifestDir: "/etc/my manifests", Kubectl: "kubectl --context 'a b'"}
	for _, s := range NextSteps(kubeadmPlan(t), o) {
		if len(s.Commands) == 0 || s.Title == "" {
			t.Errorf("%s: %q has no commands", s.ID, s.Title)
		}
		for _, c := range s.Commands {
			if out, err := exec.Command("sh", "-n", "-c", c).CombinedOutput(); err != nil {
				t.Errorf("%s: %s\n%v\n%s", s.ID, c, err, out)
			}
		}
	}
}

// The files of a node, walked by the printed commands, from a running layout to the
// restored one. What waits for processes is run on the real cluster.
func TestNextStepsMoveTheFiles(t *testing.T) {
	source := startSource(t)
	source.work(t, "/registry/a", 20)
	health := startHealth(t)
	root := t.TempDir()
	node := filepath.Join(root, "no de") // a space: everything must be quoted
	o := StepOptions{
		ManifestDir: filepath.Join(node, "manifests"), DataDir: filepath.Join(node, "etcd"),
		HealthAddr: health, Copy: "false", Kubectl: "true", Status: "printf '1 of 1%.0s%.0s'", RestartKubelet: "true",
	}
	write := func(name, content string) {
		path := filepath.Join(node, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, path, []byte(content))
	}
	write("manifests/etcd.yaml", "etcd")
	write("manifests/kube-apiserver.yaml", "apiserver")
	write("manifests/kube-scheduler.yaml", "scheduler")
	write("etcd/member/snap/db", "old")
	if err := os.Chmod(filepath.Join(o.DataDir, "member"), 0o710); err != nil {
		t.Fatal(err)
	}
	report := run(t, source.save(t), Options{OutDir: filepath.Join(root, "out"), Bump: -1})
	token := report.Plan.Token
	o.Here = report.Plan.Build[0].Name

	after := map[string][]string{ // what is in the node's directories when a step is done
		"copy":            {"etcd: member member.new-" + token, "manifests: etcd.yaml kube-apiserver.yaml kube-scheduler.yaml"},
		"stop":            {"manifests: kube-scheduler.yaml", "manifests.held: etcd.yaml kube-apiserver.yaml"},
		"swap":            {"etcd: member member.old-" + token},
		"start-etcd":      {"manifests: etcd.yaml kube-scheduler.yaml"},
		"first-apiserver": {"manifests: etcd.yaml kube-apiserver.yaml kube-scheduler.yaml"},
		"discard":         {": etcd manifests", "etcd: member"},
	}
	for _, s := range NextSteps(&report.Plan, o) {
		if s.ID == "stopped" {
			continue
		}
		for range 2 { // once more does no harm
			for _, c := range s.Commands {
				shell(t, c)
			}
		}
		for _, line := range after[s.ID] {
			dir, want, _ := strings.Cut(line, ": ")
			if got := strings.Join(list(t, filepath.Join(node, dir)), " "); got != want {
				t.Errorf("after %s: %q holds %s, want %s", s.ID, dir, got, want)
			}
		}
		delete(after, s.ID)
	}
	if len(after) > 0 {
		t.Errorf("steps that were not there: %v", after)
	}
	info, err := os.Stat(filepath.Join(o.DataDir, "member"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o710 {
		t.Errorf("the new data has mode %v, the old had 0710", info.Mode())
	}
	if err := proveDatabase(t.Context(), filepath.Join(o.DataDir, "member", "snap", "db"), &report.Plan); err != nil {
		t.Error(err)
	}
}

// A member that was replaced has its manifest of before in the folder, and keeps it.
func TestDiscardKeepsWhatIsNotItsOwn(t *testing.T) {
	root := t.TempDir()
	held := filepath.Join(root, "manifests.held")
	if err := os.Mkdir(held, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(held, "etcd.before-ab"), []byte("etcd"))
	w := walk{held: held, old: filepath.Join(root, "member.old"), nodes: []string{"node0"}}
	for _, c := range w.discard().Commands {
		shell(t, c)
	}
	if got := list(t, held); !slices.Equal(got, []string{"etcd.before-ab"}) {
		t.Errorf("the folder holds %v", got)
	}
}

// startHealth starts an etcd that answers /health by plain HTTP, as kubeadm's do.
func startHealth(t *testing.T) string {
	t.Helper()
	cfg := testConfig(t, t.TempDir())
	u, err := url.Parse(freeURL(t))
	if err != nil {
		t.Fatal(err)
	}
	cfg.ListenMetricsUrls = []url.URL{*u}
	start(t, cfg)
	return u.Host
}

func shell(t *testing.T, command string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "sh", "-e", "-c", command).CombinedOutput(); err != nil {
		t.Fatalf("%s\n%v\n%s", command, err, out)
	}
}

func TestCommand(t *testing.T) {
	s := threeMembers()
	s.Members[1].ClientURLs = []string{"https://10.0.0.2:12379"}
	targets := []Target{
		{Name: "a", PeerURLs: []string{"https://10.0.0.2:2380"}, Dir: "/nonexistent/a"},
		{Name: "b", PeerURLs: []string{"http://etcd-1.etcd:2380"}, Dir: "/nonexistent/b"},
	}
	p, err := NewPlan(s, Options{Members: targets, Token: "tok"})
	if err != nil {
		t.Fatal(err)
	}
	common := []string{
		"--initial-cluster=a=https://10.0.0.2:2380,b=http://etcd-1.etcd:2380",
		"--initial-cluster-token=tok", "--initial-cluster-state=new",
	}
	for i, want := range [][]string{
		slices.Concat([]string{"etcd", "--name=a", "--data-dir=/nonexistent/a"}, common, []string{
			"--initial-advertise-peer-urls=https://10.0.0.2:2380", "--listen-peer-urls=https://10.0.0.2:2380",
			"--advertise-client-urls=https://10.0.0.2:12379", "--listen-client-urls=https://10.0.0.2:12379",
			"--peer-cert-file=/etc/kubernetes/pki/etcd/peer.crt", "--peer-key-file=/etc/kubernetes/pki/etcd/peer.key",
			"--peer-trusted-ca-file=/etc/kubernetes/pki/etcd/ca.crt", "--peer-client-cert-auth",
			"--cert-file=/etc/kubernetes/pki/etcd/server.crt", "--key-file=/etc/kubernetes/pki/etcd/server.key",
			"--trusted-ca-file=/etc/kubernetes/pki/etcd/ca.crt", "--client-cert-auth",
		}),
		slices.Concat([]string{"etcd", "--name=b", "--data-dir=/nonexistent/b"}, common, []string{
			"--initial-advertise-peer-urls=http://etcd-1.etcd:2380", "--listen-peer-urls=http://0.0.0.0:2380",
			"--advertise-client-urls=http://etcd-1.etcd:2379", "--listen-client-urls=http://0.0.0.0:2379",
		}),
	} {
		if diff := cmp.Diff(want, command(p, p.Build[i])); diff != "" {
			t.Errorf("member %d (-want +got):\n%s", i, diff)
		}
	}
}

// A node that runs a second etcd, for events: nothing of the other one is touched.
func TestNextStepsOfTheOtherEtcd(t *testing.T) {
	o := StepOptions{Manifest: "etcd-events", DataDir: "/var/lib/etcd-events", DataDirFlag: "/var/lib/etcd-events", HealthAddr: "127.0.0.1:2391"}
	for _, s := range NextSteps(kubeadmPlan(t), o) {
		for _, c := range s.Commands {
			for _, main := range []string{"/var/lib/etcd/", "/etcd.yaml", "pgrep -x etcd", "/2381"} {
				if strings.Contains(c, main) {
					t.Errorf("%s touches the main etcd: %s", s.ID, c)
				}
			}
		}
	}
}

// The step waits for the etcd on that directory, and for no other. The directory is this
// test's own: others may run here.
func TestNextStepsWaitForTheirEtcd(t *testing.T) {
	dir := t.TempDir()
	for _, s := range NextSteps(kubeadmPlan(t), StepOptions{DataDirFlag: dir + "/etcd-events"}) {
		if s.ID != "stopped" {
			continue
		}
		command := strings.Replace(s.Commands[0], "pgrep -x kube-apiserver ||", "", 1)
		if !waitsFor(t, command, "--data-dir="+dir+"/etcd-events") {
			t.Errorf("it does not wait: %s", command)
		}
		if !waitsFor(t, command, "--data-dir", dir+"/etcd-events") {
			t.Errorf("it does not wait for a flag of two words: %s", command)
		}
		if waitsFor(t, command, "--data-dir="+dir+"/etcd") {
			t.Errorf("it waits for the other etcd: %s", command)
		}
	}
}

// waitsFor tells whether command waits while there is a process "etcd … --name=a FLAG". It
// stops waiting after two seconds.
func waitsFor(t *testing.T, command string, flag ...string) bool {
	t.Helper()
	etcd := exec.Command("sh")
	etcd.Args = append([]string{"etcd", "-c", "read nothing", "--name=a"}, flag...)
	stdin, err := etcd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := etcd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = stdin.Close()
		_ = etcd.Wait()
	}()
	return exec.Command("sh", "-c", strings.Replace(command, "timeout 180", "timeout 2", 1)).Run() != nil
}

//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/kubectl-etcd/kubectl-etcd/test/cluster/walk"
)

// restorePlan is `restore --dry-run -o json`, as far as the journeys look at it.
type restorePlan struct {
	Token       string         `json:"token"`
	Bump        int64          `json:"bump"`
	NewRevision int64          `json:"newRevision"`
	Members     []targetMember `json:"members"`
}

// targetMember is a member of the new cluster.
type targetMember struct {
	Name     string   `json:"name"`
	PeerURLs []string `json:"peerURLs"`
}

// restoreReport is `restore -o json`, as far as the journeys look at it.
type restoreReport struct {
	Plan  restorePlan `json:"plan"`
	Built []struct {
		Name string `json:"name"`
		Dir  string `json:"dir"`
	} `json:"built"`
	HashKV uint32 `json:"hashKV"`
	Proven bool   `json:"proven"`
}

// TestRestoreThreeMembers restores the real cluster's snapshot for three members on
// loopback and starts real etcds on it: they are one cluster and have the source's hash.
func TestRestoreThreeMembers(t *testing.T) {
	report := takeBackup(t)
	out := filepath.Join(t.TempDir(), "restored")
	var peers, names []string
	ports := map[string][2]int{}
	for _, name := range []string{"a", "b", "c"} {
		ports[name] = [2]int{freePort(t), freePort(t)}
		names = append(names, name)
		peers = append(peers, fmt.Sprintf("%s=http://127.0.0.1:%d", name, ports[name][1]))
	}
	got := run(t, "restore", "--from-file", report.Path, "--out-dir", out, "--bump-revision", "0",
		"--initial-cluster", strings.Join(peers, ","), "-o", "json")
	got.wantExit(t, 0)
	var done restoreReport
	got.decode(t, &done)
	if !done.Proven || done.HashKV != report.Contents.HashKV || len(done.Built) != 3 {
		t.Fatalf("want three proven directories with HashKV %d: %s", report.Contents.HashKV, got.stdout)
	}

	dir := t.TempDir()
	for _, name := range names {
		client, peer := fmt.Sprintf("http://127.0.0.1:%d", ports[name][0]), fmt.Sprintf("http://127.0.0.1:%d", ports[name][1])
		logs := filepath.Join(dir, name)
		if err := os.Mkdir(logs, 0o700); err != nil {
			t.Fatal(err)
		}
		start(t, logs, filepath.Join(binaryDir(t), "etcd"), "--name", name, "--data-dir", filepath.Join(out, name),
			"--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer,
			"--initial-advertise-peer-urls", peer, "--initial-cluster", strings.Join(peers, ","), "--initial-cluster-token", done.Plan.Token)
	}
	for _, name := range names {
		c, err := clientv3.New(clientv3.Config{Endpoints: []string{fmt.Sprintf("127.0.0.1:%d", ports[name][0])}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		eventually(t, time.Minute, "restored member "+name+" serves", func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			_, err := c.Get(ctx, "x")
			return err
		})
		hash, err := c.HashKV(t.Context(), c.Endpoints()[0], report.Contents.Revision)
		if err != nil {
			t.Fatal(err)
		}
		if hash.Hash != report.Contents.HashKV {
			t.Errorf("HashKV of %s at %d is %d, the source had %d", name, report.Contents.Revision, hash.Hash, report.Contents.HashKV)
		}
	}
}

// TestRestoreLive: the snapshot is older than the running cluster, which gives the
// highest revision; or it is another cluster's, and names, peer URLs and members are the
// running one's all the same.
func TestRestoreLive(t *testing.T) {
	var members []targetMember
	for _, n := range shared.Nodes() {
		members = append(members, targetMember{n.Name, []string{"https://" + n.IP + ":2380"}})
	}

	t.Run("an older snapshot", func(t *testing.T) {
		snapshot := takeBackup(t)
		kubectl(t, "create", "configmap", "-n", "default", "later")
		t.Cleanup(func() { kubectl(t, "delete", "configmap", "-n", "default", "later") })
		lowest := statusOf(t).highestRevision()
		out := filepath.Join(t.TempDir(), "restored")
		got := run(t, "restore", "--from-file", snapshot.Path, "--out-dir", out, "--live", "-o", "json")
		got.wantExit(t, 0)
		highest := statusOf(t).highestRevision()

		var done restoreReport
		got.decode(t, &done)
		wantMembers(t, done.Plan, members)
		if known := done.Plan.NewRevision - done.Plan.Bump; known < lowest || known > highest || known <= snapshot.Contents.Revision {
			t.Errorf("the highest known revision is %d; want one from %d to %d, and above the snapshot's %d", known, lowest, highest, snapshot.Contents.Revision)
		}
		if len(done.Built) != len(members) || !done.Proven || done.Plan.Bump != 1_000_000_000 {
			t.Errorf("want three proven directories, bumped by 1000000000: %s", got.stdout)
		}
		for _, built := range done.Built {
			if _, err := os.Stat(filepath.Join(built.Dir, "member", "snap", "db")); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("another cluster's snapshot", func(t *testing.T) {
		snapshot := foreignSnapshot(t)
		lowest := statusOf(t).highestRevision()
		got := runWithCerts(t, "restore", "--from-file", snapshot, "--out-dir", filepath.Join(t.TempDir(), "restored"), "--live", "--dry-run", "-o", "json")
		got.wantExit(t, 0)
		var plan restorePlan
		got.decode(t, &plan)
		wantMembers(t, plan, members)
		if plan.NewRevision-plan.Bump < lowest {
			t.Errorf("the new revision %d is not %d above the running cluster's %d", plan.NewRevision, plan.Bump, lowest)
		}
	})
}

func wantMembers(t *testing.T, plan restorePlan, want []targetMember) {
	t.Helper()
	if diff := cmp.Diff(want, plan.Members); diff != "" {
		t.Errorf("members (-the running cluster's +the plan's):\n%s", diff)
	}
}

// foreignSnapshot is a snapshot of an etcd with one member, called elsewhere.
func foreignSnapshot(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	client, peer := fmt.Sprintf("http://127.0.0.1:%d", freePort(t)), fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
	start(t, dir, filepath.Join(binaryDir(t), "etcd"), "--name", "elsewhere", "--data-dir", filepath.Join(dir, "etcd"),
		"--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer,
		"--initial-advertise-peer-urls", peer, "--initial-cluster", "elsewhere="+peer)
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{client}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	eventually(t, time.Minute, "the other cluster serves", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := c.Put(ctx, "/registry/namespaces/elsewhere", "x")
		return err
	})
	path := filepath.Join(dir, "snapshot.db")
	run(t, "backup", "-f", path, "--endpoints", client).wantExit(t, 0)
	return path
}

// TestRestoreInPlace walks the printed steps on the real cluster, word for word: what
// was made before the snapshot is there again, what was made after is gone, watches of
// old revisions are told to relist, and the cluster goes on.
func TestRestoreInPlace(t *testing.T) {
	kubectl(t, "create", "configmap", "-n", "default", "before", "--from-literal=made=before")
	t.Cleanup(func() { kubectl(t, "delete", "configmap", "-n", "default", "before") })
	report := takeBackup(t)
	kubectl(t, "create", "configmap", "-n", "default", "after", "--from-literal=made=after")

	work := t.TempDir()
	restored := restoreWithSteps(t, work, report.Path)
	steps, err := walk.Read(strings.NewReader(restored.stdout))
	if err != nil {
		t.Fatal(err)
	}
	wantPrinted(t, report.Path, steps)

	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	var log strings.Builder
	now, later := walk.Split(steps)
	err = walk.Steps(ctx, shared, now, &log)
	t.Logf("walked:%s", log.String())
	if err != nil {
		t.Fatal(err)
	}
	kubeletsOpen(t)
	wantWhole(t)
	waitReady(t)

	if _, err := tryKubectl("get", "configmap", "-n", "default", "before"); err != nil {
		t.Errorf("what was made before the snapshot is not there: %v", err)
	}
	if _, err := tryKubectl("get", "configmap", "-n", "default", "after"); err == nil {
		t.Errorf("what was made after the snapshot is still there")
	}
	var done restoreReport
	restored.decode(t, &done)
	for _, m := range statusOf(t).Items[0].Members {
		if m.Status == nil || m.Status.Revision < done.Plan.NewRevision {
			t.Errorf("%s is not past the planned revision %d: %+v", m.Pod, done.Plan.NewRevision, m.Status)
		}
	}
	kubectl(t, "create", "configmap", "-n", "default", "onwards")
	kubectl(t, "delete", "configmap", "-n", "default", "onwards")

	if len(later) != 1 || later[0].ID != "discard" {
		t.Fatalf("later come %+v, want to discard the old data", later)
	}
	log.Reset()
	err = walk.Steps(ctx, shared, later, &log)
	t.Logf("walked later:%s", log.String())
	if err != nil {
		t.Fatal(err)
	}
}

// kubeletsOpen waits until the kubelets let the API servers in, which have just started
// and know no roles at first. It asks nothing of etcd.
func kubeletsOpen(t *testing.T) {
	t.Helper()
	for _, n := range shared.Nodes() {
		eventually(t, time.Minute, "the kubelet of "+n.Name+" lets an API server in", func() error {
			_, err := tryKubectl("exec", "-n", "kube-system", "etcd-"+n.Name, "-c", "etcd", "--", "etcdctl", "version")
			return err
		})
	}
}

// wantWhole looks once: the steps said that all members are healthy, and the next one
// deletes the old data. Nothing may be waited for here.
func wantWhole(t *testing.T) {
	t.Helper()
	n := len(shared.Nodes())
	v := statusOf(t).Items[0].Verdict
	if v.Level != "ok" || v.Healthy != n {
		t.Fatalf("the steps went on to delete the old data, and the verdict is %+v, want ok, %d healthy", v, n)
	}
}

// restoreWithSteps makes the data directories of the shared cluster's own members.
func restoreWithSteps(t *testing.T, dir, snapshot string) result {
	t.Helper()
	c := exec.Command("kubectl", "etcd", "restore", "--from-file", snapshot, "--out-dir", "restored", "-o", "json")
	c.Dir, c.Env = dir, append(cleanEnv(), "KUBECONFIG="+shared.Kubeconfig())
	got := finish(t, c, []string{"restore"})
	got.wantExit(t, 0)
	return got
}

// wantPrinted compares the steps with what a person sees: the same commands, each on
// a line of its own, but for the token, which is another plan's.
func wantPrinted(t *testing.T, snapshot string, steps []walk.Step) {
	t.Helper()
	dir := t.TempDir()
	c := exec.Command("kubectl", "etcd", "restore", "--from-file", snapshot, "--out-dir", "restored")
	c.Dir, c.Env = dir, append(cleanEnv(), "KUBECONFIG="+shared.Kubeconfig())
	got := finish(t, c, []string{"restore"})
	got.wantExit(t, 0)
	lines := map[string]bool{}
	for _, line := range strings.Split(got.stdout, "\n") {
		lines[strings.TrimSpace(line)] = true
	}
	printed, _, _ := strings.Cut(got.stdout[strings.Index(got.stdout, "kubectl-etcd-"):], "\n")
	for _, step := range steps {
		if step.ID == "copy" { // its source is the other run's folder
			continue
		}
		for _, command := range step.Commands {
			if same := replaceToken(command, printed); !lines[same] {
				t.Errorf("step %s: not printed on a line of its own: %s", step.ID, same)
			}
		}
	}
}

// replaceToken puts token in the place of every token in command.
func replaceToken(command, token string) string {
	const mark = "kubectl-etcd-"
	var out strings.Builder
	for {
		i := strings.Index(command, mark)
		if i < 0 {
			return out.String() + command
		}
		out.WriteString(command[:i] + strings.TrimSpace(token))
		command = command[i+len(strings.TrimSpace(token)):]
	}
}

// TestRestoreRefusesWhatIsNoSnapshot: clear words, exit code, nothing made.
func TestRestoreRefusesWhatIsNoSnapshot(t *testing.T) {
	report := takeBackup(t)
	whole, err := os.ReadFile(report.Path)
	if err != nil {
		t.Fatal(err)
	}
	flipped := append([]byte{}, whole...)
	flipped[len(flipped)/2] ^= 1
	for name, tc := range map[string]struct {
		content []byte
		code    int
		want    string
	}{
		"empty":          {nil, 1, "not an etcd snapshot"},
		"text":           {[]byte("apiVersion: v1\nkind: List\n"), 1, "not an etcd snapshot"},
		"truncated":      {whole[:len(whole)/2], 5, "damaged"},
		"a byte flipped": {flipped, 5, "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path, out := filepath.Join(dir, "s.db"), filepath.Join(dir, "out")
			writeFile(t, path, string(tc.content))
			got := run(t, "restore", "--from-file", path, "--out-dir", out)
			got.wantExit(t, tc.code)
			got.wantStderr(t, tc.want, path, "hint:")
			if _, err := os.Lstat(out); err == nil {
				t.Errorf("%s was made all the same", out)
			}
		})
	}
}

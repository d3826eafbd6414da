package cmd

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/runbook"
)

func TestCommandForAnotherMember(t *testing.T) {
	plan := kubeadmPlan()
	plan.Build = plan.Build[:1]
	pinned := "--member node1 --initial-cluster-token kubectl-etcd-1"
	for _, test := range []struct {
		name string
		o    restoreOptions
		want string
	}{
		{"the snapshot's members", restoreOptions{dataDir: "/d/a", member: "node0"}, "--data-dir /d/a-node1 " + pinned + " --bump-revision 1000000000"},
		{"in a folder", restoreOptions{outDir: "/my out", member: "node0"}, "--out-dir '/my out' " + pinned + " --bump-revision 1000000000"},
		{
			"all that matters", restoreOptions{dataDir: "/d/a", live: true, targetVersion: "3.5", clearAlarms: true},
			"--data-dir /d/a-node1 " + pinned + " --initial-cluster node0=https://10.0.0.10:2380,node1=https://10.0.0.11:2380 --bump-revision 1000000000 --target-version 3.5 --clear-alarms",
		},
	} {
		got := test.o.others(&plan)
		if len(got) != 1 || got[0].Name != "node1" {
			t.Fatalf("%s: others are %+v, want node1", test.name, got)
		}
		want := "kubectl etcd restore --from-file " + runbook.Quote(absolute("snapshot.db")) + " " + test.want
		if diff := cmp.Diff(want, shellJoin(got[0].Command)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
	plan.Bump, plan.NewRevision = 0, plan.Snapshot.Contents.Revision
	o := restoreOptions{dataDir: "/d/a"}
	if got := shellJoin(o.commandFor(&plan, "a/../b")); !strings.Contains(got, "--data-dir /d/a-a_.._b ") || !strings.HasSuffix(got, " --bump-revision 0") {
		t.Errorf("got %s", got)
	}
	o.token = "of the first"
	if got := o.others(&plan); got != nil {
		t.Errorf("a plan that is one of the others has others: %+v", got)
	}
}

// Members made by the printed commands, while the live cluster goes on, are one cluster.
func TestOthersMakeOneCluster(t *testing.T) {
	d := newNodeDisk(t, 3)
	etcdtest.Put(t, d.cluster.Open(0).Raw(), "/registry/namespaces/default", "1")
	dir := filepath.Join(t.TempDir(), "a folder")
	file := filepath.Join(t.TempDir(), "my s.db")
	if code, out, errOut := d.run("backup", "-f", file); code != exitOK {
		t.Fatalf("exit code %d: %s%s", code, out, errOut)
	}
	d.cluster.Fill(30, 10)
	code, out, errOut := d.run("restore", "--from-file", file, "--data-dir", dir, "--member", "b", "--live", "-o", "json")
	if code != exitOK {
		t.Fatalf("exit code %d: %s", code, errOut)
	}
	d.cluster.Fill(30, 10) // the revision that the first one heard of is not the highest any more
	var first struct {
		Others []other        `json:"otherMembers"`
		Next   []runbook.Step `json:"nextSteps"`
	}
	if err := json.Unmarshal([]byte(out), &first); err != nil {
		t.Fatal(err)
	}
	if len(first.Others) != 2 || len(first.Next) > 0 {
		t.Fatalf("%d other members and %d steps, want 2 and none", len(first.Others), len(first.Next))
	}
	dirs := []string{dir}
	for _, other := range first.Others {
		s, out, errOut := testSession(nil)
		if code := s.execute(t.Context(), newRootCommand(s), other.Command[2:]); code != exitOK {
			t.Fatalf("%s: exit code %d: %s", shellJoin(other.Command), code, errOut)
		}
		if text := out.String(); strings.Contains(text, "the other members") || !strings.Contains(text, "where all are made at once") {
			t.Errorf("%s: says %s", other.Name, text)
		}
		dirs = append(dirs, dir+"-"+other.Name)
	}
	wantOneCluster(t, dirs)
}

// wantOneCluster: the members' IDs come out of peer URLs and token.
func wantOneCluster(t *testing.T, dirs []string) {
	t.Helper()
	var first *restore.DataDir
	for _, dir := range dirs {
		data, err := restore.ReadDatabase(t.Context(), filepath.Join(dir, "member", "snap", "db"))
		if err != nil {
			t.Fatal(err)
		}
		data.Database = ""
		if first == nil {
			first = data
		}
		if diff := cmp.Diff(first, data); diff != "" {
			t.Errorf("%s is not one with %s (-first +this):\n%s", dir, dirs[0], diff)
		}
	}
	if len(first.Members) != 3 || first.Revision < restore.DefaultBump+30 {
		t.Errorf("%d members at revision %d", len(first.Members), first.Revision)
	}
}

func TestOneMemberIsNotTheWholeWay(t *testing.T) {
	plan := kubeadmPlan()
	plan.Build = plan.Build[:1]
	o := restoreOptions{dataDir: "/d", member: "node0"}
	done := restored{Report: restore.Report{Plan: plan, Proven: true, Built: []restore.Built{{Target: plan.Build[0], Command: []string{"etcd"}}}}, Others: o.others(&plan)}
	done.Next = restore.NextSteps(&plan, restore.StepOptions{})
	got := drawRestore(t, func(s *render.Screen) { viewRestore(s, done) })
	if !strings.Contains(got, "\n  "+shellJoin(done.Others[0].Command)+"\n") || !strings.Contains(got, "--out-dir DIR, without --member") {
		t.Errorf("the other member's command and where the steps are, are not both there:\n%s", got)
	}
	if strings.Contains(got, "kube-apiserver") {
		t.Errorf("there is a way for one of two members:\n%s", got)
	}
}

// What the step before deleting asks for is what status prints of a real cluster: of one
// member too, which has no redundancy, and of two, which is always a warning.
func TestHealthyStepReadsStatus(t *testing.T) {
	plan := kubeadmPlan()
	steps := restore.NextSteps(&plan, restore.StepOptions{})
	var format string
	for _, step := range steps {
		if step.ID == "healthy" {
			format = regexp.MustCompile(`-o jsonpath="([^"]*)"`).FindStringSubmatch(step.Commands[0])[1]
		}
	}
	for n, want := range map[int]string{1: "1 of 1", 2: "2 of 2", 3: "3 of 3"} {
		d := newNodeDisk(t, n)
		if code, out, errOut := d.run("status", "-o", "jsonpath="+format); code != exitOK || strings.TrimSpace(out) != want {
			t.Errorf("%d members: exit code %d, %q, want %q\n%s", n, code, out, want, errOut)
		}
		if n == 3 {
			d.cluster.Members[2].Stop()
			if _, out, errOut := d.run("status", "-o", "jsonpath="+format); strings.TrimSpace(out) != "2 of 3" {
				t.Errorf("one is down: %q\n%s", out, errOut)
			}
		}
	}
}

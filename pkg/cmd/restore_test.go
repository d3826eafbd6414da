package cmd

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/runbook"
)

func TestParseInitialCluster(t *testing.T) {
	got, err := parseInitialCluster("a=https://10.0.0.1:2380,b=https://b:2380,a=http://[::1]:2380")
	want := []restore.Target{
		{Name: "a", PeerURLs: []string{"https://10.0.0.1:2380", "http://[::1]:2380"}},
		{Name: "b", PeerURLs: []string{"https://b:2380"}},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, text := range []string{"a", "=https://x:1", "a=x:2380", "a=https://x", "a=https://x:1,", "a=ftp://x:1"} {
		if _, err := parseInitialCluster(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func TestRestoreComplete(t *testing.T) {
	for _, test := range []struct {
		name string
		o    restoreOptions
		want string
	}{
		{"nothing: the list", restoreOptions{}, ""},
		{"folder", restoreOptions{fromFile: "f", outDir: "d"}, ""},
		{"one member", restoreOptions{fromFile: "f", dataDir: "d", member: "m"}, ""},
		{"no bump", restoreOptions{fromFile: "f", outDir: "d", bumpGiven: true}, ""},
		{"no file", restoreOptions{dryRun: true}, "--from-file"},
		{"nowhere", restoreOptions{fromFile: "f"}, "where to"},
		{"both", restoreOptions{fromFile: "f", outDir: "d", dataDir: "e", member: "m"}, "exclude each other"},
		{"whose", restoreOptions{fromFile: "f", dataDir: "d"}, "--member"},
		{"back in time", restoreOptions{fromFile: "f", outDir: "d", bumpGiven: true, bump: -1}, "negative"},
		{"version", restoreOptions{fromFile: "f", outDir: "d", targetVersion: "3.6.1"}, "minor"},
		{"members", restoreOptions{fromFile: "f", outDir: "d", initialCluster: "a"}, "--initial-cluster"},
		{"a cluster that is not asked", restoreOptions{fromFile: "f", outDir: "d", targetFlag: "etcd"}, "--etcd says"},
	} {
		checkUsage(t, test.name, test.o.complete(), test.want)
	}
}

// A bump of 0 that was asked for is not the default.
func TestBump(t *testing.T) {
	for _, test := range []struct {
		given bool
		bump  int64
		want  int64
	}{{false, 0, -1}, {true, 0, 0}, {true, 7, 7}} {
		o := restoreOptions{bumpGiven: test.given, bump: test.bump}
		if got := o.planOptions().Bump; got != test.want {
			t.Errorf("%+v: got %d", test, got)
		}
	}
}

func kubeadmPlan() restore.Plan {
	targets := []restore.Target{
		{Name: "node0", PeerURLs: []string{"https://10.0.0.10:2380"}, Dir: "/tmp/restored/node0"},
		{Name: "node1", PeerURLs: []string{"https://10.0.0.11:2380"}, Dir: "/tmp/restored/node1"},
	}
	return restore.Plan{
		Snapshot: restore.Snapshot{
			Path: "snapshot.db", Size: 47395667, Version: "3.7.0", Alarms: []etcd.Alarm{{Type: "NOSPACE"}},
			Contents: etcd.Contents{Revision: 184467, Keys: 4711, Kubernetes: true},
		},
		Members: targets, Build: targets, Token: "kubectl-etcd-1", Bump: restore.DefaultBump, NewRevision: 1000184467,
		Warnings: []string{"the snapshot holds an alarm: NOSPACE"}, DiskBytes: 3 * 47395667,
	}
}

// What is raised need not be the snapshot's own: the archive may know a later one.
func TestRaisedFromWhere(t *testing.T) {
	plan := kubeadmPlan()
	if text := drawRestore(t, func(s *render.Screen) { viewSource(s, &plan) }); strings.Contains(text, "newest that is known") {
		t.Errorf("the snapshot's own is the newest: %s", text)
	}
	plan.NewRevision += 8
	if text := drawRestore(t, func(s *render.Screen) { viewSource(s, &plan) }); !strings.Contains(text, "1000184475, raised by 1000000000 above 184475, the newest that is known") {
		t.Errorf("it was raised above a later one: %s", text)
	}
}

func drawRestore(t *testing.T, view func(*render.Screen)) string {
	t.Helper()
	var out bytes.Buffer
	screen := render.NewScreen(&out, render.Terminal{TTY: true, Width: 100, Unicode: true})
	view(screen)
	if err := screen.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestRestoreViews(t *testing.T) {
	plan := kubeadmPlan()
	done := restored{Report: restore.Report{Plan: plan, HashKV: 1776179708, Proven: true, Duration: 4321 * time.Millisecond}}
	for _, target := range plan.Build {
		done.Built = append(done.Built, restore.Built{Target: target, Command: []string{"etcd", "--name=" + target.Name, "--data-dir=" + target.Dir}})
	}
	done.Next = []runbook.Step{
		{Title: "Stop", Where: "every node", Why: strings.Repeat("a long reason ", 9), Commands: []string{"one", "two"}, Check: "it stopped"},
		{Title: "Start", Where: "here", Commands: []string{"three"}},
	}
	golden(t, "restore-plan.txt", drawRestore(t, func(s *render.Screen) { viewPlan(s, &plan) }))
	golden(t, "restore-done.txt", drawRestore(t, func(s *render.Screen) { viewRestore(s, done) }))
}

// Every command of the real steps stands on a line of its own, to be copied as it is.
func TestStepsCanBeCopied(t *testing.T) {
	plan := kubeadmPlan()
	steps := restore.NextSteps(&plan, restore.StepOptions{})
	got := drawRestore(t, func(s *render.Screen) { viewSteps(s, "next:", steps) })
	count := 0
	for _, step := range steps {
		for _, command := range step.Commands {
			count++
			if !strings.Contains(got, "\n     "+command+"\n") {
				t.Errorf("not there as it is: %s", command)
			}
		}
	}
	if count == 0 {
		t.Error("there are no commands")
	}
}

func TestKubectlForTheSteps(t *testing.T) {
	s, _, _ := testSession(nil)
	o := restoreOptions{target: newTarget(s)}
	if got := o.kubectl("kubectl"); got != "kubectl" {
		t.Errorf("got %s", got)
	}
	*s.kube.Context, *s.kube.KubeConfig = "my context", "/etc/k"
	if got, want := o.kubectl("kubectl"), "kubectl --kubeconfig /etc/k --context 'my context'"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Who says which cluster is meant believes that it is asked.
func TestTargetWithoutLive(t *testing.T) {
	for _, args := range [][]string{{"--on-node"}, {"--endpoints", "https://h:2379"}, {"--etcd", "events"}} {
		s, _, errOut := testSession(nil)
		args = append([]string{"restore", "--from-file", "/nonexistent.db", "--out-dir", t.TempDir()}, args...)
		if code := s.execute(t.Context(), newRootCommand(s), args); code != exitUsage {
			t.Errorf("%q: exit code %d: %s", args, code, errOut)
		}
	}
}

package restore

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/runbook"
)

// stepOf is a step of a plan with three members and the token t.
func stepOf(t *testing.T, id string, options StepOptions) runbook.Step {
	t.Helper()
	p, err := NewPlan(threeMembers(), Options{OutDir: t.TempDir(), Token: "t"})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range NextSteps(p, options) {
		if s.ID == id {
			return s
		}
	}
	t.Fatalf("there is no step %s", id)
	return runbook.Step{}
}

// The switch as it is pasted into a shell, which goes on after a command that failed:
// whatever it finds, no data is lost, and none is moved away without new data.
func TestSwapFromEveryState(t *testing.T) {
	const old, fresh, member = "member.old-t/snap/db", "member.new-t/snap/db", "member/snap/db"
	whole := map[string]string{old: "old", member: "new"}
	for _, tc := range []struct {
		name         string
		before, want map[string]string // content by path; a path that ends with / is a directory
		done         bool
	}{
		{"the copy is there", map[string]string{member: "old", fresh: "new"}, whole, true},
		{"done already", whole, whole, true},
		{"interrupted between the moves", map[string]string{old: "old", fresh: "new"}, whole, true},
		{"the node had lost its data", map[string]string{fresh: "new"}, map[string]string{"member.old-t/": "", member: "new"}, true},
		{"the node had lost its data, done already", map[string]string{"member.old-t/": "", member: "new"}, map[string]string{"member.old-t/": "", member: "new"}, true},
		{"no copy", map[string]string{member: "old"}, map[string]string{member: "old"}, false},
		{"no copy and no data", map[string]string{}, map[string]string{}, false},
		{
			"half a copy", map[string]string{member: "old", "member.new-t/wal/0.wal": "new"},
			map[string]string{member: "old", "member.new-t/wal/0.wal": "new"}, false,
		},
		{
			"a copy that broke off and was made again",
			map[string]string{member: "old", fresh: "ne", "member.new-t/member/snap/db": "new"},
			map[string]string{member: "old", fresh: "ne", "member.new-t/member/snap/db": "new"}, false,
		},
		{
			"an etcd ran between the moves", map[string]string{old: "old", member: "its own", fresh: "new"},
			map[string]string{old: "old", member: "its own", fresh: "new"}, false,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "etc d")
			plant(t, dir, tc.before)
			commands := stepOf(t, "swap", StepOptions{DataDir: dir}).Commands
			out, err := exec.Command("sh", "-c", strings.Join(commands, "\n")).CombinedOutput() // ends as the last command does
			if (err == nil) != tc.done || tc.done != strings.Contains(string(out), "switched") {
				t.Errorf("it ended with %v, want success: %v\n%s", err, tc.done, out)
			}
			if diff := cmp.Diff(tc.want, planted(t, dir)); diff != "" {
				t.Errorf("the data directory (-want +got):\n%s\n%s", diff, out)
			}
			var first error
			for _, c := range commands { // a script stops at the first that fails
				if first = exec.Command("sh", "-c", c).Run(); first != nil {
					break
				}
			}
			if (first == nil) != tc.done {
				t.Errorf("once more, command by command: %v, want success: %v", first, tc.done)
			}
		})
	}
}

func plant(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		path := filepath.Join(dir, name)
		if strings.HasSuffix(name, "/") {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, path, []byte(content))
	}
}

// planted is every file below dir, and every empty directory of dir.
func planted(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			inside, err := os.ReadDir(path)
			if len(inside) == 0 {
				found[name+"/"] = ""
			}
			return err
		}
		content, err := os.ReadFile(path)
		found[name] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Deleting the old data comes next: neither a quorum nor another number of members than
// the plan's is whole, whatever status ends with.
func TestHealthyWaitsForEveryMember(t *testing.T) {
	dir := t.TempDir()
	answers := filepath.Join(dir, "answers")
	write(t, answers, []byte("1 of 3\n2 of 3\n3 of 4\n2 of 2\n3 3 of 3 3\n\n3 of 3\nnever asked\n"))
	for name, script := range map[string]string{
		"status": "head -n 1 " + answers + "; sed -i 1d " + answers,
		"sleep":  "true",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	shell(t, stepOf(t, "healthy", StepOptions{Status: "status --context 'a b'"}).Commands[0])
	left, err := os.ReadFile(answers)
	if err != nil || string(left) != "never asked\n" {
		t.Errorf("it went on with these answers to come: %q %v", left, err)
	}
}

// What waits says nothing meanwhile.
func TestLookWaitsQuietly(t *testing.T) {
	dir := t.TempDir()
	asked := filepath.Join(dir, "asked")
	script := "#!/bin/sh\nif test -e " + asked + "; then exit 0; fi\ntouch " + asked + "\necho connection refused >&2\nexit 1\n"
	for name, script := range map[string]string{"kubectl": script, "sleep": "#!/bin/sh\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	out, err := exec.CommandContext(t.Context(), "sh", "-c", stepOf(t, "look", StepOptions{}).Commands[0]).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("%v, said %q", err, out)
	}
	if _, err := os.Stat(asked); err != nil {
		t.Errorf("it did not ask: %v", err)
	}
}

//go:build release

package release

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"

	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// The workflow runs at a tag only; what can be told of it before is told here.
func TestWorkflow(t *testing.T) {
	workflow := filepath.Join(root, ".github/workflows/release.yaml")
	command(t, nil, "go", "-C", root, "tool", "-modfile=test/release/actionlint/go.mod", "actionlint", "-shellcheck=", ".github/workflows/release.yaml")
	content, err := os.ReadFile(workflow)
	if err != nil {
		t.Fatal(err)
	}
	for _, use := range regexp.MustCompile(`uses: (\S+)`).FindAllStringSubmatch(string(content), -1) {
		if !regexp.MustCompile(`@[0-9a-f]{40}$`).MatchString(use[1]) {
			t.Errorf("%s is not pinned to a commit", use[1])
		}
	}
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	calls := regexp.MustCompile(`(?m)make ([a-z -]+) VERSION`).FindAllStringSubmatch(string(content), -1)
	if len(calls) < 2 {
		t.Errorf("the workflow calls make %d times", len(calls))
	}
	for _, call := range calls {
		for target := range strings.FieldsSeq(call[1]) {
			if !strings.Contains(string(makefile), "\n"+target+":") {
				t.Errorf("make %s: there is no such target", target)
			}
		}
	}
	for glob := range strings.FieldsSeq("dist/*.tar.gz dist/*.zip dist/*.tar dist/*.cdx.json dist/checksums.txt dist/krew-manifest.yaml dist/notes.md dist/image.txt") {
		if found, err := filepath.Glob(filepath.Join(root, glob)); err != nil || len(found) == 0 || !strings.Contains(string(content), glob) {
			t.Errorf("%s: the release has %v, %v, or the workflow does not name it", glob, found, err)
		}
	}
}

// workflowSteps are the scripts of its steps, in order.
func workflowSteps(t *testing.T) (scripts []string) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, ".github/workflows/release.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var workflow struct {
		Jobs struct {
			Release struct{ Steps []struct{ Run string } }
		}
	}
	if err := yaml.Unmarshal(content, &workflow); err != nil {
		t.Fatal(err)
	}
	for _, step := range workflow.Jobs.Release.Steps {
		if step.Run != "" {
			scripts = append(scripts, step.Run)
		}
	}
	return scripts
}

// runStep runs a step as GitHub does, with tag as VERSION. Programs that do something stand aside:
// they say what they were called with.
func runStep(t *testing.T, script, tag string) (string, error) {
	t.Helper()
	programs := t.TempDir()
	for _, name := range []string{"make", "gh", "docker", "cosign"} {
		if err := os.WriteFile(filepath.Join(programs, name), []byte("#!/bin/sh\necho \"${0##*/} $*\"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.Command("bash", "-e", "-c", script)
	c.Dir = root
	c.Env = append(os.Environ(), "VERSION="+tag, "GITHUB_REPOSITORY=owner/name", "PATH="+programs+string(os.PathListSeparator)+os.Getenv("PATH"))
	out, err := c.Output()
	return string(out), err
}

// A tag may be named anything, and goes into make's command lines: what is no version ends there.
func TestWorkflowTakesOnlyVersions(t *testing.T) {
	first := workflowSteps(t)[0]
	for _, tag := range []string{"v1.2.3", "v0.10.0-rc.1"} {
		if out, err := runStep(t, first, tag); err != nil || out != "" {
			t.Errorf("%s: %v: %s", tag, err, out)
		}
	}
	for _, tag := range []string{"v1", "vnext", "v1.2.3';id;'", "v1.2.3-$(id)", "v1.2.3\nid", "x-v1.2.3"} {
		if _, err := runStep(t, first, tag); err == nil {
			t.Errorf("%q is taken", tag)
		}
	}
}

// A candidate does not become the latest release, which is what people are led to.
func TestWorkflowPublishesCandidatesAsSuch(t *testing.T) {
	scripts := workflowSteps(t)
	publish := scripts[len(scripts)-1]
	for tag, want := range map[string]bool{"v1.2.3": false, "v1.2.3-rc.1": true} {
		out, err := runStep(t, publish, tag)
		if err != nil || !strings.HasPrefix(out, "gh release create "+tag+" ") {
			t.Fatalf("%s: %v: %s", tag, err, out)
		}
		if got := slices.Contains(strings.Fields(out), "--prerelease"); got != want {
			t.Errorf("%s is called a candidate: %t: %s", tag, got, out)
		}
	}
}

//go:build release

package release

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
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

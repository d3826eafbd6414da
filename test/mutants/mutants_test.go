// Package mutants breaks our own code on purpose, a little at a time, and demands that the
// property test sees it.
package mutants

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// mutant is one change of one source file.
type mutant struct{ name, file, is, becomes string }

var mutants = []mutant{
	{
		"an event is dropped", "pkg/capture/group.go",
		"g.open.Events = append(g.open.Events, one)",
		"if len(g.open.Events) != 1 {\n\t\t\tg.open.Events = append(g.open.Events, one)\n\t\t}",
	},
	{
		"sub revisions are swapped", "pkg/capture/group.go",
		"\treturn emit(change)",
		"\tif n := len(change.Events); n > 1 {\n\t\tchange.Events[0], change.Events[n-1] = change.Events[n-1], change.Events[0]\n\t}\n\treturn emit(change)",
	},
	{
		"leases are lost", "pkg/capture/notes.go",
		"records = append(records, segment.Lease{ID: id, TTL: ttls[i]})",
		"_ = ttls",
	},
	{
		"the cut is off by one", "pkg/restore/moment.go",
		"if w.Revision != 0 && int64(r.Revision) > w.Revision {",
		"if w.Revision != 0 && int64(r.Revision) > w.Revision+1 {",
	},
	{
		"a tombstone at the compaction is kept", "pkg/restore/hashkv.go",
		"case r.main > set.at, r.main == compact && r.tombstone:\n\t\t\treturn nil\n\t\tcase r.main <= compact && n > 0 && !kept.has(i):",
		"case r.main > set.at:\n\t\t\treturn nil\n\t\tcase r.main <= compact && n > 0 && !kept.has(i) && !(r.main == compact && r.tombstone):",
	},
}

// TestMutantsAreSeen runs the property test over each mutant; the same seeds pass without.
func TestMutantsAreSeen(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			out, err := propertyTest(t, root, overlay(t, root, m))
			if err == nil {
				t.Fatal("the property test passes all the same")
			}
			if !strings.Contains(out, "--- FAIL: TestRandomWork") || strings.Contains(out, "panic:") {
				t.Fatalf("the property test did not see it, but broke: %v\n%s", err, out)
			}
		})
	}
}

// overlay is a file for go's -overlay that puts the mutant in the place of its source.
func overlay(t *testing.T, root string, m mutant) string {
	t.Helper()
	path := filepath.Join(root, filepath.FromSlash(m.file))
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), m.is); n != 1 {
		t.Fatalf("%q stands %d times in %s, want once", m.is, n, m.file)
	}
	dir := t.TempDir()
	mutated, list := filepath.Join(dir, "mutant.go"), filepath.Join(dir, "overlay.json")
	b, err := json.Marshal(map[string]map[string]string{"Replace": {path: mutated}})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{mutated: []byte(strings.Replace(string(source), m.is, m.becomes, 1)), list: b} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

func propertyTest(t *testing.T, root, overlay string) (string, error) {
	t.Helper()
	c := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-failfast", "-overlay", overlay, "-run", "TestRandomWork", "./test/property")
	c.Dir, c.WaitDelay = root, time.Second
	c.Env = append(os.Environ(), "SEED=1", "SEEDS=6")
	out, err := c.CombinedOutput()
	return string(out), err
}

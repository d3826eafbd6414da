package health

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/checks.md anew")

// TestDocument: docs/checks.md is what the checks run by.
func TestDocument(t *testing.T) {
	const path = "../../docs/checks.md"
	if *update {
		if err := os.WriteFile(path, []byte(Document()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	written, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(written), Document()); diff != "" {
		t.Errorf("docs/checks.md is stale, -update writes it anew (-is +should be):\n%s", diff)
	}
	for _, c := range Checks() {
		if strings.Count(Document(), "<a id=\""+strings.ToLower(c.ID)+"\">") != 1 {
			t.Errorf("%s has no anchor of its own", c.ID)
		}
	}
}

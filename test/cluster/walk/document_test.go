//go:build unix

package walk

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDocument(t *testing.T) {
	got := Document("# Whole\n\ntext\n## 1. Stop\n```sh node1 node2\na b\nc\n```\n<!-- the printed steps -->\n```\nno command\n```\n## 2. Go\n```sh node0\nd\n```\n")
	want := []Step{
		{ID: "1. Stop", Title: "1. Stop", Where: "node1, node2", On: []string{"node1", "node2"}, Commands: []string{"a b", "c"}},
		{ID: PrintedSteps},
		{ID: "2. Go", Title: "2. Go", Where: "node0", On: []string{"node0"}, Commands: []string{"d"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}

func TestPrinted(t *testing.T) {
	got := Printed(`ok: done
     no step yet

next, in this order:

1. Copy (here)
   why
     cp a b
   check: it ends
2. Stop (every control-plane node)
     stop
     stop (really)
3. Start (node a, node b)
     start
4. Later, when all is well: delete (node a)
     rm x
`, []string{"a", "b", "c"})
	want := []Step{
		{ID: "1", Title: "Copy", Where: "here", Commands: []string{"cp a b"}},
		{ID: "2", Title: "Stop", Where: "every control-plane node", On: []string{"a", "b", "c"}, Commands: []string{"stop", "stop (really)"}},
		{ID: "3", Title: "Start", Where: "node a, node b", On: []string{"a", "b"}, Commands: []string{"start"}},
		{ID: "4", Title: "Later, when all is well: delete", Where: "node a", On: []string{"a"}, Commands: []string{"rm x"}, Later: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}

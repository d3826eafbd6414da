package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSplit(t *testing.T) {
	got, err := split("\x1b[1;31m✗ bad\x1b[0m: \x1b[1msum\x1b[0m \x1b[2mnote\x1b[m")
	if err != nil {
		t.Fatal(err)
	}
	want := []run{{"", ""}, {"✗ bad", "b c31"}, {": ", ""}, {"sum", "b"}, {" ", ""}, {"note", "f"}, {"", ""}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(run{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := split("\x1b[2J"); err == nil {
		t.Error("a sequence that moves was taken")
	}
}

// TestPlaces: what stands in one column of the terminal stands at one x, whatever is before it.
func TestPlaces(t *testing.T) {
	var out strings.Builder
	if err := draw(&out, "kubectl etcd status", "A   TWO\r\n\x1b[32m✓ ok\x1b[0m<2>\r\n    2\r\n"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`<title>kubectl etcd status</title>`,
		`<text x="49.6" y="48" textLength="25.2">TWO</text>`,
		`<text x="16.0" y="66" textLength="33.6" class="c32">✓ ok</text>`,
		`<text x="49.6" y="66" textLength="25.2">&lt;2&gt;</text>`,
		`<text x="49.6" y="84" textLength="8.4">2</text>`,
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in:\n%s", want, out.String())
		}
	}
}

// TestReadme: the README shows every picture, by the command that it is of, and none that is
// not there.
func TestReadme(t *testing.T) {
	const top = "../../.."
	readme, err := os.ReadFile(filepath.Join(top, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]string{} // alternative text by file
	for _, image := range regexp.MustCompile(`!\[([^\]]*)\]\((docs/images/[^)]*)\)`).FindAllStringSubmatch(string(readme), -1) {
		shown[image[2]] = image[1]
	}
	files, err := filepath.Glob(filepath.Join(top, "docs/images/*.svg"))
	if err != nil || len(files) == 0 || len(files) != len(shown) {
		t.Fatalf("%d pictures, %d in README.md, %v: make docs", len(files), len(shown), err)
	}
	title := regexp.MustCompile(`<title>(.*)</title>`)
	for _, file := range files {
		picture, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := "docs/images/" + filepath.Base(file)
		command := title.FindSubmatch(picture)
		if command == nil || !strings.HasPrefix(string(command[1]), "kubectl etcd ") {
			t.Errorf("%s names no command", name)
			continue
		}
		verb, _, _ := strings.Cut(string(command[1]), " -") // what follows may differ from run to run
		if alt := shown[name]; !strings.HasPrefix(alt, verb) || !strings.Contains(alt, ": ") {
			t.Errorf("%s: its text in README.md is %q, and should begin with %q", name, alt, verb)
		}
		if len(picture) > 60_000 {
			t.Errorf("%s has %d bytes", name, len(picture))
		}
	}
}

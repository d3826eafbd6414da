package discover

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// documented is one line of the first table in docs/distributions.md.
type documented struct {
	row           string
	fixtures      []string
	found, tested string
}

var quoted = regexp.MustCompile("`([^`]+)`")

func names(cell string) []string {
	var found []string
	for _, match := range quoted.FindAllStringSubmatch(cell, -1) {
		found = append(found, match[1])
	}
	return found
}

func readDocumentation(t *testing.T) (lines []documented, text string) {
	t.Helper()
	data, err := os.ReadFile("../../docs/distributions.md")
	if err != nil {
		t.Fatal(err)
	}
	text = string(data)
	_, table, _ := strings.Cut(text, "|---|---|---|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 5 {
			t.Fatalf("%q has %d cells", line, len(cells))
		}
		rows := append(names(cells[1]), "")
		lines = append(lines, documented{rows[0], names(cells[2]), strings.TrimSpace(cells[3]), strings.TrimSpace(cells[4])})
	}
	return lines, text
}

// The table of distributions and its documentation are one: each row stands there with its
// fixtures, which that row takes, and each fixture is some line's.
func TestDocumentation(t *testing.T) {
	lines, text := readDocumentation(t)
	rows := distros()
	var documentedRows, documentedFixtures []string
	for _, line := range lines {
		documentedRows = append(documentedRows, line.row)
		documentedFixtures = append(documentedFixtures, line.fixtures...)
		if (line.row == "") != (len(line.fixtures) == 0) {
			t.Errorf("row %q has the fixtures %q", line.row, line.fixtures)
		}
		for _, dir := range line.fixtures {
			checkFixture(t, rows, dir, line)
		}
	}
	for _, row := range rows {
		if !slices.Contains(documentedRows, row.id) {
			t.Errorf("row %s is in no line of docs/distributions.md", row.id)
		}
	}
	for _, dir := range fixtureDirs(t) {
		if dir != "onnode" && !slices.Contains(documentedFixtures, dir) || !strings.Contains(text, "`"+dir+"`") {
			t.Errorf("fixture %s is in no line of docs/distributions.md", dir)
		}
	}
}

// checkFixture: the pods of a fixture are what its line says of them.
func checkFixture(t *testing.T, rows []distro, dir string, line documented) {
	t.Helper()
	found := mustFind(t, Options{All: true}, readFixture(t, dir+"/cluster.yaml")...)
	for _, c := range found.Clusters {
		if c.Distro != line.row {
			t.Errorf("fixture %s is of row %s, the documentation says %s", dir, c.Distro, line.row)
		}
		if byDefault := line.found == "by default"; byDefault != c.ControlPlane && c.Name != "cilium" {
			t.Errorf("fixture %s, cluster %s: control plane: %v, the documentation says %q", dir, c.Name, c.ControlPlane, line.found)
		}
	}
	// Only kubeadm's is started by tests.
	if (line.tested == "real cluster") != (dir == "kubeadm" || strings.HasPrefix(dir, "kubeadm-")) {
		t.Errorf("fixture %s is said to be tested: %s", dir, line.tested)
	}
	for _, pod := range podsOf(readFixture(t, dir+"/other.yaml")) {
		if row, _ := recognise(rows, pod); row != nil && row.id == line.row {
			t.Errorf("fixture %s: other.yaml: pod %s is taken for the row's", dir, pod.Name)
		}
	}
}

func fixtureDirs(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	var dirs []string
	for _, entry := range entries {
		if entry.IsDir() {
			dirs = append(dirs, entry.Name())
		}
	}
	return dirs
}

// provenance is what a fixture's comment must say: the upstream file with its version, or that
// there is none.
var provenance = regexp.MustCompile(`not from an upstream file|(?: at |\()[0-9a-f]{7}\b|\bv1\.\d+`)

func TestFixturesNameTheirSource(t *testing.T) {
	for _, dir := range fixtureDirs(t) {
		if dir == "onnode" { // whole disks; the comments are in their files
			continue
		}
		for _, name := range []string{"cluster.yaml", "other.yaml"} {
			data, err := os.ReadFile(filepath.Join("testdata", dir, name))
			if err != nil {
				t.Error(err)
				continue
			}
			comment, _, _ := strings.Cut(string(data), "\n---")
			comment = strings.ToLower(strings.Join(strings.Fields(strings.ReplaceAll(comment, "#", " ")), " "))
			if !provenance.MatchString(comment) {
				t.Errorf("%s/%s: no upstream file with its version in: %s", dir, name, comment)
			}
		}
	}
}

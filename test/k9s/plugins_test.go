// Package k9s holds plugins.yaml against the very k9s that reads it.
package k9s

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

// version is the k9s whose schema and source are read. The whole of it is not built: that takes
// half an hour, for a file.
const version = "github.com/derailed/k9s@v0.50.18"

const file = "../../plugins.yaml"

// source is where k9s's source lies.
func source(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "mod", "download", "-json", version).Output()
	if err != nil {
		t.Fatalf("download %s: %v: %s", version, err, out)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		t.Fatal(err)
	}
	return module.Dir
}

func plugins(t *testing.T) map[string]any {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var document map[string]any
	if err := yaml.Unmarshal(content, &document); err != nil {
		t.Fatal(err)
	}
	return document
}

func TestSchema(t *testing.T) {
	path := filepath.Join(source(t), "internal", "config", "json", "schemas", "plugins.json")
	schema, err := jsonschema.NewCompiler().Compile(path)
	if err != nil {
		t.Fatal(err)
	}
	document := plugins(t)
	if err := schema.Validate(document); err != nil {
		t.Error(err)
	}
	delete(document["plugins"].(map[string]any)["etcd-status"].(map[string]any), "command")
	if err := schema.Validate(document); err == nil {
		t.Error("a plugin without a command is valid too")
	}
}

// The schema lets unknown keys of a plugin pass, which k9s ignores: they are held against the
// fields of its own type.
func TestKeys(t *testing.T) {
	code, err := os.ReadFile(filepath.Join(source(t), "internal", "config", "plugin.go"))
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(code), "type Plugin struct {")
	body, _, _ = strings.Cut(body, "}")
	var known []string
	for _, match := range regexp.MustCompile("`yaml:\"(\\w+)\"`").FindAllStringSubmatch(body, -1) {
		known = append(known, match[1])
	}
	if len(known) < 8 {
		t.Fatalf("k9s knows %q", known)
	}
	shortCuts := map[string]bool{}
	for name, plugin := range plugins(t)["plugins"].(map[string]any) {
		plugin := plugin.(map[string]any)
		for key := range plugin {
			if !slices.Contains(known, key) {
				t.Errorf("%s: k9s knows no %s", name, key)
			}
		}
		if key := plugin["shortCut"].(string); shortCuts[key] {
			t.Errorf("%s: %s is taken", name, key)
		} else {
			shortCuts[key] = true
		}
	}
}

// What stands in the command lines for k9s to fill in, it fills in.
func TestVariables(t *testing.T) {
	code, err := os.ReadFile(filepath.Join(source(t), "internal", "view", "helpers.go"))
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(content), "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		for _, match := range regexp.MustCompile(`\$(\w+)`).FindAllStringSubmatch(line, -1) {
			if !strings.Contains(string(code), `"`+match[1]+`":`) {
				t.Errorf("k9s does not know $%s: %s", match[1], line)
			}
		}
	}
}

package cmd

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/test/docs"
)

const repository = "../.."

// noCommands are what looks like a command line and is none, each with why.
var noCommands = map[string]string{
	"kubectl-etcd change 1":                "what a hash begins with (docs/archive-format.md)",
	"kubectl-etcd change without values 1": "what a hash begins with (docs/archive-format.md)",
}

// TestDocumentedCommands: each command line of the pages is a right one, and each that is
// typed as it stands is run on a real cluster by e2e TestExamples, whose table says how.
func TestDocumentedCommands(t *testing.T) {
	s, _, _ := testSession(nil)
	lines, err := docs.Lines(repository, namesOf(newRootCommand(s))...)
	if err != nil {
		t.Fatal(err)
	}
	if len(lines) < 100 {
		t.Errorf("only %d command lines were found", len(lines))
	}
	runs := e2eRuns(t)
	unused := len(noCommands)
	for _, line := range lines {
		if noCommands[line.Text] != "" {
			unused--
			continue
		}
		if err := checkLine(line); err != nil && (line.Typed || !speaksOfFlag(err)) {
			t.Errorf("%s:%d: %s: %v", line.Page, line.Number, line.Text, err)
		}
		if line.Typed && !slices.Contains(runs, line.Text) {
			t.Errorf("%s:%d: %s: exampleRuns of test/e2e/examples_test.go does not say how it is run", line.Page, line.Number, line.Text)
		}
	}
	if unused > 0 {
		t.Errorf("%d of noCommands are on no page", unused)
	}
}

// speaksOfFlag: "`tail --archive`" names a flag, and leaves out its value.
func speaksOfFlag(err error) bool { return strings.Contains(err.Error(), "flag needs an argument") }

// Wrong lines are found out.
func TestWrongCommandsAreFound(t *testing.T) {
	for text, want := range map[string]string{
		"kubectl etcd stauts":                                   "unknown command",
		"kubectl etcd backup --flush-often":                     "unknown flag",
		"kubectl etcd member replace":                           "accepts 1 arg",
		"kubectl etcd tune --sample soon":                       "invalid argument",
		"kubectl etcd status --context x | less":                "",
		"kubectl etcd health -o jsonpath='{.a b}' > file.json":  "",
		"make no-such-target":                                   "no target",
		"make cluster KNOTEN=3":                                 "no variable",
		"make -s cluster NODES=3":                               "",
		"go test ./pkg/no-such-package":                         "no such file",
		"go test ./pkg/cmd -run TestNoSuchTest":                 "no test",
		"go test ./pkg/cmd -run Views -update":                  "",
		"go test ./pkg/health -run TestDocument -upset":         "no flag",
		"go run ./test/bench -only no-such-measurement":         "does not know",
		"go run ./test/bench -only snapshot -mib 300 -rounds 5": "",
	} {
		err := checkLine(docs.Line{Text: text})
		if got := fmt.Sprint(err); err == nil && want != "" || err != nil && (want == "" || !strings.Contains(got, want)) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

// namesOf are the commands at the top.
func namesOf(root *cobra.Command) (names []string) {
	for _, c := range root.Commands() {
		names = append(names, c.Name())
	}
	return names
}

// checkLine tells what is wrong with a command line, without running it.
func checkLine(line docs.Line) error {
	words := shellWords(line.Text)
	switch {
	case line.Plugin():
		return checkPlugin(words[slices.Index([]string{"kubectl-etcd", "kubectl"}, words[0])+1:])
	case words[0] == "make":
		return checkMake(words[1:])
	default:
		return checkGo(words[1:])
	}
}

// checkPlugin parses args as the program does, and stops there.
func checkPlugin(args []string) error {
	s, _, _ := testSession(nil)
	root := newRootCommand(s)
	root.InitDefaultHelpCmd()
	c, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	if err := c.ParseFlags(rest); err != nil {
		return err
	}
	return c.ValidateArgs(c.Flags().Args())
}

// shellWords are those of the first command in text; an ellipsis stands for more of them.
func shellWords(text string) (words []string) {
	for _, word := range shellWord.FindAllString(text, -1) {
		if strings.ContainsAny(word[:1], "|>&;") {
			break
		}
		if word != "…" {
			words = append(words, unquote.Replace(word))
		}
	}
	return words
}

var (
	shellWord = regexp.MustCompile(`[|>&;]+|(?:'[^']*'|"[^"]*"|[^\s'"])+`)
	unquote   = strings.NewReplacer("'", "", `"`, "")
)

// checkMake wants targets and variables that the Makefile has.
func checkMake(args []string) error {
	makefile, err := os.ReadFile(filepath.Join(repository, "Makefile"))
	if err != nil {
		return err
	}
	for _, arg := range args {
		name, _, variable := strings.Cut(arg, "=")
		switch {
		case arg == "-s":
		case variable && !strings.Contains(string(makefile), "$("+name+")"):
			return fmt.Errorf("no variable %s in the Makefile", name)
		case !variable && !regexp.MustCompile(`(?m)^`+regexp.QuoteMeta(arg)+`:`).Match(makefile):
			return fmt.Errorf("no target %s in the Makefile", arg)
		}
	}
	return nil
}

// goFlags are the go command's own that take a value, and that take none.
var goFlags = map[string]bool{"-tags": true, "-run": true, "-count": false, "-v": false, "-race": false}

// checkGo wants the packages that "go test" and "go run" name, the tests that -run does, and
// the flags that are the package's own.
func checkGo(args []string) error {
	at := slices.IndexFunc(args, func(arg string) bool { return strings.HasPrefix(arg, "./") })
	if at < 0 {
		return fmt.Errorf("no package is named")
	}
	source, err := sourceOf(filepath.Join(repository, args[at]))
	if err != nil {
		return err
	}
	for i := 1; i < len(args); i++ {
		name, _, _ := strings.Cut(args[i], "=")
		if valued, known := goFlags[name]; known {
			if valued {
				i++
			}
			if name == "-run" && !regexp.MustCompile(`(?m)^func Test\w*`+strings.TrimPrefix(args[i], "Test")).MatchString(source) {
				return fmt.Errorf("no test %s in %s", args[i], args[at])
			}
			continue
		}
		if err := checkOwnFlag(source, args, i); err != nil {
			return err
		}
	}
	return nil
}

// checkOwnFlag wants args[i], if it is a flag, to stand in source, and so its value where
// that is a choice.
func checkOwnFlag(source string, args []string, i int) error {
	name, flag := strings.CutPrefix(args[i], "-")
	switch {
	case !flag:
		return nil
	case !strings.Contains(source, strconv.Quote(name)):
		return fmt.Errorf("no flag -%s", name)
	case name == "only" && !strings.Contains(source, strconv.Quote(args[i+1])):
		return fmt.Errorf("-only does not know %s", args[i+1])
	}
	return nil
}

// sourceOf is all Go of a folder.
func sourceOf(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	var all strings.Builder
	for _, entry := range entries {
		if filepath.Ext(entry.Name()) != ".go" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return "", err
		}
		all.Write(text)
	}
	return all.String(), nil
}

// e2eRuns are the keys of e2e's exampleRuns, which is behind a build tag.
func e2eRuns(t *testing.T) (lines []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(repository, "test/e2e/examples_test.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || spec.Names[0].Name != "exampleRuns" {
			return true
		}
		for _, element := range spec.Values[0].(*ast.CompositeLit).Elts {
			line, err := strconv.Unquote(element.(*ast.KeyValueExpr).Key.(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, line)
		}
		return false
	})
	return lines
}

package cmd

import (
	"os"
	"regexp"
	"testing"
)

func TestVersionIsTheStampElseWhatGoRecorded(t *testing.T) {
	recorded := readBuild().Version
	if recorded == "" {
		t.Error("a build without a stamp has no version")
	}
	defer func(before string) { version = before }(version)
	version = "v1.2.3"
	for _, args := range [][]string{{"--version"}, {"version", "-o", "jsonpath=kubectl-etcd {.version}{'\\n'}"}} {
		s, out, errOut := testSession(nil)
		if code := s.execute(t.Context(), newRootCommand(s), args); code != exitOK || out.String() != "kubectl-etcd v1.2.3\n" {
			t.Errorf("%v: code %d, %q, %q", args, code, out, errOut)
		}
	}
}

// The linker drops -X of a variable that isn't there without a word.
func TestMakefileStampsVariablesThatAre(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	var named []string
	for _, match := range regexp.MustCompile(`-X \$\(MODULE\)/pkg/cmd\.(\w+)=`).FindAllSubmatch(makefile, -1) {
		named = append(named, string(match[1]))
	}
	there := map[string]*string{"version": &version, "relayImage": &relayImage}
	if len(named) != len(there) {
		t.Errorf("the Makefile sets %v", named)
	}
	for _, name := range named {
		if there[name] == nil {
			t.Errorf("the Makefile sets %s, which is not there", name)
		}
	}
}

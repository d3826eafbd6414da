package discover

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSplitScript(t *testing.T) {
	for _, test := range []struct {
		name, script string
		want         [][]string
	}{
		{"continuation", "etcd \\\n  --a=b \\\n  --c", [][]string{{"etcd", "--a=b", "--c"}}},
		{"lines end commands", "a b\nc", [][]string{{"a", "b"}, {"c"}}},
		{"operators end commands", "a && b || c; d | e & f", [][]string{{"a"}, {"b"}, {"c"}, {"d"}, {"e"}, {"f"}}},
		{"quotes", `a 'b c' "d e" f'g'"h"`, [][]string{{"a", "b c", "d e", "fgh"}}},
		{"empty words", `a "" ''`, [][]string{{"a", "", ""}}},
		{"escapes", `a\ b "c\"d"`, [][]string{{"a b", `c"d`}}},
		{"comment", "a # b\n#c\nd e#f", [][]string{{"a"}, {"d", "e#f"}}},
		{"redirections", "a 2>&1 > /dev/null b <in", [][]string{{"a", "b"}}},
		{"variables", "a ${B_C} $D", [][]string{{"a", "${B_C}", "$D"}}},
		{"command substitution", `A=$(b "x)" 'y)' $(c)) d`, [][]string{{`A=$(b "x)" 'y)' $(c))`, "d"}}},
		{"substitution over lines", "A=$(b \\\n --c)\nd", [][]string{{"A=$(b \\\n --c)"}, {"d"}}},
		{"substitution in quotes", `[ -n "$(ss '( sport = 2379 )')" ]`, [][]string{{"[", "-n", "$(ss '( sport = 2379 )')", "]"}}},
		{"backticks", "a `b c`", [][]string{{"a", "`b c`"}}},
		{"subshell", "(a; b)", [][]string{{"a"}, {"b"}}},
		{"unclosed", `a "b`, [][]string{{"a", "b"}}},
		{"nothing", " \n#x", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, splitScript(test.script)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzSplitScript(f *testing.F) {
	f.Add("exec nice -n -19 etcd \\\n --a=${B} || mv x y # z")
	f.Add("A=$(b 'c)' \"d\" `e`) f >g 2>&1")
	f.Fuzz(func(t *testing.T, script string) {
		total := 0
		for _, words := range splitScript(script) {
			if len(words) == 0 {
				t.Fatal("a command without words")
			}
			for _, word := range words {
				total += len(word)
			}
		}
		if total > len(script) {
			t.Fatalf("%d bytes of words from %d of script", total, len(script))
		}
		// Quoted whole, any text is one word again.
		quoted := "'" + strings.ReplaceAll(script, "'", `'\''`) + "'"
		if diff := cmp.Diff([][]string{{script}}, splitScript(quoted)); diff != "" {
			t.Fatalf("quoted (-want +got):\n%s", diff)
		}
		findInvocation([]string{"sh", "-c", script}, "etcd")
	})
}

package cmd

import (
	"strings"
	"testing"
)

// What an unset shell variable leaves must not change which etcd or file is meant.
func TestEmptyFlagsAreRefused(t *testing.T) {
	for _, args := range [][]string{
		{"status", "--endpoints", ""},
		{"status", "--etcd", ""},
		{"status", "--cacert="},
		{"status", "--cert-secret", ""},
		{"status", "--on-node", "--node-root", ""},
		{"backup", "--endpoints=", "-f", "x.db"},
		{"backup", "--from", ""},
		{"backup", "--file", ""},
		{"restore", "--from-file", ""},
		{"restore", "--from-file", "x.db", "--out-dir", ""},
	} {
		s, _, errOut := testSession(nil)
		code := s.execute(t.Context(), newRootCommand(s), args)
		flag := ""
		for i, arg := range args { // the one before the empty word, or with nothing behind its =
			if arg == "" {
				flag = args[i-1]
			} else if name, empty := strings.CutSuffix(arg, "="); empty {
				flag = name
			}
		}
		if want := "error: " + flag + " is given, but empty\n"; code != exitUsage || !strings.HasPrefix(errOut.String(), want) {
			t.Errorf("%q: code %d, %q, want %q", args, code, errOut, want)
		}
	}
}

func TestUsageHints(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"restore", "my snapshot.db"}, "hint: kubectl etcd restore --from-file 'my snapshot.db' --out-dir restored\n"},
		{[]string{"status", "--interval", "3s"}, "error: --interval goes with --watch\n"},
		{[]string{"status", "--endpoint", "x"}, "error: unknown flag: --endpoint; did you mean --endpoints?\n"},
		{[]string{"status", "--by", "x"}, "error: unknown flag: --by\n"}, // not --as
		{[]string{"status", "--tiemout", "3s"}, "error: unknown flag: --tiemout; did you mean --timeout?\n"},
		{[]string{"status", "--nope"}, "error: unknown flag: --nope\n"},
		{[]string{"status", "-x"}, "error: unknown shorthand flag: 'x' in -x\n"},
	} {
		s, _, errOut := testSession(nil)
		if code := s.execute(t.Context(), newRootCommand(s), test.args); code != exitUsage || !strings.Contains(errOut.String(), test.want) {
			t.Errorf("%q: code %d, %q, want %q", test.args, code, errOut, test.want)
		}
	}
}

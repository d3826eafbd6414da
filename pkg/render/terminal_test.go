package render

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func env(pairs map[string]string) func(string) string {
	return func(name string) string { return pairs[name] }
}

func TestWantColor(t *testing.T) {
	for _, test := range []struct {
		name  string
		tty   bool
		env   map[string]string
		color Color
		want  bool
	}{
		{"tty", true, nil, ColorAuto, true},
		{"pipe", false, nil, ColorAuto, false},
		{"flag beats NO_COLOR", false, map[string]string{"NO_COLOR": "1"}, ColorAlways, true},
		{"flag beats CLICOLOR_FORCE", true, map[string]string{"CLICOLOR_FORCE": "1"}, ColorNever, false},
		{"NO_COLOR beats CLICOLOR_FORCE", true, map[string]string{"NO_COLOR": "1", "CLICOLOR_FORCE": "1"}, ColorAuto, false},
		{"empty NO_COLOR is unset", true, map[string]string{"NO_COLOR": ""}, ColorAuto, true},
		{"CLICOLOR_FORCE on a pipe", false, map[string]string{"CLICOLOR_FORCE": "1"}, ColorAuto, true},
		{"CLICOLOR_FORCE beats CLICOLOR=0", false, map[string]string{"CLICOLOR_FORCE": "1", "CLICOLOR": "0"}, ColorAuto, true},
		{"CLICOLOR_FORCE=0 is none", false, map[string]string{"CLICOLOR_FORCE": "0"}, ColorAuto, false},
		{"CLICOLOR=0", true, map[string]string{"CLICOLOR": "0"}, ColorAuto, false},
		{"dumb", true, map[string]string{"TERM": "dumb"}, ColorAuto, false},
	} {
		if got := wantColor(test.tty, env(test.env), test.color); got != test.want {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
}

func TestUTF8Locale(t *testing.T) {
	for _, test := range []struct {
		env  map[string]string
		want bool
	}{
		{map[string]string{"LANG": "C.UTF-8"}, true},
		{map[string]string{"LANG": "de_DE.utf8"}, true},
		{map[string]string{"LANG": "C.UTF-8", "LC_ALL": "C"}, false},
		{map[string]string{"LANG": "C", "LC_CTYPE": "en_US.UTF-8"}, true},
		{map[string]string{"LC_ALL": "", "LANG": "POSIX"}, false},
		{nil, false},
	} {
		if got := utf8Locale(env(test.env)); got != test.want {
			t.Errorf("%v: got %v, want %v", test.env, got, test.want)
		}
	}
}

func TestDetectPipe(t *testing.T) {
	got := Detect(&bytes.Buffer{}, env(map[string]string{"LANG": "C.UTF-8", "COLUMNS": "80"}), ColorAuto)
	if diff := cmp.Diff(Terminal{Unicode: true}, got); diff != "" {
		t.Errorf("a pipe has no width and no colour (-want +got):\n%s", diff)
	}
}

func TestPlainTerminal(t *testing.T) {
	for name, want := range map[string]bool{"linux": true, "dumb": true, "xterm-256color": false, "": false} {
		if got := plainTerminal(env(map[string]string{"TERM": name})); got != want {
			t.Errorf("TERM=%s: got %v", name, got)
		}
	}
}

func TestParseColor(t *testing.T) {
	if c, err := ParseColor(""); err != nil || c != ColorAuto {
		t.Errorf("empty: %v %v", c, err)
	}
	if _, err := ParseColor("blue"); err == nil {
		t.Error("blue was taken")
	}
}

func TestLightBackground(t *testing.T) {
	for _, test := range []struct {
		colors, term string
		want         bool
	}{
		{"0;15", "xterm-256color", true},
		{"0;default;7", "rxvt-unicode-256color", true},
		{"15;0", "xterm-256color", false},
		{"", "xterm-256color", false},
		{"0;15", "xterm", false}, // it may have no dark ones
	} {
		if got := lightBackground(env(map[string]string{"COLORFGBG": test.colors, "TERM": test.term})); got != test.want {
			t.Errorf("COLORFGBG=%s TERM=%s: got %v", test.colors, test.term, got)
		}
	}
}

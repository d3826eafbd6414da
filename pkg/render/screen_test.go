package render

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWrap(t *testing.T) {
	for _, tt := range []struct {
		text  string
		width int
		want  string
	}{
		{"", 10, ""},
		{"all of it", 10, "all of it"},
		{"a member that does not answer", 12, "a member\nthat does\nnot answer"},
		{"without --timeout it waits", 14, "without\n--timeout it\nwaits"},
		{"one word: initial-election-tick-advance is long", 12, "one word:\ninitial-elec\ntion-tick-ad\nvance is\nlong"},
		{"é ✓ ▲ wide 世界 end", 11, "é ✓ ▲ wide\n世界 end"},
	} {
		if diff := cmp.Diff(tt.want, wrap(tt.text, tt.width)); diff != "" {
			t.Errorf("wrap(%q, %d) (-want +got):\n%s", tt.text, tt.width, diff)
		}
	}
}

func TestTerm(t *testing.T) {
	var out bytes.Buffer
	s := NewScreen(&out, Terminal{TTY: true, Width: 40})
	s.Term(2, 9, "restore", "Make data directories, and say how to put them in place")
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	want := "  restore  Make data directories, and\n           say how to put them in place\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A word that no line holds is broken, and nothing put in where it is.
func TestSayALongWord(t *testing.T) {
	var out bytes.Buffer
	s := NewScreen(&out, Terminal{TTY: true, Width: 30})
	s.Say(2, Cell{Text: "ok: in /a/folder/of-a-name/that/is-very/long/indeed, all"})
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	want := "ok: in\n  /a/folder/of-a-name/that/is-\n  very/long/indeed, all\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestSay: a sentence goes on below, between words, and keeps its tones; a pipe and a wide
// terminal have it in one line.
func TestSay(t *testing.T) {
	for _, tt := range []struct {
		name     string
		terminal Terminal
		want     string
	}{
		{"pipe", Terminal{}, "warning: no further member may fail, and that is bad\n"},
		{"wide", Terminal{TTY: true, Width: 60}, "! warning: no further member may fail, and that is bad\n"},
		{"narrow", Terminal{TTY: true, Width: 30}, "! warning: no further member\n  may fail, and that is bad\n"},
		{"colours", Terminal{TTY: true, Width: 30, Color: true}, "\x1b[33m! warning\x1b[0m\x1b[1m: no further member\n  may fail, and that is bad\x1b[0m\n"},
	} {
		var out bytes.Buffer
		s := NewScreen(&out, tt.terminal)
		s.Say(2, s.State("warning", Warn), Cell{Text: ": no further member may fail, and that is bad", Tone: Strong})
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, out.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

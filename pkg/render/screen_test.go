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

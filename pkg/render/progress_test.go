package render

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestProgressOnAPipe(t *testing.T) {
	var out bytes.Buffer
	p := NewProgress(&out, Terminal{}, "snapshot")
	for done := int64(0); done <= 100; done += 7 {
		p.Set(done<<20, 100<<20)
	}
	p.Set(0, 100<<20) // the next member, from the start
	p.Set(15<<20, 100<<20)
	p.Done()
	want := `snapshot: 10% (14.0 MiB of 100.0 MiB)
snapshot: 20% (21.0 MiB of 100.0 MiB)
snapshot: 30% (35.0 MiB of 100.0 MiB)
snapshot: 40% (42.0 MiB of 100.0 MiB)
snapshot: 50% (56.0 MiB of 100.0 MiB)
snapshot: 60% (63.0 MiB of 100.0 MiB)
snapshot: 70% (70.0 MiB of 100.0 MiB)
snapshot: 80% (84.0 MiB of 100.0 MiB)
snapshot: 90% (91.0 MiB of 100.0 MiB)
snapshot: 10% (15.0 MiB of 100.0 MiB)
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestProgressOfUnknownSize(t *testing.T) {
	var out bytes.Buffer
	p := NewProgress(&out, Terminal{}, "snapshot")
	for done := int64(0); done <= 600; done += 100 {
		p.Set(done<<20, 0)
	}
	if want := "snapshot: 300.0 MiB\nsnapshot: 600.0 MiB\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestProgressBar(t *testing.T) {
	var out bytes.Buffer
	p := NewProgress(&out, Terminal{TTY: true, Width: 80}, "snapshot")
	p.Set(0, 100<<20)
	p.Set(100<<20, 100<<20)
	p.Say("verified")
	for _, want := range []string{"snapshot", "100.00 MiB of 100.00 MiB", "100%", "\r\x1b[2Kverified\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in %q", want, out.String())
		}
	}
	unknown := NewProgress(&out, Terminal{TTY: true, Width: 80}, "unknown")
	unknown.Set(7<<20, 0)
	unknown.Done()
	if got := out.String(); !strings.Contains(got, "unknown 7.00 MiB ") || strings.Contains(got, "%!") {
		t.Errorf("of unknown size: %q", got)
	}
	length := out.Len()
	p.Done()
	if out.Len() != length {
		t.Errorf("Done after Say wrote %q", out.String()[length:])
	}
}

// TestProgressOnADumbTerminal: it can't be drawn over, and gets lines.
func TestProgressOnADumbTerminal(t *testing.T) {
	var out bytes.Buffer
	p := NewProgress(&out, Terminal{TTY: true, Width: 80, Dumb: true}, "snapshot")
	p.Set(50<<20, 100<<20)
	p.Done()
	s := NewScreen(&out, Terminal{TTY: true, Width: 80, Dumb: true})
	s.Redraw()
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if want := "snapshot: 50% (50.0 MiB of 100.0 MiB)\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

package render

import (
	"bytes"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"
)

func sample() Table {
	return Table{
		Columns: []Column{
			{Title: "NAME", Min: 6}, {Title: "SIZE", Right: true}, {Title: "NODE", Hide: 1}, {Title: "EMPTY", Hide: 1},
			{Title: "ZONE", Hide: 2}, {Title: "ID", Wide: true}, {Title: "ERRORS", Below: true},
		},
		Rows: [][]Cell{
			{{"etcd-node0", Plain}, {"5.0 MiB", Plain}, {"node0", Plain}, {"-", Plain}, {"a", Plain}, {"1", Plain}, {"-", Plain}},
			{{"節点", Plain}, {"900 B", Plain}, {"n1", Plain}, {"-", Plain}, {"b", Plain}, {"2", Plain}, {"connection refused by the kubelet", Bad}},
		},
	}
}

func draw(t *testing.T, terminal Terminal, wide bool, table Table) (string, []string) {
	t.Helper()
	var out bytes.Buffer
	s := NewScreen(&out, terminal)
	s.Wide = wide
	hidden := s.Table(table)
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.String(), hidden
}

func TestTable(t *testing.T) {
	for _, test := range []struct {
		name     string
		terminal Terminal
		wide     bool
		hidden   []string
		want     string
	}{
		{"pipe", Terminal{Unicode: true}, false, nil, `
NAME           SIZE  NODE   EMPTY  ZONE  ERRORS
etcd-node0  5.0 MiB  node0  -      a     -
節点          900 B  n1     -      b     connection refused by the kubelet
`},
		{"wide terminal", Terminal{TTY: true, Width: 100, Unicode: true}, false, nil, `
NAME           SIZE  NODE   EMPTY  ZONE  ERRORS
etcd-node0  5.0 MiB  node0  -      a     -
節点          900 B  n1     -      b     connection refused by the kubelet
`},
		{"errors go below", Terminal{TTY: true, Width: 60, Unicode: true}, false, nil, `
NAME           SIZE  NODE   EMPTY  ZONE
etcd-node0  5.0 MiB  node0  -      a
節点          900 B  n1     -      b
    connection refused by the kubelet
`},
		{"the empty one is hidden first", Terminal{TTY: true, Width: 38, Unicode: true}, false, nil, `
NAME           SIZE  NODE   ZONE
etcd-node0  5.0 MiB  node0  a
節点          900 B  n1     b
    connection refused by the kubelet
`},
		{"then names are cut", Terminal{TTY: true, Width: 17, Unicode: true}, false, []string{"NODE", "ZONE"}, `
NAME         SIZE
etcd-no…  5.0 MiB
節点        900 B
    connection refused by the kubelet
`},
		{"all of it with -o wide", Terminal{TTY: true, Width: 20, Unicode: true}, true, nil, `
NAME           SIZE  NODE   EMPTY  ZONE  ID
etcd-node0  5.0 MiB  node0  -      a     1
節点          900 B  n1     -      b     2
    connection refused by the kubelet
`},
		{"a pipe has it in the row", Terminal{Unicode: true}, true, nil, `
NAME           SIZE  NODE   EMPTY  ZONE  ID  ERRORS
etcd-node0  5.0 MiB  node0  -      a     1   -
節点          900 B  n1     -      b     2   connection refused by the kubelet
`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, hidden := draw(t, test.terminal, test.wide, sample())
			if diff := cmp.Diff(strings.TrimPrefix(test.want, "\n"), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.hidden, hidden); diff != "" {
				t.Errorf("hidden (-want +got):\n%s", diff)
			}
		})
	}
}

// On every terminal of 17 cells and more nothing is wider than the terminal.
func TestTableFits(t *testing.T) {
	for width := 17; width < 100; width++ {
		got, _ := draw(t, Terminal{TTY: true, Width: width, Color: true}, false, sample())
		for _, line := range strings.Split(got, "\n") {
			if n := ansi.StringWidth(line); n > width && !strings.HasPrefix(line, "    ") {
				t.Errorf("width %d: %d cells: %q", width, n, line)
			}
		}
	}
}

func TestServerTextsCannotDriveTheTerminal(t *testing.T) {
	evil := "a\x1b[2Jb\nc\x07\u009bd"
	table := Table{Columns: []Column{{Title: "T"}}, Rows: [][]Cell{{{evil, Plain}}}}
	got, _ := draw(t, Terminal{TTY: true, Width: 80}, false, table)
	if strings.ContainsAny(got, "\x1b\x07\u009b") || strings.Count(got, "\n") != 2 {
		t.Errorf("got %q", got)
	}
}

func TestState(t *testing.T) {
	for _, test := range []struct {
		terminal Terminal
		want     string
	}{
		{Terminal{TTY: true, Unicode: true}, "✗ down"},
		{Terminal{TTY: true}, "x down"},
		{Terminal{Unicode: true}, "down"},
	} {
		s := NewScreen(&bytes.Buffer{}, test.terminal)
		if got := s.State("down", Bad).Text; got != test.want {
			t.Errorf("%+v: got %q", test.terminal, got)
		}
	}
}

func TestColours(t *testing.T) {
	var out bytes.Buffer
	s := NewScreen(&out, Terminal{TTY: true, Width: 80, Color: true, Unicode: true})
	s.Line(s.State("down", Bad), Cell{Text: " plain"})
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if want := "\x1b[1;31m✗ down\x1b[0m plain\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestItemWraps(t *testing.T) {
	var out bytes.Buffer
	s := NewScreen(&out, Terminal{TTY: true, Width: 30, Unicode: true})
	s.Item("one member does not answer any more", Plain)
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if want := "  • one member does not answer\n    any more\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

package render

import "testing"

// TestTheme: what a dark terminal, a light one and one without colours get.
func TestTheme(t *testing.T) {
	for _, test := range []struct {
		name       string
		terminal   Terminal
		warn, good string
	}{
		{"unknown background", Terminal{Color: true}, "\x1b[33mx\x1b[0m", "\x1b[32mx\x1b[0m"},
		{"light background", Terminal{Color: true, Light: true}, "\x1b[38;5;130mx\x1b[0m", "\x1b[38;5;28mx\x1b[0m"},
		{"no colours", Terminal{Light: true}, "x", "x"},
	} {
		look := newTheme(test.terminal)
		if warn, good := look.paint("x", Warn), look.paint("x", Good); warn != test.warn || good != test.good {
			t.Errorf("%s: got %q and %q", test.name, warn, good)
		}
	}
}

// Package render turns results into what people and programs read.
//
// It knows none of the product's types. Its one idea: it is decided once, in Detect,
// what the reader is (a terminal of some width, colours or not, UTF-8 or not; or a
// pipe), and everything else follows from that.
package render

import (
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/term"
)

// Color says when to use colours.
type Color string

// The values of --color.
const (
	ColorAuto   Color = "auto"
	ColorAlways Color = "always"
	ColorNever  Color = "never"
)

// ParseColor accepts auto, always and never; empty is auto.
func ParseColor(text string) (Color, error) {
	switch c := Color(text); c {
	case ColorAuto, ColorAlways, ColorNever:
		return c, nil
	case "":
		return ColorAuto, nil
	}
	return "", fmt.Errorf("color %q is none of auto, always, never", text)
}

// Terminal is what is known about the reader.
type Terminal struct {
	TTY     bool
	Width   int  // cells in a line; 0: no limit (a pipe)
	Color   bool // ANSI colours are wanted
	Unicode bool // symbols beyond ASCII can be shown
	Dumb    bool // a terminal that only goes on (TERM=dumb): nothing is drawn over
	// Light: the terminal says that its background is light, and has 256 colours to choose from.
	Light bool
}

// Detect looks at w and the environment.
func Detect(w io.Writer, getenv func(string) string, color Color) Terminal {
	t := Terminal{Unicode: utf8Locale(getenv)}
	if f, ok := w.(interface{ Fd() uintptr }); ok && term.IsTerminal(int(f.Fd())) {
		t.TTY = true
		t.Width = terminalWidth(int(f.Fd()), getenv)
		t.Unicode = t.Unicode && !plainTerminal(getenv)
		t.Dumb = getenv("TERM") == "dumb"
	}
	t.Color = wantColor(t.TTY, getenv, color)
	t.Light = lightBackground(getenv)
	return t
}

// lightBackground goes by COLORFGBG, "foreground;background", alone (rxvt, Konsole and iTerm2 set
// it): a terminal that is asked may not answer, or answer into the next prompt.
func lightBackground(getenv func(string) string) bool {
	fields := strings.Split(getenv("COLORFGBG"), ";")
	background := fields[len(fields)-1]
	many := strings.Contains(getenv("TERM"), "256color") || getenv("COLORTERM") != ""
	return many && (background == "7" || background == "15")
}

// wantColor is --color, then NO_COLOR, CLICOLOR_FORCE, CLICOLOR=0, TERM=dumb, and
// last whether a person is looking (https://no-color.org, https://bixense.com/clicolors).
func wantColor(tty bool, getenv func(string) string, color Color) bool {
	switch force := getenv("CLICOLOR_FORCE"); {
	case color == ColorAlways:
		return true
	case color == ColorNever, getenv("NO_COLOR") != "":
		return false
	case force != "" && force != "0":
		return true
	case getenv("CLICOLOR") == "0", getenv("TERM") == "dumb":
		return false
	}
	return tty
}

// utf8Locale reads the locale as the C library does: the first one set decides.
func utf8Locale(getenv func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if value := strings.ToLower(getenv(name)); value != "" {
			return strings.Contains(value, "utf-8") || strings.Contains(value, "utf8")
		}
	}
	return runtime.GOOS == "windows" && getenv("WT_SESSION") != ""
}

// plainTerminal: the Linux console has no such glyphs, a dumb one promises nothing.
func plainTerminal(getenv func(string) string) bool {
	name := getenv("TERM")
	return name == "linux" || name == "dumb"
}

// terminalWidth falls back to COLUMNS and then to 80 where the size is not told.
func terminalWidth(fd int, getenv func(string) string) int {
	if width, _, err := term.GetSize(fd); err == nil && width > 0 {
		return width
	}
	if width, err := strconv.Atoi(getenv("COLUMNS")); err == nil && width > 0 {
		return width
	}
	return 80
}

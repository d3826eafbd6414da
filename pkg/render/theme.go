package render

import (
	"io"

	"github.com/charmbracelet/lipgloss"
	"github.com/muesli/termenv"
)

// Tone is what a piece of text means; the theme knows how that looks.
type Tone int

// The tones. Good, Warn and Bad are states: they carry a symbol and a word as well.
const (
	Plain Tone = iota
	Good
	Warn
	Bad
	Dim
	Strong
)

// theme is the look: the 16 ANSI colours, so that the terminal's own palette decides. Its yellow
// and green are made for a dark background, so that where a light one is known they are dark
// ones out of the 256, at a contrast of 4.7 to white.
type theme struct {
	styles  map[Tone]lipgloss.Style
	symbols map[Tone]string
	dot     string
	cut     string
}

func newTheme(t Terminal) theme {
	r := lipgloss.NewRenderer(io.Discard, termenv.WithProfile(termenv.Ascii))
	if t.Color {
		r.SetColorProfile(termenv.ANSI)
	}
	green, yellow, red := "2", "3", "1"
	if t.Color && t.Light {
		r.SetColorProfile(termenv.ANSI256)
		green, yellow, red = "28", "130", "124"
	}
	color := func(code string) lipgloss.Style { return r.NewStyle().Foreground(lipgloss.Color(code)) }
	look := theme{
		styles: map[Tone]lipgloss.Style{
			Good: color(green), Warn: color(yellow), Bad: color(red).Bold(true),
			Dim: r.NewStyle().Faint(true), Strong: r.NewStyle().Bold(true),
		},
		symbols: map[Tone]string{Good: "+", Warn: "!", Bad: "x", Dim: "-"},
		dot:     "*",
		cut:     "~",
	}
	if t.Unicode {
		look.symbols = map[Tone]string{Good: "✓", Warn: "▲", Bad: "✗", Dim: "○"}
		look.dot, look.cut = "•", "…"
	}
	return look
}

// paint colours text, which must be one line.
func (l theme) paint(text string, tone Tone) string {
	style, ok := l.styles[tone]
	if !ok || text == "" {
		return text
	}
	return style.Render(text)
}

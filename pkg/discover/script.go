package discover

import "strings"

// splitScript cuts a shell script into its simple commands, each a list of words.
// Quotes are taken off, lines joined at their continuation, comments and redirections
// dropped; substitutions ($X, ${X}, $(…)) stay as they stand. It is no shell: control
// structures come out as words, here-documents as commands.
func splitScript(script string) [][]string {
	l := &scriptLexer{rest: script}
	for l.rest != "" {
		l.step()
	}
	l.endCommand()
	return l.commands
}

type scriptLexer struct {
	rest     string
	commands [][]string
	words    []string
	word     strings.Builder
	inWord   bool
	redirect bool // the next word is a file name, not an argument
}

// step consumes at least one byte of what is left.
func (l *scriptLexer) step() {
	switch c := l.rest[0]; c {
	case ' ', '\t', '\r':
		l.endWord()
		l.rest = l.rest[1:]
	case '\n', ';', '&', '|':
		l.endCommand()
		l.rest = l.rest[1:]
	case '<', '>':
		l.startRedirect()
	case '#':
		l.comment()
	case '\\':
		l.escape()
	case '\'':
		l.singleQuoted()
	case '"':
		l.doubleQuoted()
	case '$', '`':
		l.take(substitutionLength(l.rest))
	case '(', ')':
		l.endWord()
		l.rest = l.rest[1:]
	default:
		l.take(1)
	}
}

// take moves n bytes into the current word.
func (l *scriptLexer) take(n int) {
	l.word.WriteString(l.rest[:n])
	l.rest = l.rest[n:]
	l.inWord = true
}

func (l *scriptLexer) endWord() {
	if !l.inWord {
		return
	}
	if !l.redirect {
		l.words = append(l.words, l.word.String())
	}
	l.redirect, l.inWord = false, false
	l.word.Reset()
}

func (l *scriptLexer) endCommand() {
	l.endWord()
	if len(l.words) > 0 {
		l.commands = append(l.commands, l.words)
	}
	l.words, l.redirect = nil, false
}

// startRedirect drops the operator with its file descriptor ("2>", ">>", "2>&1").
func (l *scriptLexer) startRedirect() {
	if l.inWord && strings.Trim(l.word.String(), "0123456789") == "" {
		l.word.Reset()
		l.inWord = false
	}
	l.endWord()
	l.rest = strings.TrimLeft(l.rest, "<>&")
	l.redirect = true
}

func (l *scriptLexer) comment() {
	if l.inWord {
		l.take(1)
		return
	}
	end := strings.IndexByte(l.rest, '\n')
	if end < 0 {
		end = len(l.rest)
	}
	l.rest = l.rest[end:]
}

func (l *scriptLexer) escape() {
	for _, end := range []string{"\\\n", "\\\r\n"} {
		if rest, ok := strings.CutPrefix(l.rest, end); ok {
			l.rest = rest
			return
		}
	}
	l.rest = l.rest[1:]
	if l.rest != "" {
		l.take(1)
	}
}

func (l *scriptLexer) singleQuoted() {
	body, rest, _ := strings.Cut(l.rest[1:], "'")
	l.word.WriteString(body)
	l.rest, l.inWord = rest, true
}

func (l *scriptLexer) doubleQuoted() {
	l.rest, l.inWord = l.rest[1:], true
	for l.rest != "" {
		switch c := l.rest[0]; c {
		case '"':
			l.rest = l.rest[1:]
			return
		case '\\':
			l.escape()
		case '$', '`':
			l.take(substitutionLength(l.rest))
		default:
			l.take(1)
		}
	}
}

// substitutionLength is how many bytes of s, which starts with "$" or "`", belong to
// the substitution, nested ones and quotes included.
func substitutionLength(s string) int {
	switch {
	case s[0] == '`':
		if end := strings.IndexByte(s[1:], '`'); end >= 0 {
			return end + 2
		}
		return len(s)
	case strings.HasPrefix(s, "$("):
		return closing(s, 1, '(', ')')
	case strings.HasPrefix(s, "${"):
		return closing(s, 1, '{', '}')
	}
	return 1
}

// closing is the length of s up to the bracket that closes the one at start; all of s
// if there is none.
func closing(s string, start int, opener, closer byte) int {
	depth, quote := 0, byte(0)
	for i := start; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == opener:
			depth++
		case c == closer:
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(s)
}

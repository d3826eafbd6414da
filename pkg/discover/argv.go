package discover

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// invocation is how a container starts a program.
type invocation struct {
	args   []string          // the program's arguments, its name left out
	script bool              // they stand in a shell script
	env    map[string]string // what the script assigns before the program starts
}

// option is one command-line flag, name without dashes. A bare flag has the value "true".
type option struct{ name, value string }

// wrappers start the program that follows their own options.
var wrappers = []string{
	"exec", "nice", "ionice", "chrt", "taskset", "numactl", "env", "nohup", "setsid", "time", "timeout",
	"sudo", "tini", "dumb-init", "catatonit", "go-runner", "stdbuf",
}

// shells run the script that follows -c.
var shells = []string{"sh", "bash", "ash", "dash"}

// keywords of the shell stand before a command.
var keywords = []string{"if", "then", "else", "elif", "while", "until", "do", "{", "}", "(", ")", "!"}

var (
	assignment = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)
	number     = regexp.MustCompile(`^[0-9][0-9,.:-]*[smh]?$`)
	flagName   = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]*$`)
)

// EtcdFlags are the flags of a running etcd's command line, by name without dashes; nil: it
// is no etcd's.
func EtcdFlags(argv []string) map[string]string {
	run, ok := findInvocation(argv, "etcd")
	if !ok {
		return nil
	}
	flags := map[string]string{}
	for _, f := range parseFlags(run.args) {
		flags[f.name] = f.value
	}
	return flags
}

// findInvocation looks for program in argv: started directly, behind a wrapper such
// as nice, or by a shell script.
func findInvocation(argv []string, program string) (invocation, bool) {
	at := commandIndex(argv)
	if at < 0 {
		return invocation{}, false
	}
	switch name := path.Base(argv[at]); {
	case name == program:
		return invocation{args: argv[at+1:]}, true
	case slices.Contains(shells, name):
		return findInScript(scriptOf(argv[at+1:]), program)
	}
	return invocation{}, false
}

// commandIndex is where words name the program that they start, or -1.
func commandIndex(words []string) int {
	for i := 0; i < len(words); i++ {
		switch word := words[i]; {
		case assignment.MatchString(word), slices.Contains(keywords, word):
		case slices.Contains(wrappers, path.Base(word)):
			for i+1 < len(words) && isWrapperOption(words[i+1]) {
				i++
			}
		default:
			return i
		}
	}
	return -1
}

func isWrapperOption(word string) bool {
	return strings.HasPrefix(word, "-") || number.MatchString(word)
}

// scriptOf is the script among a shell's own arguments, as in "-euo pipefail -c SCRIPT".
func scriptOf(args []string) string {
	for i, arg := range args {
		isOption := strings.HasPrefix(arg, "-") && !strings.HasPrefix(arg, "--")
		if isOption && strings.Contains(arg, "c") && i+1 < len(args) {
			return args[i+1]
		}
	}
	return ""
}

// findInScript looks for program among the commands of a shell script. The last one
// that starts it counts: what precedes is usually a check.
func findInScript(script, program string) (invocation, bool) {
	found, ok := invocation{script: true, env: map[string]string{}}, false
	for _, words := range splitScript(script) {
		recordAssignments(words, found.env)
		if at := commandIndex(words); at >= 0 && path.Base(words[at]) == program {
			found.args, ok = words[at+1:], true
		}
	}
	return found, ok
}

// recordAssignments adds "A=b", "export A=b" and "A=b command" to env. The output of a
// command can't be known here, and is left out.
func recordAssignments(words []string, env map[string]string) {
	for _, word := range words {
		switch {
		case word == "export":
		case !assignment.MatchString(word):
			return
		default:
			name, value, _ := strings.Cut(word, "=")
			if !strings.Contains(value, "$(") && !strings.Contains(value, "`") {
				env[name] = value
			}
		}
	}
}

// parseFlags reads flags as Go's flag package does, but skips what is no flag: one
// or two dashes, "--k=v", "--k v", bare "--k"; everything after "--" is left alone.
func parseFlags(words []string) []option {
	var flags []option
	for i := 0; i < len(words); i++ {
		if words[i] == "--" {
			return flags
		}
		name, value, hasValue := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(words[i], "-"), "-"), "=")
		if !strings.HasPrefix(words[i], "-") || !flagName.MatchString(name) {
			continue
		}
		if !hasValue {
			value = "true"
			if i+1 < len(words) && !strings.HasPrefix(words[i+1], "-") {
				i++
				value = words[i]
			}
		}
		flags = append(flags, option{name, value})
	}
	return flags
}

// Package runbook is what a person is told to do on the nodes: steps with the commands that
// somebody runs there, by hand or by a script.
//
// Its one idea: a step says everything that it needs, and each command may be run again.
package runbook

import "strings"

// Step is one thing to do. A person reads it; a script runs its Commands in order, each by
// "sh -c" as root, on each of the nodes of On, and stops at the first that does not end with
// 0. A step is done when it is done on all its nodes.
type Step struct {
	ID       string   `json:"id"` // "copy", "stop", …: stays the same from version to version
	Title    string   `json:"title"`
	Where    string   `json:"where"`           // for the reader: "every control-plane node", "node a", "here"
	On       []string `json:"on,omitempty"`    // the nodes, by their members' names; empty: here
	Commands []string `json:"commands"`        // POSIX sh, each one complete
	Why      string   `json:"why,omitempty"`   // what it is for, and what to mind
	Check    string   `json:"check,omitempty"` // what tells that it has worked
	Later    bool     `json:"later,omitempty"` // not part of the way to a running cluster
}

// Quote makes s one word of a shell, and leaves alone what is one anyway.
func Quote(s string) string {
	plain := func(r rune) bool {
		return strings.ContainsRune("/.-_+:@%=,", r) || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

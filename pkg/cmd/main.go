// Package cmd is the conversation with the user: flags in, views out, and the one
// place where an error becomes a message, a hint and an exit code.
//
// It holds no etcd or storage logic: commands wire the other packages together.
package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
)

// Exit codes, the same for every command.
const (
	exitOK          = 0
	exitError       = 1
	exitUsage       = 2
	exitFindings    = 3
	exitNotFound    = 4
	exitDamaged     = 5
	exitUnreachable = 6
	exitInterrupted = 130
)

const exitCodesHelp = `  0 ok   1 error   2 usage   3 findings at or above --fail-on   4 no etcd found
  5 archive or snapshot damaged   6 API server unreachable   130 interrupted
`

// Main runs one command line and returns its exit code.
func Main(ctx context.Context, args []string, streams genericiooptions.IOStreams) int {
	s := newSession(streams, os.Getenv)
	s.bridge = bridgeLogs
	return s.execute(ctx, newRootCommand(s), args)
}

func (s *session) execute(ctx context.Context, root *cobra.Command, args []string) int {
	root.SetArgs(args)
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.ErrOut)
	ran, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	f := s.explain(err, ran.CommandPath())
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		f = fault{message: "interrupted", code: exitInterrupted}
		if s.endless {
			f.message = ""
		}
	}
	s.report(f)
	return f.code
}

// report writes what went wrong and the next thing to do. A fault without a message
// has been shown by the command itself.
func (s *session) report(f fault) {
	if f.message == "" {
		return
	}
	s.colors, _ = render.ParseColor(s.color) // a usage error comes before the flags are looked at
	screen := s.screenOn(s.ErrOut)
	labelled(screen, "error: ", f.message, render.Bad)
	for _, hint := range f.hints {
		labelled(screen, "hint: ", s.typed(hint), render.Strong)
	}
	_ = screen.Flush()
}

// labelled adds text as it is, lines and all: there may be a command in it to be copied.
func labelled(s *render.Screen, label, text string, tone render.Tone) {
	for i, line := range strings.Split(text, "\n") {
		if i == 0 {
			s.Line(render.Cell{Text: label, Tone: tone}, render.Cell{Text: line})
			continue
		}
		s.Line(render.Cell{Text: line})
	}
}

// exitWith ends the command with a code after it has said everything itself.
type exitWith int

func (e exitWith) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// usageError is a command line that can't be meant.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// hintedError is an error whose place knows the next step better than explain does.
type hintedError struct {
	err   error
	hints []string
}

func (e *hintedError) Error() string { return e.err.Error() }
func (e *hintedError) Unwrap() error { return e.err }

func withHint(err error, hints ...string) error { return &hintedError{err, hints} }

package cmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
)

// atTerminal tells that somebody can be asked: questions go to stderr, answers come in.
func (s *session) atTerminal() bool {
	in, ok := s.In.(*os.File)
	return ok && term.IsTerminal(int(in.Fd())) && render.Detect(s.ErrOut, s.getenv, s.colors).TTY
}

// confirm asks; only a yes is one.
func (s *session) confirm(ctx context.Context, question string) (bool, error) {
	if _, err := fmt.Fprintf(s.ErrOut, "%s [y/N] ", question); err != nil {
		return false, err
	}
	answers := make(chan string, 1)
	go func() { // a read of a terminal can't be interrupted: it ends with the process
		line, _ := bufio.NewReader(s.In).ReadString('\n')
		answers <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case answer := <-answers:
		return answer == "y" || answer == "yes", nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// agreed asks before something is done that can't be undone; yes: it was said already. Where nobody can be
// asked it refuses.
func (s *session) agreed(ctx context.Context, question string, yes bool) error {
	if yes {
		return nil
	}
	if !s.atTerminal() {
		return withHint(usagef("this can't be undone, and there is nobody to ask"), "look at it with --dry-run, then say --yes")
	}
	ok, err := s.confirm(ctx, question)
	if err == nil && !ok {
		err = errors.New("nothing was done")
	}
	return err
}

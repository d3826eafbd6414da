package cmd

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
)

// What goes on until it is interrupted has not failed then.
func TestEndlessEndsWithoutWords(t *testing.T) {
	_, reach := upkeepCluster(t, etcdtest.Options{})
	for until, line := range map[string]string{
		"until Ctrl-C": "tail",
		" base ":       "backup --follow --keep-all --archive-name test --no-encryption --archive " + t.TempDir(),
	} {
		ctx, cancel := context.WithCancel(t.Context())
		s, out, errOut := testSession(nil)
		see := func(to *bytes.Buffer) writerFunc {
			return func(p []byte) (int, error) {
				if bytes.Contains(p, []byte(until)) {
					cancel()
				}
				return to.Write(p)
			}
		}
		s.Out, s.ErrOut = see(out), see(errOut)
		code := s.execute(ctx, newRootCommand(s), append(strings.Fields(line), reach...))
		if code != exitInterrupted || !strings.Contains(out.String()+errOut.String(), until) || strings.Contains(errOut.String(), "error") {
			t.Errorf("%s: code %d\n%s%s", line, code, out, errOut)
		}
		cancel()
	}
}

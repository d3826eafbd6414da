package cmd

import (
	"bytes"
	"fmt"
)

// maxAnswer bounds what a command in a pod may print. etcdctl's longest answer, the
// list of the members, has a few hundred bytes for each.
const maxAnswer = 1 << 20

// answer keeps what a command prints. More than maxAnswer is an error, and nothing is
// kept: the image's "etcdctl" may be anything.
type answer struct{ text bytes.Buffer }

func (a *answer) Write(p []byte) (int, error) {
	if a.text.Len()+len(p) > maxAnswer {
		a.text.Reset()
		return 0, fmt.Errorf("it printed more than %d KiB, which is no answer", maxAnswer>>10)
	}
	return a.text.Write(p)
}

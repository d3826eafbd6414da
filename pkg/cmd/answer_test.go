package cmd

import (
	"strings"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/tunnel"
)

// An image whose "etcdctl" never ends must not fill the memory.
func TestExecAnswerIsBounded(t *testing.T) {
	for size, want := range map[int]string{maxAnswer: "", maxAnswer + 1: "etcdctl member list --consistency=s: it printed more than 1024 KiB, which is no answer"} {
		r := &reach{refused: &refusals{}}
		r.addExec(execDialer{func(tunnel.Pod, string, []string) (string, error) {
			return `{"members":[]}` + strings.Repeat("\n", size-len(`{"members":[]}`)), nil
		}}, tlsCluster.Pods[0])
		_, err := r.sources[0].Reader.Members(t.Context())
		if want == "" && err != nil || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("%d bytes: %v, want %q", size, err, want)
		}
	}
}

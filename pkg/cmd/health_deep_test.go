package cmd

import (
	"errors"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/discover"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
)

// TestReaderPassesAFrozenMember: a member that is being defragmented answers nothing, and its
// connection lives: --deep goes on to the next.
func TestReaderPassesAFrozenMember(t *testing.T) {
	thaw := make(chan struct{})
	frozen := (&etcdtest.Stub{OnStatus: func() (*pb.StatusResponse, error) {
		<-thaw
		return &pb.StatusResponse{}, nil
	}}).Open(t, "frozen")
	well := (&etcdtest.Stub{OnStatus: func() (*pb.StatusResponse, error) {
		return &pb.StatusResponse{Header: &pb.ResponseHeader{MemberId: 2}, Leader: 3}, nil
	}}).Open(t, "well")
	t.Cleanup(func() { close(thaw) })
	r := &reach{clients: []*etcd.Client{frozen, well}}
	found := make(chan *etcd.Client, 1)
	go func() { found <- r.reader(t.Context(), time.Second) }()
	select {
	case client := <-found:
		if client != well {
			t.Errorf("found %v", client)
		}
	case <-time.After(10 * time.Second):
		t.Error("it waits for the frozen one")
	}
}

// TestUnreachedClusterIsShown: one that no way leads to has its rows, and no clients.
func TestUnreachedClusterIsShown(t *testing.T) {
	cluster := discover.Cluster{Name: "events", Pods: []discover.Pod{{Name: "etcd-0"}, {Name: "etcd-1"}}}
	r := unreachedCluster(cluster, errors.New("no certificate"))
	if sources := r.memberSources(); len(sources) != 2 || sources[1].Client != nil {
		t.Errorf("%+v", sources)
	}
}

// TestNothingAnswers: that nothing is found is not said where nothing was looked at, and why is.
func TestNothingAnswers(t *testing.T) {
	for _, test := range []struct {
		args []string
		code int
	}{
		{[]string{"health"}, exitFindings},
		{[]string{"health", "-o", "short"}, exitFindings},
		{[]string{"tune"}, exitOK},
	} {
		s, out, errOut := testSession(nil)
		args := append(test.args, "--endpoints", "http://127.0.0.1:1", "--sample", "0")
		code := s.execute(t.Context(), newRootCommand(s), args)
		if code != test.code || strings.Contains(out.String(), "no findings") || !strings.Contains(out.String(), "connection refused by 127.0.0.1:1") {
			t.Errorf("%q: code %d, %s\n%s", args, code, errOut, out)
		}
	}
}

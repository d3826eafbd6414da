package cmd

import (
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

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

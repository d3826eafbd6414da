package etcdtest

import (
	"context"
	"net"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// Stub is a server that speaks etcd's maintenance protocol and says what a test
// wants, for what a real member can't be made to say: a damaged snapshot, say.
type Stub struct {
	pb.UnimplementedMaintenanceServer
	// OnStatus answers Status; nil: unimplemented.
	OnStatus func() (*pb.StatusResponse, error)
	// Messages is what Snapshot sends, one after the other.
	Messages []*pb.SnapshotResponse
}

// Status answers with OnStatus.
func (s *Stub) Status(ctx context.Context, r *pb.StatusRequest) (*pb.StatusResponse, error) {
	if s.OnStatus == nil {
		return s.UnimplementedMaintenanceServer.Status(ctx, r)
	}
	return s.OnStatus()
}

// Snapshot sends Messages.
func (s *Stub) Snapshot(_ *pb.SnapshotRequest, stream pb.Maintenance_SnapshotServer) error {
	for _, message := range s.Messages {
		if err := stream.Send(message); err != nil {
			return err
		}
	}
	return nil
}

// Open serves the stub without TLS until the test ends, and opens a client of it.
func (s *Stub) Open(t testing.TB, name string) *etcd.Client {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, "listen", err)
	server := grpc.NewServer()
	pb.RegisterMaintenanceServer(server, s)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener) // it ends by Stop
	}()
	client, err := etcd.Open(etcd.Endpoint{Name: name, URL: "http://" + listener.Addr().String()}, etcd.Options{})
	must(t, "open client", err)
	t.Cleanup(func() {
		client.Close()
		server.Stop()
		<-served
	})
	return client
}

// SnapshotMessages splits a database and what stands behind it (its sha256) into
// messages as etcd does: 32 KiB each, the tail by itself.
func SnapshotMessages(database, tail []byte) []*pb.SnapshotResponse {
	const chunk = 32 << 10
	var messages []*pb.SnapshotResponse
	for rest := database; len(rest) > 0; {
		n := min(chunk, len(rest))
		messages = append(messages, &pb.SnapshotResponse{
			Blob: rest[:n], RemainingBytes: uint64(len(rest) - n), Version: "3.7.0",
		})
		rest = rest[n:]
	}
	return append(messages, &pb.SnapshotResponse{Blob: tail, Version: "3.7.0"})
}

package capture

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
)

// feed is one watch through one member.
type feed struct {
	source Source
	cancel context.CancelFunc
	stream grpc.BidiStreamingClient[pb.WatchRequest, pb.WatchResponse]
	head   segment.Revision // etcd's, before the watch began
}

// answer is what the watch sent, or how it ended.
type answer struct {
	response *pb.WatchResponse
	at       time.Time
	err      error
}

// look is what a linearizable read through one member tells.
func look(ctx context.Context, client *etcd.Client) (head segment.Revision, cluster etcd.ID, err error) {
	response, err := client.Raw().Get(ctx, "\x00", clientv3.WithCountOnly())
	if err != nil {
		return 0, 0, err
	}
	return segment.Revision(response.Header.Revision), etcd.ID(response.Header.ClusterId), nil
}

// Head is etcd's revision and cluster id by a linearizable read through the first member
// that answers.
func Head(ctx context.Context, sources []Source, timeout time.Duration) (head segment.Revision, cluster etcd.ID, err error) {
	var failed []error
	for _, source := range sources {
		one, cancel := context.WithTimeout(ctx, timeout)
		head, cluster, err = look(one, source.Client)
		cancel()
		if err == nil {
			return head, cluster, nil
		}
		failed = append(failed, fmt.Errorf("%s: %w", source.Name, err))
	}
	return 0, 0, errors.Join(failed...)
}

// open begins a watch at a point, and refuses one that can't be or that would harm.
func open(ctx context.Context, source Source, at Point, timeout time.Duration) (*feed, error) {
	one, cancelOne := context.WithTimeout(ctx, timeout)
	defer cancelOne()
	head, cluster, err := look(one, source.Client)
	if err != nil {
		return nil, err
	}
	switch {
	case at.Cluster != 0 && cluster != at.Cluster:
		return nil, fmt.Errorf("%w: its cluster id is %s, and was %s", ErrFork, cluster, at.Cluster)
	case head < at.Revision:
		return nil, fmt.Errorf("%w: it is at revision %d, and had been at %d", ErrFork, head, at.Revision)
	case head-at.Revision > MaxBehind:
		return nil, fmt.Errorf("%w: from revision %d to %d", ErrFarBehind, at.Revision, head)
	}
	return watch(ctx, source, at, head)
}

func watch(ctx context.Context, source Source, at Point, head segment.Revision) (*feed, error) {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	stream, err := pb.NewWatchClient(source.Client.Raw().ActiveConnection()).Watch(ctx, grpc.MaxCallRecvMsgSize(math.MaxInt32))
	if err != nil {
		cancel()
		return nil, err
	}
	f := &feed{source: source, cancel: cancel, stream: stream, head: head}
	// From the last one, also where there is nothing to compare it with: whatever is compacted up
	// to there, all of the next is shown.
	start := max(int64(at.Revision), 1)
	request := &pb.WatchCreateRequest{Key: []byte{0}, RangeEnd: []byte{0}, StartRevision: start, Fragment: true}
	if err := stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: request}}); err != nil {
		cancel()
		return nil, fmt.Errorf("begin a watch: %w", err)
	}
	return f, nil
}

// compactedAt tells whether a member's etcd was last compacted at that very revision. It goes on
// showing it, also to a watch, but not all of it: events of keys that the same revision changed
// once more are gone (before etcd 3.5.16 and 3.6.0 also deletions; etcd pull request 18274).
func (f *feed) compactedAt(ctx context.Context, revision segment.Revision, timeout time.Duration) (bool, error) {
	before, err := f.compactedBeyond(ctx, revision-1, timeout)
	if err != nil || !before {
		return false, err
	}
	beyond, err := f.compactedBeyond(ctx, revision, timeout)
	return !beyond, err
}

// compactedBeyond tells whether what was at a revision can't be read any more.
func (f *feed) compactedBeyond(ctx context.Context, revision segment.Revision, timeout time.Duration) (bool, error) {
	if revision < 1 {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := f.source.Client.Raw().Get(ctx, "\x00", clientv3.WithRev(int64(revision)), clientv3.WithSerializable(), clientv3.WithCountOnly())
	if errors.Is(err, rpctypes.ErrCompacted) {
		return true, nil
	}
	return false, err
}

// receive hands on what comes until the stream ends, which is the last answer.
func (f *feed) receive(ctx context.Context, to chan<- answer, now func() time.Time) {
	for {
		response, err := f.stream.Recv()
		select {
		case to <- answer{response, now(), err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// ask asks for a progress.
func (f *feed) ask() error {
	return f.stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}})
}

func (f *feed) close() { f.cancel() }

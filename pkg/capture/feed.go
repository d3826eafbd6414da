package capture

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/coreos/go-semver/semver"
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
	// keepsDeletes: a compaction leaves the deletes of the revision that it is at.
	keepsDeletes bool
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
	f, err := watch(ctx, source, at, head)
	if err != nil {
		return nil, err
	}
	f.keepsDeletes = keepsDeletes(one, source.Client)
	return f, nil
}

// keepsDeletes: since etcd 3.5.16 (pull request 18474). One that does not say its version is
// taken for older.
func keepsDeletes(ctx context.Context, client *etcd.Client) bool {
	status, err := client.Status(ctx)
	if err != nil {
		return false
	}
	version, err := semver.NewVersion(status.Version)
	return err == nil && !version.LessThan(semver.Version{Major: 3, Minor: 5, Patch: 16})
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

// compacted tells whether a member was compacted at a revision, or after it. Of one that it was
// compacted at it may have shown a part: it goes on showing it, also to a watch, but not the
// events of keys that the same revision changed once more. Where it was compacted further since,
// nobody knows any more how far it was when it sent it.
func (f *feed) compacted(ctx context.Context, revision segment.Revision, timeout time.Duration) (bool, error) {
	if revision <= 1 {
		return false, nil
	}
	ok, _, err := readable(ctx, f.source.Client, revision-1, timeout)
	return err == nil && !ok, err
}

// readable tells whether what was at a revision can still be read through a member, and its head.
// Revision 0 is the head. Reading a single key costs nothing.
func readable(ctx context.Context, client *etcd.Client, revision segment.Revision, timeout time.Duration) (ok bool, head segment.Revision, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	response, err := client.Raw().Get(ctx, "\x00", clientv3.WithRev(int64(revision)), clientv3.WithSerializable(), clientv3.WithCountOnly())
	if errors.Is(err, rpctypes.ErrCompacted) {
		return false, 0, nil
	}
	if err != nil {
		return false, 0, err
	}
	return true, segment.Revision(response.Header.Revision), nil
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

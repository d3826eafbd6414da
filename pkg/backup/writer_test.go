package backup

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
)

// unreadPipe is the end to write of a full pipe that nobody reads until the test ends.
func unreadPipe(t *testing.T) *os.File {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	t.Cleanup(func() { r.Close() })
	if err := w.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 1<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("fill the pipe: %v", err)
	}
	if err := w.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	return w
}

// Whoever reads may stop reading: the snapshot pins the member's pages all the same.
func TestBlockedWriterEnds(t *testing.T) {
	const quota = 1 << 30
	database := make([]byte, 256<<10)
	sum := sha256.Sum256(database)
	for name, test := range map[string]struct {
		grows, interrupted bool
		want               error
	}{
		"interrupted": {interrupted: true, want: context.Canceled},
		"the quota":   {grows: true, want: ErrQuota},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			w := &announced{to: unreadPipe(t), began: make(chan struct{})}
			var writing atomic.Bool
			stub := &etcdtest.Stub{Messages: etcdtest.SnapshotMessages(database, sum[:])}
			stub.OnStatus = func() (*pb.StatusResponse, error) {
				answer := &pb.StatusResponse{Header: &pb.ResponseHeader{ClusterId: 7, MemberId: 2}, Leader: 1, DbSize: 1 << 20}
				if test.grows && writing.Load() {
					answer.DbSize = quota
				}
				return answer, nil
			}
			go func() {
				<-w.began
				writing.Store(true)
				if test.interrupted {
					cancel()
				}
			}()
			_, err := WriteTo(ctx, []Source{{Name: "a", Client: stub.Open(t, "a"), Quota: quota}}, w, Options{PollEvery: 10 * time.Millisecond})
			if !errors.Is(err, test.want) || errors.Is(err, ErrWrite) || errors.Is(err, ErrNoMember) {
				t.Errorf("WriteTo = %v, want %v", err, test.want)
			}
		})
	}
}

// announced closes began at the first Write.
type announced struct {
	to    *os.File
	began chan struct{}
}

func (a *announced) Write(p []byte) (int, error) {
	close(a.began) // the pipe is full: there is no second one
	return a.to.Write(p)
}

package etcd_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"
	"testing/iotest"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
)

func TestSnapshotOfAMember(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{})
	cluster.Fill(50, 10<<10)
	client := cluster.Open(0)
	readers := map[string]func(*etcd.SnapshotStream) ([]byte, error){
		"Read":         func(s *etcd.SnapshotStream) ([]byte, error) { return io.ReadAll(struct{ io.Reader }{s}) },
		"byte by byte": func(s *etcd.SnapshotStream) ([]byte, error) { return io.ReadAll(iotest.OneByteReader(s)) },
		"WriteTo": func(s *etcd.SnapshotStream) ([]byte, error) {
			var out bytes.Buffer
			_, err := io.Copy(&out, s)
			return out.Bytes(), err
		},
	}
	for name, read := range readers {
		t.Run(name, func(t *testing.T) {
			stream, err := client.Snapshot(timeout(t))
			if err != nil {
				t.Fatal(err)
			}
			defer stream.Close()
			if stream.SHA256() != "" {
				t.Error("it tells a sha256 before its end")
			}
			content, err := read(stream)
			if err != nil {
				t.Fatal(err)
			}
			if int64(len(content)) != stream.Size || len(content)%512 != sha256.Size {
				t.Errorf("%d bytes, want %d", len(content), stream.Size)
			}
			database := content[:len(content)-sha256.Size]
			if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != stream.SHA256() {
				t.Errorf("sha256 %x, stream told %s", sum, stream.SHA256())
			}
			if bytes.Count(database, []byte("/fill/")) < 50 {
				t.Error("it does not hold the keys that were put")
			}
		})
	}
}

func TestSnapshotIsChecked(t *testing.T) {
	database := make([]byte, 100<<10)
	_, _ = rand.NewChaCha8([32]byte{}).Read(database)
	sum := sha256.Sum256(database)
	flipped := bytes.Clone(database)
	flipped[70000] ^= 1
	badSum := sum
	badSum[31] ^= 0x80
	whole := etcdtest.SnapshotMessages(database, sum[:])

	tests := []struct {
		name     string
		messages []*pb.SnapshotResponse
		want     error
	}{
		{"whole", whole, io.EOF},
		{"a byte flipped", etcdtest.SnapshotMessages(flipped, sum[:]), etcd.ErrHashMismatch},
		{"a bit of the sha256 flipped", etcdtest.SnapshotMessages(database, badSum[:]), etcd.ErrHashMismatch},
		{"two messages swapped", swap(whole, 0, 1), etcd.ErrHashMismatch},
		{"without its sha256", whole[:len(whole)-1], etcd.ErrIncomplete},
		{"a message lost at the end", whole[:2], etcd.ErrIncomplete},
		{"a message lost in the middle", append(whole[:1:1], whole[2:]...), etcd.ErrIncomplete},
		{"half a sha256", etcdtest.SnapshotMessages(database, sum[:16]), etcd.ErrIncomplete},
		{"only a sha256", etcdtest.SnapshotMessages(nil, sum[:]), etcd.ErrHashMismatch},
		{"nothing", nil, etcd.ErrIncomplete},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client := (&etcdtest.Stub{Messages: test.messages}).Open(t, "stub")
			stream, err := client.Snapshot(timeout(t))
			if err != nil {
				t.Fatal(err)
			}
			defer stream.Close()
			if _, err := drain(stream); !errors.Is(err, test.want) {
				t.Errorf("reading ended with %v, want %v", err, test.want)
			}
			if told := stream.SHA256() != ""; told != errors.Is(test.want, io.EOF) {
				t.Errorf("it told a sha256: %t", told)
			}
		})
	}
}

func TestSnapshotCutMidway(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{})
	cluster.Fill(200, 10<<10)
	line := etcdtest.NewLine(cluster.Members[0].Addr())
	endpoint := cluster.Members[0].Endpoint()
	endpoint.Dial = line.Dial
	client := cluster.OpenWith(endpoint, cluster.ClientOptions())
	line.CutAfter(1<<20, &tunnelError{Pod: "etcd-a"})
	ctx := timeout(t)
	stream, err := client.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	n, err := drain(stream)
	var cause *tunnelError
	if !errors.Is(err, etcd.ErrIncomplete) || !errors.As(err, &cause) {
		t.Errorf("reading ended with %v, want ErrIncomplete and the connection's own error", err)
	}
	if n == 0 || n >= stream.Size {
		t.Errorf("%d of %d bytes came", n, stream.Size)
	}
	atOnce(ctx, t, err)
}

func TestSnapshotCancelledAndClosed(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
	cluster.Fill(200, 10<<10)
	client := cluster.Open(0)

	ctx, cancel := context.WithCancel(t.Context())
	stream, err := client.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := drain(stream); !errors.Is(err, context.Canceled) || errors.Is(err, etcd.ErrIncomplete) {
		t.Errorf("reading ended with %v, want only Canceled", err)
	}
	stream.Close()

	stream, err = client.Snapshot(timeout(t))
	if err != nil {
		t.Fatal(err)
	}
	stream.Close()
	if _, err := drain(stream); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("reading a closed stream ended with %v", err)
	}
}

// TestSnapshotMemory streams far more than it may hold.
func TestSnapshotMemory(t *testing.T) {
	const size, bound = 64 << 20, 32 << 20
	message := etcdtest.SnapshotMessages(make([]byte, 32<<10), nil)[0]
	stub := &etcdtest.Stub{}
	sum := sha256.New()
	for sent := 0; sent < size; sent += len(message.Blob) {
		stub.Messages = append(stub.Messages, &pb.SnapshotResponse{Blob: message.Blob, RemainingBytes: uint64(size - sent - len(message.Blob))})
		sum.Write(message.Blob)
	}
	stub.Messages = append(stub.Messages, &pb.SnapshotResponse{Blob: sum.Sum(nil)})
	stream, err := stub.Open(t, "stub").Snapshot(timeout(t))
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	sink := &heapSink{}
	n, err := io.Copy(sink, stream)
	if err != nil || n != size+sha256.Size {
		t.Fatalf("copied %d bytes, %v", n, err)
	}
	if sink.highest > bound {
		t.Errorf("the heap held %d MiB while %d MiB went by", sink.highest>>20, size>>20)
	}
}

// heapSink throws away what it gets and looks at the heap on the way.
type heapSink struct {
	writes  int
	highest uint64
}

func (s *heapSink) Write(p []byte) (int, error) {
	if s.writes++; s.writes%1000 == 0 {
		var memory runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&memory)
		s.highest = max(s.highest, memory.HeapAlloc)
	}
	return len(p), nil
}

// drain reads to the end and gives the error that ended it, io.EOF included.
func drain(r io.Reader) (total int64, err error) {
	buffer := make([]byte, 8<<10)
	for {
		n, err := r.Read(buffer)
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
}

func swap(messages []*pb.SnapshotResponse, i, j int) []*pb.SnapshotResponse {
	// the bytes change places, what is said to remain does not
	out := make([]*pb.SnapshotResponse, len(messages))
	for k, m := range messages {
		out[k] = &pb.SnapshotResponse{Blob: m.Blob, RemainingBytes: m.RemainingBytes}
	}
	out[i].Blob, out[j].Blob = out[j].Blob, out[i].Blob
	return out
}

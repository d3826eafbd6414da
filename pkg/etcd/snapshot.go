package etcd

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

// SnapshotStream is a backend as etcd streams it: the database, then its sha256 (32 bytes).
type SnapshotStream struct {
	io.ReadCloser
	Size    int64  // bytes that the server said will come, the sha256 included; 0 when it didn't say
	Version string // storage version the server told; empty before 3.6
}

// WriteTo writes the rest of the stream to w without a copy in between, so that
// io.Copy takes this way. It is nil after what Read would end with io.EOF.
func (s *SnapshotStream) WriteTo(w io.Writer) (int64, error) {
	if direct, ok := s.ReadCloser.(io.WriterTo); ok {
		return direct.WriteTo(w)
	}
	return io.Copy(w, struct{ io.Reader }{s.ReadCloser})
}

// SHA256 is that of all the stream's bytes in hex, as sha256sum prints it for a file of
// them, once the end was reached; before, it is empty. (The sha256 at the stream's own end
// is of the bytes before it.)
func (s *SnapshotStream) SHA256() string {
	if r, ok := s.ReadCloser.(*snapshotReader); ok && errors.Is(r.err, io.EOF) {
		return hex.EncodeToString(r.check.whole())
	}
	return ""
}

// Snapshot streams the member's backend. The stream ends with io.EOF only after the
// trailing sha256 was seen and agrees with the bytes before it; otherwise with
// ErrIncomplete or ErrHashMismatch. It must be closed; closing it early ends the
// call. While it is open the member can't reuse pages that are freed.
func (c *Client) Snapshot(ctx context.Context) (*SnapshotStream, error) {
	ctx, cancel := context.WithCancel(ctx)
	call, err := c.maintenance().Snapshot(ctx, &pb.SnapshotRequest{}, grpc.ForceCodecV2(newChunkCodec()))
	if err != nil {
		cancel()
		return nil, fmt.Errorf("open snapshot: %w", err)
	}
	first, err := call.Recv()
	if err != nil && !errors.Is(err, io.EOF) {
		cancel()
		return nil, fmt.Errorf("open snapshot: %w", err)
	}
	reader := &snapshotReader{call: call, cancel: cancel, blob: first.GetBlob(), check: newTrailer()}
	if err != nil {
		reader.err = reader.verdict()
	}
	stream := &SnapshotStream{ReadCloser: reader, Version: first.GetVersion()}
	if remaining := first.GetRemainingBytes(); remaining > 0 || len(first.GetBlob())%512 == 0 {
		reader.size = int64(remaining) + int64(len(first.GetBlob())) + sha256.Size
	}
	stream.Size = reader.size
	return stream, nil
}

// snapshotReader reads one call's messages as one stream and checks them on the way.
type snapshotReader struct {
	call   grpc.ServerStreamingClient[pb.SnapshotResponse]
	cancel context.CancelFunc
	size   int64  // expected, the sha256 included; 0: unknown
	blob   []byte // of the current message, not yet given out
	check  *trailer
	err    error // how it ended
}

func (r *snapshotReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := r.fill(); err != nil {
		return 0, err
	}
	n := copy(p, r.blob)
	r.take(n)
	return n, nil
}

func (r *snapshotReader) WriteTo(w io.Writer) (written int64, err error) {
	for {
		switch err := r.fill(); {
		case errors.Is(err, io.EOF):
			return written, nil
		case err != nil:
			return written, err
		}
		n, err := w.Write(r.blob)
		r.take(n)
		written += int64(n)
		if err != nil {
			return written, err
		}
	}
}

// Close ends the call. The member then lets go of its pages.
func (r *snapshotReader) Close() error {
	r.cancel()
	r.blob = nil
	if r.err == nil {
		r.err = errors.New("snapshot stream is closed")
	}
	return nil
}

// take notes that n bytes of the blob were given out.
func (r *snapshotReader) take(n int) {
	r.check.Write(r.blob[:n])
	r.blob = r.blob[n:]
}

// fill makes sure that there are bytes to give out.
func (r *snapshotReader) fill() error {
	for len(r.blob) == 0 && r.err == nil {
		message, err := r.call.Recv()
		switch {
		case errors.Is(err, io.EOF):
			r.err = r.verdict()
		case err != nil:
			r.err = r.interrupted(err)
		default:
			r.blob = message.Blob
		}
	}
	if len(r.blob) > 0 {
		return nil
	}
	return r.err
}

// verdict is io.EOF for a stream that is whole.
func (r *snapshotReader) verdict() error {
	switch got := r.check.total; {
	case r.size > 0 && got < r.size:
		return fmt.Errorf("%w: %d of %d bytes came", ErrIncomplete, got, r.size)
	// bbolt's pages are multiples of 512 bytes: without the sha256 there is no remainder of 32.
	case got%512 != sha256.Size:
		return fmt.Errorf("%w: %d bytes came, without a sha256 behind them", ErrIncomplete, got)
	case !r.check.agrees():
		return ErrHashMismatch
	}
	return io.EOF
}

func (r *snapshotReader) interrupted(err error) error {
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("read snapshot: %w", err)
	}
	return fmt.Errorf("%w after %d of %d bytes: %w", ErrIncomplete, r.check.total, r.size, err)
}

// trailer hashes a stream except for its last 32 bytes, which are to be the hash.
type trailer struct {
	sum   hash.Hash
	last  []byte // at most 32 bytes
	total int64
}

func newTrailer() *trailer {
	return &trailer{sum: sha256.New(), last: make([]byte, 0, 2*sha256.Size)}
}

func (t *trailer) Write(p []byte) {
	t.total += int64(len(p))
	if len(p) >= sha256.Size {
		t.sum.Write(t.last)
		cut := len(p) - sha256.Size
		t.sum.Write(p[:cut])
		t.last = append(t.last[:0], p[cut:]...)
		return
	}
	t.last = append(t.last, p...)
	if over := len(t.last) - sha256.Size; over > 0 {
		t.sum.Write(t.last[:over])
		t.last = append(t.last[:0], t.last[over:]...)
	}
}

// whole is the hash of everything, the last 32 bytes included.
func (t *trailer) whole() []byte {
	sum, err := t.sum.(hash.Cloner).Clone() // sha256's own never fails
	if err != nil {
		return nil
	}
	sum.Write(t.last)
	return sum.Sum(nil)
}

func (t *trailer) agrees() bool {
	return len(t.last) == sha256.Size && bytes.Equal(t.sum.Sum(nil), t.last)
}

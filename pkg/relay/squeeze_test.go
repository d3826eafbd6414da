package relay

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
)

// testPipe squeezes what is written to w, and r expands it at the other end.
type testPipe struct {
	w        *io.PipeWriter
	r        io.Reader
	far      net.Conn // under r
	squeezed *countingConn
	ended    chan error // how squeeze ended
}

func newTestPipe(t *testing.T) *testPipe {
	t.Helper()
	near, far := net.Pipe()
	p := &testPipe{far: far, squeezed: &countingConn{Conn: near}, ended: make(chan error, 1)}
	s, err := newSqueezer(p.squeezed)
	if err != nil {
		t.Fatal(err)
	}
	if p.r, err = newExpander(far); err != nil {
		t.Fatal(err)
	}
	in, w := io.Pipe()
	p.w = w
	go func() {
		err := squeeze(s, in)
		if err == nil {
			err = s.finish()
		}
		_ = near.Close()
		p.ended <- err
	}()
	t.Cleanup(func() {
		_ = w.Close()
		_ = far.Close()
	})
	return p
}

// countingConn counts what is written; read it once squeeze has ended.
type countingConn struct {
	net.Conn
	bytes int
}

func (c *countingConn) Write(p []byte) (int, error) {
	c.bytes += len(p)
	return c.Conn.Write(p)
}

// An event of a watch arrives though nothing follows it, of whatever size it is.
func TestSqueezeHoldsNothingBack(t *testing.T) {
	p := newTestPipe(t)
	for _, size := range []int{1, 2, 100, chunkSize - 1, chunkSize, chunkSize + 1, 3 * chunkSize, 1} {
		want := make([]byte, size)
		_, _ = rand.NewChaCha8([32]byte{byte(size)}).Read(want)
		go func() { _, _ = p.w.Write(want) }()
		got := make([]byte, size)
		if _, err := io.ReadFull(p.r, got); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes: %v, the same: %t", size, err, bytes.Equal(got, want))
		}
	}
	_ = p.w.Close()
	if n, err := p.r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("the end: %d, %v", n, err)
	}
	if err := <-p.ended; err != nil {
		t.Error(err)
	}
}

// Bulk is compressed in large blocks, though it comes in records.
func TestSqueezeCompressesBulk(t *testing.T) {
	p := newTestPipe(t)
	var object bytes.Buffer
	for i := range 20000 {
		fmt.Fprintf(&object, `{"kind":"Pod","metadata":{"name":"pod-%d","uid":"%016x"},"status":{"phase":"Running"}}`, i, rand.Uint64())
	}
	go func() {
		_, err := io.Copy(p.w, bytes.NewReader(object.Bytes()))
		_ = p.w.CloseWithError(err)
	}()
	got, err := io.ReadAll(p.r)
	if err != nil || !bytes.Equal(got, object.Bytes()) {
		t.Fatalf("%d bytes of %d came, %v", len(got), object.Len(), err)
	}
	if err := <-p.ended; err != nil {
		t.Fatal(err)
	}
	if p.squeezed.bytes*3 > object.Len() {
		t.Errorf("%d bytes became %d", object.Len(), p.squeezed.bytes)
	}
}

func TestSqueezeErrors(t *testing.T) {
	p := newTestPipe(t)
	go func() {
		_, _ = io.WriteString(p.w, "half of it")
		_ = p.w.CloseWithError(errors.New("gone"))
	}()
	got, err := io.ReadAll(p.r)
	if string(got) != "half of it" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the reader of a member that broke off: %q, %v", got, err)
	}
	if err := <-p.ended; err == nil || !strings.Contains(err.Error(), "gone") {
		t.Errorf("squeeze: %v", err)
	}

	p = newTestPipe(t)
	go func() { _, _ = io.Copy(p.w, rand.NewChaCha8([32]byte{})) }() // without end
	if _, err := io.ReadFull(p.r, make([]byte, chunkSize)); err != nil {
		t.Fatal(err)
	}
	_ = p.far.Close()
	if err := <-p.ended; err == nil {
		t.Error("squeeze has not noticed that nobody reads")
	}
}

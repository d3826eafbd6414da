package tunnel

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// startSession joins a conn to a SPDY peer over an in-memory network through which
// nothing comes any more once the returned function was called.
func startSession(t *testing.T, pingPeriod time.Duration, pod func(httpstream.Stream)) (c *conn, cut func()) {
	t.Helper()
	near, far := net.Pipe()
	n := newNode(nil, false)
	return startSessionOver(t, near, far, n, n.accept, pingPeriod, pod)
}

// startSessionOver is startSession over a given network, and a node that accepts streams in its own way.
func startSessionOver(
	t *testing.T, near, far net.Conn, n *node, accept httpstream.NewStreamHandler, pingPeriod time.Duration, pod func(httpstream.Stream),
) (c *conn, cut func()) {
	t.Helper()
	network := &lossy{Conn: near, lost: make(chan struct{})}
	peer, err := spdy.NewServerConnection(far, accept)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		var data httpstream.Stream
		for range 2 { // they come in any order, and nothing is sent before both are there
			if stream := <-n.streams; stream.Headers().Get(corev1.StreamType) == corev1.StreamTypeData {
				data = stream
			}
		}
		pod(data)
	}()
	s, err := openSession(wire{Conn: network, reader: network, network: network}, target{testPod, 2379}, pingPeriod)
	if err != nil {
		t.Fatal(err)
	}
	c = newConn(s)
	t.Cleanup(func() {
		_ = c.Close()
		_ = far.Close()
		<-peer.CloseChan()
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.wait(ctx); err != nil {
		t.Fatal(err)
	}
	return c, func() { close(network.lost) }
}

// lossy is a network that can lose everything written to it.
type lossy struct {
	net.Conn
	lost chan struct{}
}

func (l *lossy) Write(p []byte) (int, error) {
	if isClosed(l.lost) {
		return len(p), nil
	}
	return l.Conn.Write(p)
}

// A host that lost its power sends no reset.
func TestSessionGivesUpASilentPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, cut := startSession(t, pingPeriod, func(httpstream.Stream) {})
		start := time.Now()
		failed := make(chan error)
		go func() {
			_, err := c.Read(make([]byte, 1))
			failed <- err
		}()
		time.Sleep(24 * time.Hour) // a conn lives for hours
		synctest.Wait()
		cut()
		if err := <-failed; !errors.Is(err, ErrDropped) {
			t.Errorf("read: %v, want ErrDropped", err)
		}
		if after := time.Since(start) - 24*time.Hour; after <= 0 || after > 2*time.Minute {
			t.Errorf("given up after %s", after)
		}
	})
}

// A caller that does not read is no reason to give up the peer, whose answers to
// pings wait behind the data. (In real time: the peer waits on mutexes, at which
// synctest's clock stands still.)
func TestSessionLetsACallerStall(t *testing.T) {
	const size = 4 * maxBuffers * bufferSize
	const period = 100 * time.Millisecond
	c, _ := startSession(t, period, func(data httpstream.Stream) {
		for range size / bufferSize {
			_, _ = data.Write(make([]byte, bufferSize))
		}
		_ = data.Close()
	})
	eventually(t, "the session stalls", c.session.stalled.Load)
	time.Sleep(2 * maxUnanswered * period)
	if n, err := io.Copy(io.Discard, c); n != size || err != nil {
		t.Errorf("%d bytes of %d, %v", n, size, err)
	}
}

// A node may send what the pod says before its reply to the error stream, and more of it
// than a session holds: then that reply comes after the caller has read.
func TestSessionOpensWhileThePodSends(t *testing.T) {
	const size = 4 * maxBuffers * bufferSize
	near, far := net.Pipe()
	network := &noticing{Conn: far, large: make(chan struct{})}
	n := newNode(nil, false)
	accept := func(stream httpstream.Stream, replySent <-chan struct{}) error {
		err := n.accept(stream, replySent)
		if stream.Headers().Get(corev1.StreamType) == corev1.StreamTypeError {
			<-network.large // so that the reply waits for that write
		}
		return err
	}
	c, _ := startSessionOver(t, near, network, n, accept, pingPeriod, func(data httpstream.Stream) {
		_, _ = data.Write(make([]byte, size)) // one frame
		_ = data.Close()
	})
	if got, err := io.Copy(io.Discard, c); got != size || err != nil {
		t.Errorf("%d bytes of %d, %v", got, size, err)
	}
}

// noticing is a network that tells when more is written to it at once than a session holds.
type noticing struct {
	net.Conn
	once  sync.Once
	large chan struct{}
}

func (n *noticing) Write(p []byte) (int, error) {
	if len(p) > maxBuffers*bufferSize {
		n.once.Do(func() { close(n.large) })
	}
	return n.Conn.Write(p)
}

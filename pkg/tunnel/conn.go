package tunnel

import (
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// conn is a pod's port as a net.Conn, over a session of its own.
//
// A read deadline that passes leaves the connection whole. So does a write deadline,
// unless it cuts a write short: half a frame can't be taken back, and the tunnel
// is given up, as crypto/tls does.
type conn struct {
	session       *session
	local, remote net.Addr

	reading  sync.Mutex // guards pending and buffer
	buffer   []byte     // from session.frames
	pending  []byte     // what of it was not read yet
	inWrites atomic.Int32

	readDeadline, writeDeadline *deadline

	closing sync.Once
	closed  chan struct{}
}

func newConn(s *session) *conn {
	c := &conn{session: s, local: s.wire.LocalAddr(), remote: podAddr(s.target), closed: make(chan struct{})}
	c.readDeadline = newDeadline(nil)
	c.writeDeadline = newDeadline(c.cutWrites)
	return c
}

// cutWrites unblocks the writes that are under way when the write deadline passes.
func (c *conn) cutWrites() {
	if c.inWrites.Load() > 0 {
		_ = c.session.fail(c.session.target.dropped(errWriteCut)) // the write reports its deadline
	}
}

// Read returns io.EOF when the pod closed the stream, os.ErrDeadlineExceeded,
// net.ErrClosed after Close, or an *Error.
func (c *conn) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	expired := c.readDeadline.expired()
	if err := c.refuse(expired); err != nil || len(p) == 0 {
		return 0, err
	}
	for len(c.pending) == 0 {
		if err := c.receive(expired); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.pending)
	c.pending = c.pending[n:]
	if len(c.pending) == 0 {
		c.session.free <- c.buffer // has room for every buffer there is
		c.buffer = nil
	}
	return n, nil
}

// refuse says why no I/O is done any more.
func (c *conn) refuse(expired <-chan struct{}) error {
	select {
	case <-c.closed:
		return net.ErrClosed
	default:
	}
	select {
	case <-expired:
		return os.ErrDeadlineExceeded
	default:
		return nil
	}
}

// receive waits for the next bytes.
func (c *conn) receive(expired <-chan struct{}) error {
	for {
		select {
		case buffer, ok := <-c.session.frames:
			if !ok {
				return c.readErr()
			}
			c.buffer, c.pending = buffer, buffer
			return nil
		case <-c.closed:
			return net.ErrClosed
		case <-expired:
			// It may have been moved while this waited.
			if expired = c.readDeadline.expired(); isClosed(expired) {
				return os.ErrDeadlineExceeded
			}
		}
	}
}

// readErr is why the data stream ended.
func (c *conn) readErr() error {
	if isClosed(c.closed) {
		return net.ErrClosed
	}
	return c.session.readErr
}

// Write sends p to the pod. Errors are those of Read, without io.EOF.
func (c *conn) Write(p []byte) (int, error) {
	c.inWrites.Add(1)
	defer c.inWrites.Add(-1)
	sent := 0
	for sent < len(p) {
		if err := c.refuse(c.writeDeadline.expired()); err != nil {
			return sent, err
		}
		part := p[sent:min(len(p), sent+bufferSize)]
		if err := c.session.sendData(part); err != nil {
			return sent, c.writeErr(err)
		}
		sent += len(part)
	}
	return sent, nil
}

// writeErr is what a write that ended with err reports.
func (c *conn) writeErr(err error) error {
	if refused := c.refuse(c.writeDeadline.expired()); refused != nil {
		return refused
	}
	return err
}

// CloseWrite tells the pod that nothing more comes; reading goes on.
func (c *conn) CloseWrite() error {
	if err := c.refuse(c.writeDeadline.expired()); err != nil {
		return err
	}
	return c.session.finish()
}

// Close ends the connection and everything that belongs to it.
func (c *conn) Close() error {
	err := net.ErrClosed
	c.closing.Do(func() {
		close(c.closed)
		c.session.close()
		c.readDeadline.stop()
		c.writeDeadline.stop()
		err = nil
	})
	return err
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) SetDeadline(t time.Time) error {
	if isClosed(c.closed) {
		return net.ErrClosed
	}
	c.readDeadline.set(t)
	c.writeDeadline.set(t)
	return nil
}

func (c *conn) SetReadDeadline(t time.Time) error {
	if isClosed(c.closed) {
		return net.ErrClosed
	}
	c.readDeadline.set(t)
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	if isClosed(c.closed) {
		return net.ErrClosed
	}
	c.writeDeadline.set(t)
	return nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// podAddr is a pod's port as a net.Addr.
type podAddr target

func (podAddr) Network() string  { return "portforward" }
func (a podAddr) String() string { return "pod " + target(a).String() }

var _ interface {
	net.Conn
	CloseWrite() error
} = (*conn)(nil)

package etcdtest

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"
)

// Line is a way to a member that fails on demand: give its Dial to an
// etcd.Endpoint. The bytes go over real TCP.
type Line struct {
	addr string

	mu    sync.Mutex
	conns map[*lineConn]bool
	dials int
	left  int64         // bytes still to come from the member; negative: no limit
	pace  int64         // bytes a second from the member; 0: no limit
	hold  chan struct{} // open while nothing may come through; nil: it flows
	err   error         // what a cut connection's Read gives
}

// NewLine makes a line to addr that works.
func NewLine(addr string) *Line {
	return &Line{addr: addr, conns: map[*lineConn]bool{}, left: -1, err: net.ErrClosed}
}

// Dial opens a connection over the line.
func (l *Line) Dial(ctx context.Context) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", l.addr)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	wrapped := &lineConn{Conn: conn, line: l, closed: make(chan struct{})}
	l.conns[wrapped] = true
	l.dials++
	return wrapped, nil
}

// Dials is how many connections were opened so far.
func (l *Line) Dials() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dials
}

// Cut ends every open connection; reading from one then gives err. New ones work.
func (l *Line) Cut(err error) {
	l.mu.Lock()
	l.err = err
	open := l.conns
	l.conns = map[*lineConn]bool{}
	l.mu.Unlock()
	for conn := range open {
		conn.Close()
	}
}

// CutAfter cuts, with err, once when n more bytes have come from the member.
func (l *Line) CutAfter(n int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left, l.err = n, err
}

// Pace lets about that many bytes a second come from the member; 0 is no limit.
func (l *Line) Pace(bytesPerSecond int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pace = bytesPerSecond
}

// Hold stops the bytes from the member until Release.
func (l *Line) Hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hold == nil {
		l.hold = make(chan struct{})
	}
}

// Release ends Hold.
func (l *Line) Release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hold != nil {
		close(l.hold)
		l.hold = nil
	}
}

// took counts n bytes and says whether the line is to be cut now.
func (l *Line) took(n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left < 0 {
		return false
	}
	l.left -= int64(n)
	return l.left < 0
}

func (l *Line) state() (hold chan struct{}, pace int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hold, l.pace
}

// slice is how many bytes one Read may take: a twentieth of a second's; 0: any.
func (l *Line) slice() int {
	_, pace := l.state()
	return int((pace + 19) / 20)
}

func (l *Line) cause() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// lineConn is one connection over a Line.
type lineConn struct {
	net.Conn
	line   *Line
	once   sync.Once
	closed chan struct{}
}

func (c *lineConn) Read(p []byte) (int, error) {
	if pace := c.line.slice(); pace > 0 && len(p) > pace {
		p = p[:pace]
	}
	n, err := c.Conn.Read(p)
	c.linger(n)
	if c.line.took(n) {
		c.line.Cut(c.line.cause())
	}
	if c.isClosed() {
		return 0, c.line.cause()
	}
	return n, err
}

// linger waits as long as the line is held and as n bytes take on it.
func (c *lineConn) linger(n int) {
	hold, pace := c.line.state()
	if hold != nil {
		select {
		case <-hold:
		case <-c.closed:
		}
	}
	if pace > 0 && n > 0 {
		c.wait(time.Duration(n) * time.Second / time.Duration(pace))
	}
}

func (c *lineConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

func (c *lineConn) wait(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.closed:
	}
}

func (c *lineConn) isClosed() bool {
	select {
	case <-c.closed:
		return true
	default:
		return false
	}
}

// Blackhole listens, accepts, and never answers.
func Blackhole(t testing.TB) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, "listen", err)
	var conns []net.Conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns = append(conns, conn)
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		<-done
		for _, conn := range conns {
			conn.Close()
		}
	})
	return listener.Addr().String()
}

package tunnel

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moby/spdystream/spdy"
	corev1 "k8s.io/api/core/v1"
)

// The two streams of a session. A SPDY client's stream ids are odd and rise.
const (
	errorStream spdy.StreamId = 1
	dataStream  spdy.StreamId = 3
)

const (
	bufferSize    = 32 << 10 // what the kubelet's and the API server's io.Copy send at once
	maxBuffers    = 8        // received and not read yet; more is left to TCP's flow control
	maxRemote     = 8 << 10  // of the error stream
	pingPeriod    = 10 * time.Second
	maxUnanswered = 6 // pings; a silent peer is given up after a minute
	closeLimit    = time.Second
	verdictLimit  = 2 * time.Second // between the ends of the two streams
	leaveLimit    = 2 * time.Second // for the node to accept what nobody wants any more
)

// session is SPDY/3.1 over one upgraded connection, reduced to what a port-forward
// needs: an error stream, which only reads, and a data stream.
//
// It is not spdystream because that tells neither a stream that the peer ended from
// a connection that broke, nor lets a blocked write be given up, and takes a dozen
// goroutines. Here one goroutine reads, one pings.
// Frames: https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/
type session struct {
	target target
	wire   wire
	in     *bufio.Reader
	framer *spdy.Framer // control frames: from in, to out

	writing  sync.Mutex   // guards out, framer's writing side, writes to wire and finished
	out      bytes.Buffer // the frames of one write
	finished bool         // this side of the data stream is closed

	frames  chan []byte // the data stream's bytes in order; closed at its end
	free    chan []byte // buffers to use again
	buffers int         // made so far; of the reading goroutine
	got     bool        // the pod sent something; of the reading goroutine
	ended   bool        // the data stream is closed by the pod; of the reading goroutine
	judged  bool        // the error stream is closed by the node; of the reading goroutine
	remote  []byte      // the error stream; of the reading goroutine
	readErr error       // why frames was closed; read it after that

	replies    map[spdy.StreamId]bool // of the peer to sendOpening; of the reading goroutine
	opened     chan struct{}          // the peer accepted both streams
	pongs      chan uint32            // ping ids of the peer's to send back
	stalled    atomic.Bool            // the caller does not read: the peer's silence means nothing
	unanswered atomic.Int32           // pings since the last frame

	pingPeriod time.Duration
	done       chan struct{} // closed by fail, which sets err before
	failing    sync.Once
	err        error
	goroutines sync.WaitGroup
}

// openSession starts both streams over wire, without waiting for the peer's answer,
// and pings the peer every pingPeriod.
func openSession(wire wire, target target, pingPeriod time.Duration) (*session, error) {
	s := &session{
		target: target, wire: wire,
		in:     bufio.NewReaderSize(wire, 8<<10),
		frames: make(chan []byte, maxBuffers), free: make(chan []byte, maxBuffers),
		replies: map[spdy.StreamId]bool{}, opened: make(chan struct{}), pongs: make(chan uint32, 1), done: make(chan struct{}),
		pingPeriod: pingPeriod,
	}
	framer, err := spdy.NewFramer(&s.out, s.in)
	if err != nil {
		return nil, fmt.Errorf("make SPDY framer: %w", err)
	}
	s.framer = framer
	if err := s.sendOpening(); err != nil {
		return nil, err
	}
	s.goroutines.Go(s.read)
	s.goroutines.Go(s.ping)
	return s, nil
}

// wait returns when the node has accepted both streams: leave before, and spdystream
// there waits for ever to write to the one that it has not. What it says about the port
// after that is for Read and Write to report, whether it is known by now or not.
func (s *session) wait(ctx context.Context) error {
	select {
	case <-s.opened:
		return nil
	case <-s.done:
		var said *Error
		if isClosed(s.opened) || errors.As(s.err, &said) && said.Remote != "" {
			return nil
		}
		return s.err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errNodeSilent, ctx.Err())
	}
}

// leave closes a session that nobody wants any more, when the node has had time to
// accept both streams: see wait.
func (s *session) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveLimit)
	defer cancel()
	_ = s.wait(ctx) // it is closed whatever the node says
	s.close()
}

// sendOpening asks for both streams in one write and ends the error stream's writing side.
func (s *session) sendOpening() error {
	header := http.Header{}
	header.Set(corev1.PortHeader, strconv.Itoa(s.target.port))
	header.Set(corev1.PortForwardRequestIDHeader, "0") // one pair of streams a connection
	header.Set(corev1.StreamType, corev1.StreamTypeError)
	opening := []spdy.Frame{
		&spdy.SynStreamFrame{StreamId: errorStream, Headers: header.Clone()},
		&spdy.DataFrame{StreamId: errorStream, Flags: spdy.DataFlagFin},
	}
	header.Set(corev1.StreamType, corev1.StreamTypeData)
	return s.send(append(opening, &spdy.SynStreamFrame{StreamId: dataStream, Headers: header})...)
}

// send writes control frames, all in one write.
func (s *session) send(frames ...spdy.Frame) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	for _, frame := range frames {
		if err := s.framer.WriteFrame(frame); err != nil {
			return fmt.Errorf("encode SPDY frame: %w", err)
		}
	}
	return s.flush()
}

// sendData writes p, at most bufferSize long, to the data stream.
func (s *session) sendData(p []byte) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.finished {
		return net.ErrClosed
	}
	s.putData(p, 0)
	return s.flush()
}

// finish closes this side of the data stream; the other side can still send.
func (s *session) finish() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.finishLocked()
}

func (s *session) finishLocked() error {
	if s.finished {
		return nil
	}
	s.finished = true
	s.putData(nil, spdy.DataFlagFin)
	return s.flush()
}

// putData appends a data frame: stream id, flags, 24 bits of length, payload.
// (spdy.Framer would write each of the three apart, a TLS record and a WebSocket
// message for each.)
func (s *session) putData(p []byte, flags spdy.DataFlags) {
	var head [8]byte
	binary.BigEndian.PutUint32(head[:4], uint32(dataStream))
	binary.BigEndian.PutUint32(head[4:], uint32(flags)<<24|uint32(len(p)))
	s.out.Write(head[:])
	s.out.Write(p)
}

func (s *session) flush() error {
	defer s.out.Reset()
	if _, err := s.wire.Write(s.out.Bytes()); err != nil {
		return s.fail(s.target.dropped(err))
	}
	return nil
}

// ping keeps load balancers from cutting an idle connection, notices a peer that is
// gone without a word, and answers the peer's own pings.
func (s *session) ping() {
	ticker := time.NewTicker(s.pingPeriod)
	defer ticker.Stop()
	for id := uint32(1); ; {
		frame := &spdy.PingFrame{}
		select {
		case <-s.done:
			return
		case frame.Id = <-s.pongs:
		case <-ticker.C:
			if !s.stalled.Load() && s.unanswered.Add(1) > maxUnanswered {
				_ = s.fail(s.target.dropped(errSilent)) // reported to whoever reads or writes
				return
			}
			frame.Id = id
			id += 2
		}
		if err := s.send(frame); err != nil {
			return
		}
	}
}

// fail ends the session for the reason err, unless it has ended already, and
// returns the reason that came first.
func (s *session) fail(err error) error {
	s.failing.Do(func() {
		s.err = err
		close(s.done)
		s.wire.kill()
	})
	<-s.done
	return s.err
}

// close ends the session, politely where that takes no time, and waits for its goroutines.
func (s *session) close() {
	if s.writing.TryLock() { // else a write is stuck, and courtesy with it
		_ = s.wire.SetWriteDeadline(time.Now().Add(closeLimit))
		select {
		case <-s.done:
		default:
			if s.finishLocked() == nil {
				_ = s.wire.Close() // what the peer makes of it changes nothing here
			}
		}
		s.writing.Unlock()
	}
	_ = s.fail(net.ErrClosed)
	s.goroutines.Wait()
}

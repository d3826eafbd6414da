package tunnel

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
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

// read is the reading goroutine: it hands the data stream on and ends with the session.
func (s *session) read() {
	err := s.readData()
	clean := err == io.EOF //nolint:errorlint // our own value; a wrapped one would be a dropped tunnel
	if !clean {
		_ = s.fail(err) // every write reports it, from before a read does
	}
	s.readErr = err
	close(s.frames)
	if clean {
		_ = s.fail(s.readRest())
	}
}

// readData returns why the data stream ended: io.EOF when the pod closed it, else an *Error.
func (s *session) readData() error {
	for {
		event, err := s.readFrame()
		switch {
		case err != nil:
			return s.lost(err)
		case event == dataReset:
			return s.lost(errReset)
		case event == dataEnd:
			s.ended = true
			return s.verdict()
		}
	}
}

// verdict waits, after the end of the data stream, for that of the error stream: only
// then is it known how the data ended. Containerd closes the data stream first.
func (s *session) verdict() error {
	_ = s.wire.SetReadDeadline(time.Now().Add(verdictLimit)) // can't fail on an open wire
	for !s.judged {
		if _, err := s.readFrame(); err != nil {
			break
		}
	}
	_ = s.wire.SetReadDeadline(time.Time{})
	if len(s.remote) > 0 {
		return s.target.refused(string(s.remote), s.got)
	}
	return io.EOF
}

// readRest reads on after the pod closed its side, to see the connection end.
func (s *session) readRest() error {
	for {
		if _, err := s.readFrame(); err != nil {
			return s.lost(err)
		}
	}
}

// lost is a tunnel that ended for cause, in the kubelet's words if it sent any.
func (s *session) lost(cause error) error {
	if len(s.remote) > 0 {
		return s.target.refused(string(s.remote), s.got)
	}
	if isClosed(s.done) {
		return s.err
	}
	return s.target.dropped(cause)
}

type event int

const (
	nothing event = iota
	dataEnd
	dataReset
)

// readFrame reads one frame, delivers it, and says what it means to the data stream.
func (s *session) readFrame() (event, error) {
	head, err := s.in.Peek(8)
	if err != nil {
		return nothing, err
	}
	s.unanswered.Store(0)
	if head[0]&0x80 == 0 {
		id := spdy.StreamId(binary.BigEndian.Uint32(head[:4]))
		flags := spdy.DataFlags(head[4])
		length := int(binary.BigEndian.Uint32(head[4:]) & 0xffffff)
		_, _ = s.in.Discard(8) // peeked: it is there
		return s.readPayload(id, flags, length)
	}
	frame, err := s.framer.ReadFrame()
	if err != nil {
		return nothing, err
	}
	return s.control(frame)
}

func (s *session) readPayload(id spdy.StreamId, flags spdy.DataFlags, length int) (event, error) {
	var err error
	switch {
	case id == dataStream && !s.ended:
		err = s.deliver(length)
	case id == errorStream:
		err = s.readRemote(length)
	default:
		_, err = s.in.Discard(length)
	}
	if err != nil || flags&spdy.DataFlagFin == 0 {
		return nothing, err
	}
	if id == dataStream {
		return dataEnd, nil
	}
	s.judged = s.judged || id == errorStream
	return nothing, nil
}

func (s *session) control(frame spdy.Frame) (event, error) {
	switch f := frame.(type) {
	case *spdy.SynReplyFrame:
		s.replies[f.StreamId] = true
		if s.replies[dataStream] && s.replies[errorStream] && !isClosed(s.opened) {
			close(s.opened)
		}
	case *spdy.RstStreamFrame:
		if f.StreamId == dataStream {
			return dataReset, nil
		}
		s.judged = true
	case *spdy.GoAwayFrame:
		return nothing, errGoAway
	case *spdy.PingFrame:
		if f.Id%2 == 0 { // the peer's; ours are odd
			select {
			case s.pongs <- f.Id:
			default: // one is waiting to be sent, which says as much
			}
		}
	}
	return nothing, nil
}

// deliver hands length bytes of the data stream to the conn.
func (s *session) deliver(length int) error {
	for length > 0 {
		buffer, err := s.buffer()
		if err != nil {
			return err
		}
		buffer = buffer[:min(length, bufferSize)]
		if _, err := io.ReadFull(s.in, buffer); err != nil {
			return err
		}
		length -= len(buffer)
		s.got = true
		s.frames <- buffer // has room for every buffer there is
	}
	return nil
}

// buffer returns a buffer to read into, and waits for the caller to read when all are full.
func (s *session) buffer() ([]byte, error) {
	select {
	case b := <-s.free:
		return b[:bufferSize], nil
	default:
	}
	if s.buffers < maxBuffers {
		s.buffers++
		return make([]byte, bufferSize), nil
	}
	s.stalled.Store(true)
	defer s.stalled.Store(false)
	defer s.unanswered.Store(0)
	select {
	case b := <-s.free:
		return b[:bufferSize], nil
	case <-s.done:
		return nil, s.err
	}
}

// readRemote keeps the first maxRemote bytes of the kubelet's message.
func (s *session) readRemote(length int) error {
	keep := min(length, maxRemote-len(s.remote))
	text := make([]byte, keep)
	if _, err := io.ReadFull(s.in, text); err != nil {
		return err
	}
	s.remote = append(s.remote, text...)
	_, err := s.in.Discard(length - keep)
	return err
}

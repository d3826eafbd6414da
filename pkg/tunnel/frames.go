package tunnel

import (
	"encoding/binary"
	"io"
	"time"

	"github.com/moby/spdystream/spdy"
)

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
		if s.replies[dataStream] && s.replies[errorStream] {
			s.accept()
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

// accept notes that the node has both streams.
func (s *session) accept() {
	if !isClosed(s.opened) {
		close(s.opened)
	}
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
	s.accept() // a node forwards when it has both streams: one reply may be behind what came
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

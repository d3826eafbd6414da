package relay

import (
	"bufio"
	"io"
	"time"

	"github.com/klauspost/compress/zstd"
)

const (
	// window is how far back zstd looks for repetitions: Kubernetes' objects resemble
	// their neighbours in the database. It bounds the memory of a stream at both ends.
	window = 4 << 20
	// chunkSize is a whole TLS record (RFC 8446 section 5.1): more can't be read at once.
	chunkSize = 16 << 10
	// chunks are how many may wait for the compressor.
	chunks = 16
	// lull is how long after a whole record there may be nothing before what was read is
	// sent: bulk comes in whole records, and to flush after each throws away a third of
	// the gain.
	lull = 2 * time.Millisecond
)

// squeezer compresses to w. Nothing reaches w for sure before flush.
type squeezer struct {
	zstd *zstd.Encoder
	out  *bufio.Writer
}

// newSqueezer works in the caller's goroutine alone.
func newSqueezer(w io.Writer) (*squeezer, error) {
	out := bufio.NewWriterSize(w, 64<<10)
	encoder, err := zstd.NewWriter(out,
		zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(window), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, err
	}
	return &squeezer{encoder, out}, nil
}

func (s *squeezer) Write(p []byte) (int, error) { return s.zstd.Write(p) }

func (s *squeezer) flush() error {
	if err := s.zstd.Flush(); err != nil {
		return err
	}
	return s.out.Flush()
}

// finish ends the frame: the other end then reads io.EOF.
func (s *squeezer) finish() error {
	if err := s.zstd.Close(); err != nil {
		return err
	}
	return s.out.Flush()
}

// newExpander reads what a squeezer wrote, in the caller's goroutine, and never waits for
// more than was flushed.
func newExpander(r io.Reader) (io.Reader, error) {
	return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(window))
}

// squeeze copies from r to s until r ends, and flushes whenever nothing more is there to
// be read. It returns r's error (nil for io.EOF), or s's, after which it closes r.
func squeeze(s *squeezer, r io.ReadCloser) error {
	source := newSource(r)
	defer source.stop(r)
	for chunk := range source.full {
		for more := true; more; {
			if _, err := s.Write(chunk); err != nil {
				return err
			}
			source.empty <- chunk[:0:cap(chunk)]
			chunk, more = source.next(len(chunk))
		}
		if err := s.flush(); err != nil {
			return err
		}
	}
	return source.err
}

// source reads ahead of the compressor.
type source struct {
	full  chan []byte // closed at the end, after err was set
	empty chan []byte // has room for every chunk there is
	err   error       // why reading ended; nil: io.EOF
	done  chan struct{}
}

// newSource starts to read r.
func newSource(r io.Reader) *source {
	s := &source{full: make(chan []byte, chunks), empty: make(chan []byte, chunks), done: make(chan struct{})}
	for range chunks {
		s.empty <- make([]byte, 0, chunkSize)
	}
	go s.read(r)
	return s
}

func (s *source) read(r io.Reader) {
	defer close(s.full)
	for {
		var chunk []byte
		select {
		case chunk = <-s.empty:
		case <-s.done:
			return
		}
		n, err := r.Read(chunk[:cap(chunk)])
		if n > 0 {
			s.full <- chunk[:n] // has room
		}
		if err == io.EOF {
			return
		}
		if err != nil {
			s.err = err
			return
		}
	}
}

// next is the next chunk, if it is there already; after a whole record (of length last)
// it may take a moment.
func (s *source) next(last int) (chunk []byte, ok bool) {
	select {
	case chunk, ok = <-s.full:
		return chunk, ok
	default:
	}
	if last < chunkSize {
		return nil, false
	}
	timer := time.NewTimer(lull)
	defer timer.Stop()
	select {
	case chunk, ok = <-s.full:
		return chunk, ok
	case <-timer.C:
		return nil, false
	}
}

// stop ends reading, if it has not ended by itself, and waits for that.
func (s *source) stop(r io.Closer) {
	close(s.done)
	_ = r.Close() // it makes Read return
	for range s.full {
	}
}

package segment

import (
	"crypto/sha256"
	"errors"
	"hash"
	"io"
)

// CheckBody gives the stored body, which is what r has left behind the envelope. It ends
// with ErrDamaged in place of io.EOF unless it was as long as the envelope tells, had its
// SHA-256, and had nothing behind it.
func (e *Envelope) CheckBody(r io.Reader) io.Reader {
	return &bodyReader{r: r, hash: sha256.New(), left: e.Body.Size, want: e.Body.SHA256}
}

type bodyReader struct {
	r    io.Reader
	hash hash.Hash
	left int64 // bytes to come
	want Digest
	err  error // for good
}

func (b *bodyReader) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := b.r.Read(p)
	ended := errors.Is(err, io.EOF)
	if int64(n) > b.left {
		n, err, ended = int(b.left), damaged("there are bytes behind the body"), false
	}
	b.left -= int64(n)
	b.hash.Write(p[:n])
	if ended {
		err = b.end()
	}
	b.err = err
	return n, err
}

func (b *bodyReader) end() error {
	if b.left > 0 {
		return damaged("read body: %w", io.ErrUnexpectedEOF)
	}
	if Digest(b.hash.Sum(nil)) != b.want {
		return damaged("SHA-256 of the body")
	}
	return io.EOF
}

// Check compares what a Decoder read out of the body, to its end, with what the envelope
// told. Else it is ErrDamaged.
func (e *Envelope) Check(read Summary) error {
	told := e.Summary
	if read.Attestation.IsZero() {
		told.Attestation = Hash{} // it is of a segment before
	}
	if told != read {
		return damaged("the envelope tells of the revisions %d to %d with %d events, the body holds %d to %d with %d",
			told.First, told.Last, told.Events, read.First, read.Last, read.Events)
	}
	return nil
}

// source is a reader that tells its own errors from its end.
type source struct {
	io.Reader
	err error // other than io.EOF
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// fill reads all of b. Where the source ends before, the segment is damaged.
func (s *source) fill(b []byte) error {
	if _, err := io.ReadFull(s, b); err != nil {
		return s.ended()
	}
	return nil
}

// ended is why there was less than was asked for.
func (s *source) ended() error {
	if s.err != nil {
		return s.err
	}
	return damaged("%w", io.ErrUnexpectedEOF)
}

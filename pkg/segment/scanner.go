package segment

import "encoding/binary"

// scanner takes values off the front of b. Where there is none it fails, for good, and
// gives zeros.
type scanner struct {
	b      []byte
	failed bool
}

func (s *scanner) uvarint() uint64 {
	v, n := binary.Uvarint(s.b)
	if n <= 0 {
		s.fail()
		return 0
	}
	s.b = s.b[n:]
	return v
}

func (s *scanner) varint() int64 {
	v, n := binary.Varint(s.b)
	if n <= 0 {
		s.fail()
		return 0
	}
	s.b = s.b[n:]
	return v
}

// bytes takes n bytes, which stay the input's.
func (s *scanner) bytes(n uint64) []byte {
	if n > uint64(len(s.b)) {
		s.fail()
		return nil
	}
	taken := s.b[:n:n]
	s.b = s.b[n:]
	return taken
}

// count is a number of things that each take at least size bytes of what follows: no
// more of them than there is room for.
func (s *scanner) count(size int) int {
	n := s.uvarint()
	if n > uint64(len(s.b)/size) {
		s.fail()
		return 0
	}
	return int(n)
}

func (s *scanner) fail() { s.b, s.failed = nil, true }

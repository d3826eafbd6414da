package backup

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"sync"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/nameless"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
)

// ErrSpoolFull: the store has taken nothing for so long that what waits for it has reached
// its bound.
var ErrSpoolFull = errors.New("the spool is full")

// spool holds what was captured and is not in the archive yet: in files without a name,
// which end with the process, encrypted as the archive is.
type spool struct {
	dir string
	max int64

	mu   sync.Mutex
	used int64
}

// take counts bytes against the bound.
func (s *spool) take(n int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used+n > s.max {
		return fmt.Errorf("%w: %d bytes wait for the store", ErrSpoolFull, s.used)
	}
	s.used += n
	return nil
}

func (s *spool) give(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used -= n
}

// spoolFile is one segment's body in the making.
type spoolFile struct {
	spool *spool
	file  *os.File
	size  int64
	sum   hash.Hash
}

func (s *spool) create() (*spoolFile, error) {
	file, err := nameless.Create(s.dir)
	if err != nil {
		return nil, fmt.Errorf("make a spool file: %w", err)
	}
	return &spoolFile{spool: s, file: file, sum: sha256.New()}, nil
}

func (f *spoolFile) Write(p []byte) (int, error) {
	if err := f.spool.take(int64(len(p))); err != nil {
		return 0, err
	}
	n, err := f.file.Write(p)
	f.spool.give(int64(len(p) - n))
	f.size += int64(n)
	f.sum.Write(p[:n])
	if err != nil {
		err = fmt.Errorf("write to the spool: %w", err)
	}
	return n, err
}

func (f *spoolFile) body() segment.Body {
	return segment.Body{Size: f.size, SHA256: segment.Digest(f.sum.Sum(nil))}
}

func (f *spoolFile) reader() io.Reader { return io.NewSectionReader(f.file, 0, f.size) }

func (f *spoolFile) close() {
	f.spool.give(f.size)
	f.size = 0
	_ = nameless.Close(f.file) // nothing of it is needed any more
}

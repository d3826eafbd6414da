package backup

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/nameless"
)

// scratch is a file that nobody else can read: it has no name where the system allows that,
// and what is in it is encrypted with a key that is only in memory. It is written once, from
// its beginning, and then read anywhere.
type scratch struct {
	file  *os.File
	block cipher.Block
	out   cipher.Stream
	size  int64
}

func newScratch(dir string) (*scratch, error) {
	file, err := nameless.Create(dir)
	if err != nil {
		return nil, fmt.Errorf("make a scratch file: %w", err)
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // it never fails (crypto/rand)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, errors.Join(err, nameless.Close(file))
	}
	return &scratch{file: file, block: block, out: counterAt(block, 0)}, nil
}

// counterAt is AES's counter mode from a block on. The key is of this file alone.
func counterAt(block cipher.Block, n int64) cipher.Stream {
	var iv [aes.BlockSize]byte
	binary.BigEndian.PutUint64(iv[8:], uint64(n))
	return cipher.NewCTR(block, iv[:])
}

func (s *scratch) Write(p []byte) (int, error) {
	sealed := make([]byte, len(p))
	s.out.XORKeyStream(sealed, p)
	n, err := s.file.Write(sealed)
	s.size += int64(n)
	if err != nil {
		err = fmt.Errorf("%w: scratch file: %w", ErrWrite, err)
	}
	return n, err
}

// ReadAt gives what was written.
func (s *scratch) ReadAt(p []byte, offset int64) (int, error) {
	n, err := s.file.ReadAt(p, offset)
	stream := counterAt(s.block, offset/aes.BlockSize)
	var skipped [aes.BlockSize]byte
	stream.XORKeyStream(skipped[:offset%aes.BlockSize], skipped[:offset%aes.BlockSize])
	stream.XORKeyStream(p[:n], p[:n])
	return n, err
}

var _ io.ReaderAt = (*scratch)(nil)

func (s *scratch) close() error { return nameless.Close(s.file) }

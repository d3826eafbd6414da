package restore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"unicode/utf8"
)

// sealSize is the length of the sha256 that etcd appends to a snapshot. A bbolt file is
// a whole number of pages, so size%512 tells whether one is there.
const sealSize = sha256.Size

// checkSeal says whether r is a snapshot with a sha256 behind it, by its beginning and
// its size, and if not, what it is.
func checkSeal(r io.ReaderAt, size int64) error {
	meta, err := findMeta(r, size)
	switch {
	case err != nil && !looksLikeBolt(r):
		return notSnapshot(r, size)
	case err != nil:
		return err
	}
	want := int64(meta.high) * int64(meta.pageSize)
	switch {
	case size < want:
		return damaged("it is cut off: %d bytes of %d", size, want+sealSize)
	case size%512 == 0:
		return ErrNoChecksum
	case size%512 != sealSize:
		return damaged("it has %d bytes, and should have %d", size, want+sealSize)
	}
	return nil
}

// checkSHA256 compares the bytes with the sha256 behind them and returns that of all, in
// hex, as sha256sum prints it.
func checkSHA256(ctx context.Context, r io.ReaderAt, size int64) (string, error) {
	var seal [sealSize]byte
	if _, err := r.ReadAt(seal[:], size-sealSize); err != nil {
		return "", readError(err)
	}
	h := sha256.New()
	if err := copyContext(ctx, h, io.NewSectionReader(r, 0, size-sealSize)); err != nil {
		return "", readError(err)
	}
	if sum := h.Sum(nil); !bytes.Equal(sum, seal[:]) {
		return "", damaged("its sha256 is %x, and should be %x: it was changed or cut off", sum, seal)
	}
	h.Write(seal[:])
	return hex.EncodeToString(h.Sum(nil)), nil
}

// checkCRC compares all the bytes with their CRC-32C.
func checkCRC(ctx context.Context, r io.ReaderAt, size int64, want uint32) error {
	h := crc32.New(castagnoli)
	if err := copyContext(ctx, h, io.NewSectionReader(r, 0, size)); err != nil {
		return readError(err)
	}
	if got := h.Sum32(); got != want {
		return damaged("what is read back has the CRC %08x, what was written had %08x", got, want)
	}
	return nil
}

func readError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return damaged("it became shorter while it was read")
	}
	return err
}

// copyContext is io.Copy that ends with ctx.
func copyContext(ctx context.Context, w io.Writer, r io.Reader) error {
	buffer := make([]byte, 1<<20)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(buffer)
		if n > 0 {
			if _, err := w.Write(buffer[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// looksLikeBolt finds bbolt's magic where one of the two meta pages has it, for the
// page sizes of the usual machines.
func looksLikeBolt(r io.ReaderAt) bool {
	for _, offset := range []int64{0, 4096, 8192, 16384, 65536} {
		var b [4]byte
		if _, err := r.ReadAt(b[:], offset+pageHeaderSize); err == nil && bo.Uint32(b[:]) == boltMagic {
			return true
		}
	}
	return false
}

var magics = []struct{ prefix, kind string }{
	{"\x1f\x8b", "compressed with gzip: unpack it first"},
	{"\x28\xb5\x2f\xfd", "compressed with zstd: unpack it first"},
	{"\xfd7zXZ\x00", "compressed with xz: unpack it first"},
	{"PK\x03\x04", "a zip archive: unpack it first"},
	{"age-encryption.org/", "encrypted with age: decrypt it first"},
	{"-----BEGIN AGE ENCRYPTED FILE", "encrypted with age: decrypt it first"},
}

// notSnapshot says what the file is instead.
func notSnapshot(r io.ReaderAt, size int64) error {
	if size == 0 {
		return fmt.Errorf("%w: it is empty", ErrNotSnapshot)
	}
	head := make([]byte, min(size, 512))
	if _, err := r.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for _, m := range magics {
		if bytes.HasPrefix(head, []byte(m.prefix)) {
			return fmt.Errorf("%w: it is %s", ErrNotSnapshot, m.kind)
		}
	}
	if isText(head) {
		return fmt.Errorf("%w: it is text", ErrNotSnapshot)
	}
	return fmt.Errorf("%w: it does not begin as one", ErrNotSnapshot)
}

func isText(b []byte) bool {
	for len(b) > utf8.UTFMax {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError || r < ' ' && r != '\n' && r != '\r' && r != '\t' {
			return false
		}
		b = b[n:]
	}
	return true
}

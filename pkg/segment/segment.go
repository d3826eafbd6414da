// Package segment is the change-log file format of an archive: what an etcd did, revision
// by revision, in the bytes that its backend stores. docs/archive-format.md describes it
// byte by byte.
//
// A segment is an Envelope, which anybody can read, and a body, which may be encrypted
// between the two (not here). Its one idea: a body proves itself. Revisions follow one
// another without a gap, times never go back, all is under checksums, so that a reader
// either gets every change or an error, never a wrong or a missing one.
//
// A writer encodes the body first, in one stream (Encoder), for the envelope tells the
// body's range, size and sha256; it stands in front all the same, so that one small read
// of an object's beginning, or of a stream's, tells whose it is, what to expect and where
// the body begins. The body goes to a spool meanwhile, and the object is put as
// envelope, then spool.
//
// Memory, beside a few MB that zstd needs: an Encoder and a Decoder each hold one block,
// plain and compressed, so 2 MiB, or twice the largest revision where that is more, and
// 48 bytes for each block before it.
package segment

import (
	"errors"
	"fmt"
	"hash/crc32"
)

// Version is that of the format: the newest that this package reads, the one it writes.
const Version = 1

const (
	// BlockSize is how many bytes of records a block holds at most, uncompressed, unless
	// a single revision, or the notes after it, are larger.
	BlockSize = 1 << 20
	// MaxBlock bounds a block, uncompressed: no reader takes more memory for one.
	MaxBlock = 256 << 20
	// maxChange leaves room in a block for the notes that stay with a large change.
	maxChange = MaxBlock / 2
)

var (
	// ErrDamaged: these are not the bytes that a writer wrote. With io.ErrUnexpectedEOF
	// they end too early.
	ErrDamaged = errors.New("segment is damaged")
	// ErrVersion: a newer version of this program wrote it.
	ErrVersion = errors.New("segment is of a newer format")
	// ErrTooLarge: a revision that no block holds, such as a delete of some million keys
	// at once. Only a new base captures it.
	ErrTooLarge = errors.New("revision is too large for a segment")
)

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrDamaged}, args...)...)
}

// checkVersion judges what stands under an intact checksum.
func checkVersion(version uint16) error {
	switch {
	case version > Version:
		return fmt.Errorf("%w: version %d, this program knows 1 to %d", ErrVersion, version, Version)
	case version < 1:
		return damaged("version %d", version)
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

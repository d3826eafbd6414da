package segment

import (
	"bytes"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// maxWindow is what a reader of zstd must be ready for (RFC 8878 section 3.1.1.1.2).
const maxWindow = 8 << 20

// trusted is how large a block's claim may be to get its memory at once.
const trusted = 4 * BlockSize

// unpacker uncompresses blocks. Its zero value works.
type unpacker struct{ zstd *zstd.Decoder }

// unpack gives size bytes, in memory of their own, or an error.
func (u *unpacker) unpack(packed []byte, size int) ([]byte, error) {
	unpack := u.small
	if size > trusted {
		unpack = large
	}
	plain, err := unpack(packed, size)
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	if len(plain) != size || size == 0 {
		return nil, fmt.Errorf("unpack: %d bytes of %d", len(plain), size)
	}
	return plain, nil
}

func (u *unpacker) small(packed []byte, size int) ([]byte, error) {
	if u.zstd == nil {
		var err error
		if u.zstd, err = zstd.NewReader(nil, append(options(), zstd.WithDecodeAllCapLimit(true))...); err != nil {
			return nil, err
		}
	}
	return u.zstd.DecodeAll(packed, make([]byte, 0, size))
}

// large takes memory as the bytes come, not as they are claimed.
func large(packed []byte, size int) ([]byte, error) {
	r, err := zstd.NewReader(bytes.NewReader(packed), options()...)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, int64(size)+1))
}

func options() []zstd.DOption {
	return []zstd.DOption{zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true)}
}

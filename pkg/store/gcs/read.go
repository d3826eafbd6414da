package gcs

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"gocloud.dev/blob/driver"
)

// reader reads an object, and goes on where the stream breaks, in the same generation.
type reader struct {
	b          *bucket
	ctx        context.Context // NewRangeReader's
	key        string
	at, end    int64 // of the next byte, and behind the last one; -1: the object's end
	body       io.ReadCloser
	attributes driver.ReaderAttributes
	generation string // of what is read; empty: the server does not tell
	sum        hash.Hash32
	want       []byte // its CRC-32C, of a whole object; nil: the server does not tell
	broken     int    // how often the stream broke since a byte came
}

// NewRangeReader opens an object. The first bytes of an empty one are none, as with other
// stores, where Google says that there is no such range.
func (b *bucket) NewRangeReader(ctx context.Context, key string, offset, length int64, o *driver.ReaderOptions) (driver.Reader, error) {
	if key == "" { // which would be the list of all objects
		return nil, errNoKey
	}
	if err := before(o.BeforeRead); err != nil {
		return nil, err
	}
	if length == 0 {
		return b.nothingOf(ctx, key)
	}
	r := &reader{b: b, ctx: ctx, key: key, at: offset, end: -1, sum: newSum()}
	if length > 0 {
		r.end = offset + length
	}
	header, err := r.open()
	if statusOf(err) == http.StatusRequestedRangeNotSatisfiable && offset == 0 {
		return b.nothingOf(ctx, key)
	}
	if err != nil {
		return nil, err
	}
	r.generation = header.Get("X-Goog-Generation")
	if offset == 0 && r.end < 0 {
		r.want = sumOf(header)
	}
	r.attributes = driver.ReaderAttributes{ContentType: header.Get("Content-Type"), Size: sizeOf(header)}
	r.attributes.ModTime, _ = http.ParseTime(header.Get("Last-Modified")) // which need not be there
	return r, nil
}

func (b *bucket) nothingOf(ctx context.Context, key string) (driver.Reader, error) {
	a, err := b.Attributes(ctx, key)
	if err != nil {
		return nil, err
	}
	return &reader{body: http.NoBody, sum: newSum(), attributes: driver.ReaderAttributes{ContentType: a.ContentType, ModTime: a.ModTime, Size: a.Size}}, nil
}

// open asks for what is not read yet, which is the body from then on.
func (r *reader) open() (header http.Header, err error) {
	query := url.Values{"alt": {"media"}}
	if r.generation != "" {
		query.Set("generation", r.generation)
	}
	ranged, want := r.rest()
	err = r.b.retry(r.ctx, func() error {
		req, err := http.NewRequestWithContext(r.ctx, http.MethodGet, r.b.object(r.key)+"?"+query.Encode(), http.NoBody)
		if err != nil {
			return err
		}
		req.Header.Set("Accept-Encoding", "identity") // sizes and checksums are of what is stored
		if ranged != "" {
			req.Header.Set("Range", ranged)
		}
		res, err := r.b.send(req)
		if err != nil {
			return err
		}
		header, r.body = res.Header, res.Body
		if res.StatusCode != want {
			_ = res.Body.Close()
			return fmt.Errorf("%w: %s to a request for %q", errAnswer, res.Status, ranged)
		}
		return nil
	})
	return header, err
}

// rest is the range that is not read yet, and the status of the answer that gives it; empty
// for all of an object.
func (r *reader) rest() (ranged string, status int) {
	switch {
	case r.end >= 0:
		return fmt.Sprintf("bytes=%d-%d", r.at, r.end-1), http.StatusPartialContent
	case r.at > 0:
		return fmt.Sprintf("bytes=%d-", r.at), http.StatusPartialContent
	}
	return "", http.StatusOK
}

// Read goes on after a break, as long as each attempt gives at least a byte.
func (r *reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, err := r.body.Read(p)
		if n > 0 {
			r.at += int64(n)
			r.sum.Write(p[:n])
			r.broken = 0
			if err != nil && !errors.Is(err, io.EOF) {
				err = nil // the next Read meets it again
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return n, r.check()
		case err == nil:
			return n, nil
		}
		if err := r.resume(err); err != nil {
			return 0, err
		}
	}
}

// resume opens the rest. Without a generation it might be that of another object.
func (r *reader) resume(broke error) error {
	r.broken++
	switch {
	case r.ctx.Err() != nil:
		return r.ctx.Err()
	case r.broken == attempts || r.generation == "":
		return broke
	}
	if err := r.b.pause(r.ctx, r.broken, broke); err != nil {
		return err
	}
	_ = r.body.Close()
	_, err := r.open()
	if statusOf(err) == http.StatusNotFound {
		return errReplaced
	}
	return err
}

// check is at the end: io.EOF if it is what Google has.
func (r *reader) check() error {
	if got := r.sum.Sum(nil); r.want != nil && string(got) != string(r.want) {
		return fmt.Errorf("it came with the CRC-32C %x, want %x", got, r.want)
	}
	return io.EOF
}

func (r *reader) Close() error { return r.body.Close() }

// Attributes are those that come with the content.
func (r *reader) Attributes() *driver.ReaderAttributes { return &r.attributes }

// As is for none of Google's types.
func (r *reader) As(any) bool { return false }

// sizeOf is the whole object's.
func sizeOf(header http.Header) int64 {
	text := header.Get("Content-Length")
	if _, total, ranged := strings.Cut(header.Get("Content-Range"), "/"); ranged {
		text = total
	}
	size, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return -1
	}
	return size
}

func newSum() hash.Hash32 { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) }

// sumOf reads "X-Goog-Hash: crc32c=…,md5=…", which may also be two headers.
func sumOf(header http.Header) []byte {
	for _, value := range header.Values("X-Goog-Hash") {
		for part := range strings.SplitSeq(value, ",") {
			if text, ok := strings.CutPrefix(strings.TrimSpace(part), "crc32c="); ok {
				sum, err := base64.StdEncoding.DecodeString(text)
				if err == nil && len(sum) == crc32.Size {
					return sum
				}
			}
		}
	}
	return nil
}

// sumHeader is the checksum that a server holds what it got against.
func sumHeader(sum uint32) string {
	return "crc32c=" + base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
}

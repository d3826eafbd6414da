package gcs

import (
	"bytes"
	"context"
	"encoding/json"
	"hash"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"

	"gocloud.dev/blob/driver"
	"google.golang.org/api/googleapi"
)

// writer uploads an object: in one request if it is no larger than a chunk, else in a
// session, a chunk each. It appears with its last byte. A session that nobody ends leaves
// nothing: Google forgets it after a week.
// https://cloud.google.com/storage/docs/performing-resumable-uploads
type writer struct {
	b       *bucket
	ctx     context.Context // NewTypedWriter's
	about   object
	query   url.Values
	chunk   int    // the most that is in memory, whole steps of MinUploadChunkSize
	buffer  []byte // what is not known to have arrived
	session string // URL; empty: not begun
	arrived int64  // in the session; what the buffer begins behind
	sum     hash.Hash32
	err     error // of a Write; nothing goes on after it
}

// NewTypedWriter makes a writer, which asks nothing before the first chunk is full.
func (b *bucket) NewTypedWriter(ctx context.Context, key, contentType string, o *driver.WriterOptions) (driver.Writer, error) {
	if key == "" {
		return nil, errNoKey
	}
	if err := before(o.BeforeWrite); err != nil {
		return nil, err
	}
	w := &writer{
		b: b, ctx: ctx, query: url.Values{"name": {key}}, chunk: chunkSize(o.BufferSize), sum: newSum(),
		about: object{
			Name: key, ContentType: contentType, CacheControl: o.CacheControl, ContentDisposition: o.ContentDisposition,
			ContentEncoding: o.ContentEncoding, ContentLanguage: o.ContentLanguage, Metadata: o.Metadata, MD5: o.ContentMD5,
		},
	}
	if o.IfNotExist {
		w.query.Set("ifGenerationMatch", "0")
	}
	return w, nil
}

func chunkSize(wanted int) int {
	const step = googleapi.MinUploadChunkSize
	if wanted <= 0 {
		return googleapi.DefaultUploadChunkSize
	}
	return (wanted + step - 1) / step * step
}

// Write keeps a chunk until there is more than that, as the last one must be told.
func (w *writer) Write(p []byte) (n int, err error) {
	for w.err == nil && n < len(p) {
		if len(w.buffer) == w.chunk {
			w.err = w.sendChunk(false)
			continue
		}
		part := p[n:min(len(p), n+w.chunk-len(w.buffer))]
		w.grow(len(part))
		w.buffer = append(w.buffer, part...)
		w.sum.Write(part)
		n += len(part)
	}
	return n, w.err
}

// grow doubles the buffer, as most objects are far smaller than a chunk, and never goes beyond it.
func (w *writer) grow(by int) {
	if need := len(w.buffer) + by; need > cap(w.buffer) {
		w.buffer = append(make([]byte, 0, min(w.chunk, max(need, 2*cap(w.buffer)))), w.buffer...)
	}
}

// Close makes the object appear, unless the context ended or a Write went wrong.
func (w *writer) Close() error {
	switch {
	case w.err != nil:
		return w.err
	case w.ctx.Err() != nil:
		return w.ctx.Err()
	case w.session == "":
		return w.sendWhole()
	}
	return w.sendChunk(true)
}

// sendWhole is the upload in one request: what the object is, and its content.
func (w *writer) sendWhole() error {
	w.about.CRC32C = w.sum.Sum(nil)
	head, boundary, err := w.head()
	if err != nil {
		return err
	}
	tail := "\r\n--" + boundary + "--\r\n"
	return w.b.retry(w.ctx, func() error {
		body := io.MultiReader(bytes.NewReader(head), bytes.NewReader(w.buffer), strings.NewReader(tail))
		req, err := w.request(http.MethodPost, w.address("multipart"), "multipart/related; boundary="+boundary, body)
		if err != nil {
			return err
		}
		req.ContentLength = int64(len(head) + len(w.buffer) + len(tail))
		return w.b.decode(req, nil)
	})
}

// head is all that stands before the content.
func (w *writer) head() (_ []byte, boundary string, err error) {
	about, err := json.Marshal(w.about)
	if err != nil {
		return nil, "", err
	}
	var head bytes.Buffer
	parts := multipart.NewWriter(&head)
	part, err := parts.CreatePart(textproto.MIMEHeader{"Content-Type": {"application/json"}})
	if err == nil {
		_, err = part.Write(about)
	}
	if err == nil {
		_, err = parts.CreatePart(typed(w.about.ContentType))
	}
	return head.Bytes(), parts.Boundary(), err
}

func typed(contentType string) textproto.MIMEHeader {
	if contentType == "" {
		return nil
	}
	return textproto.MIMEHeader{"Content-Type": {contentType}}
}

func (w *writer) address(kind string) string {
	return w.b.objects("/upload") + "?uploadType=" + kind + "&" + w.query.Encode()
}

func (w *writer) request(method, address, contentType string, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(w.ctx, method, address, body)
	if err == nil && contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	return req, err
}

package gcs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"sync"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
	"google.golang.org/api/googleapi"
)

const step = googleapi.MinUploadChunkSize

// session is Google's end of an upload: it keeps what arrives in order, and makes an object
// of it at its end.
type session struct {
	t    *testing.T
	mu   sync.Mutex
	got  []byte
	done []byte // the object; nil: there is none
	sum  string // X-Goog-Hash of the last request
	asks calls
	// trouble does something else with a request than to take it; n counts the session's from 1.
	trouble func(w http.ResponseWriter, n int, body []byte) (handled bool)
}

func (s *session) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.URL.Path == "/upload/storage/v1/b/archive/o" {
		if r.URL.Query().Get("uploadType") != "resumable" || r.URL.Query().Get("name") != "a/x" || r.URL.Query().Get("ifGenerationMatch") != "0" {
			s.t.Errorf("begun by %s", r.URL)
		}
		w.Header().Set("Location", "http://"+r.Host+"/session?upload_id=secret")
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil || r.Method != http.MethodPut {
		s.t.Errorf("%s %s: %v", r.Method, r.URL.Path, err)
		return
	}
	s.asks.note(r)
	n := len(s.asks.all())
	s.asks.list[n-1] = r.Header.Get("Content-Range")
	if s.trouble != nil && s.trouble(w, n, body) {
		return
	}
	s.take(r.Header.Get("Content-Range"), body)
	s.sum = r.Header.Get("X-Goog-Hash")
	s.answer(w, r.Header.Get("Content-Range"))
}

// take keeps what follows on what is there, as Google does.
func (s *session) take(contentRange string, body []byte) {
	var from int
	if n, _ := fmt.Sscanf(contentRange, "bytes %d-", &from); n == 1 {
		if from > len(s.got) {
			s.t.Errorf("%s leaves a gap behind %d", contentRange, len(s.got))
			return
		}
		s.got = append(s.got[:from], body...)
	}
}

func (s *session) answer(w http.ResponseWriter, contentRange string) {
	_, total, _ := strings.Cut(contentRange, "/")
	if total == fmt.Sprint(len(s.got)) {
		s.done = s.got
		say(w, "{}")
		return
	}
	w.Header().Set("X-Http-Status-Code-Override", "308")
	if len(s.got) > 0 {
		w.Header().Set("Range", fmt.Sprintf("bytes=0-%d", len(s.got)-1))
	}
}

func newSession(t *testing.T) (*session, *blob.Bucket) {
	s := &session{t: t}
	b, _ := answering(t, s.ServeHTTP)
	return s, blob.NewBucket(b)
}

func upload(ctx context.Context, b *blob.Bucket, content []byte) error {
	w, err := b.NewWriter(ctx, "a/x", &blob.WriterOptions{IfNotExist: true, ContentType: "text/x", BufferSize: step})
	if err != nil {
		return err
	}
	_, err = w.Write(content)
	return errors.Join(err, w.Close())
}

// numbered is content of which each part differs.
func numbered(size int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, "%d,", i)
	}
	return b.Bytes()[:size]
}

func TestUploadInChunks(t *testing.T) {
	for size, want := range map[int][]string{
		step + 1:   {"bytes 0-262143/*", "bytes 262144-262144/262145"},
		2 * step:   {"bytes 0-262143/*", "bytes 262144-524287/524288"},
		2*step + 5: {"bytes 0-262143/*", "bytes 262144-524287/*", "bytes 524288-524292/524293"},
	} {
		s, b := newSession(t)
		content := numbered(size)
		if err := upload(t.Context(), b, content); err != nil || !bytes.Equal(s.done, content) {
			t.Errorf("%d bytes: %v, there are %d", size, err, len(s.done))
		}
		sum := newSum()
		sum.Write(content)
		if got := s.asks.all(); fmt.Sprint(got) != fmt.Sprint(want) || s.sum != sumHeader(sum.Sum32()) {
			t.Errorf("%d bytes: asked %q, %s, want %q", size, got, s.sum, want)
		}
	}
}

// TestUploadGoesOn: whatever happens to one request, the object is whole.
func TestUploadGoesOn(t *testing.T) {
	content := numbered(2*step + 5)
	for name, test := range map[string]struct {
		trouble func(*session, http.ResponseWriter, int, []byte) bool
		want    []string
	}{
		"some of a chunk arrives and the line breaks": {func(s *session, w http.ResponseWriter, n int, body []byte) bool {
			if n == 2 {
				s.got = append(s.got, body[:1000]...)
				hangUp()
			}
			return false
		}, []string{"bytes 0-262143/*", "bytes 262144-524287/*", "bytes */*", "bytes 263144-524287/*", "bytes 524288-524292/524293"}},
		"the server takes some of a chunk": {func(s *session, w http.ResponseWriter, n int, body []byte) bool {
			if n == 1 {
				s.got = append(s.got, body[:1000]...)
				s.answer(w, "bytes 0-262143/*")
			}
			return n == 1
		}, []string{"bytes 0-262143/*", "bytes 1000-262143/*", "bytes 262144-524287/*", "bytes 524288-524292/524293"}},
		"nothing of a chunk arrives": {func(s *session, w http.ResponseWriter, n int, body []byte) bool {
			if n == 1 {
				http.Error(w, "in trouble", http.StatusServiceUnavailable)
			}
			return n == 1
		}, []string{"bytes 0-262143/*", "bytes */*", "bytes 0-262143/*", "bytes 262144-524287/*", "bytes 524288-524292/524293"}},
		"a chunk arrives and the answer is lost": {func(s *session, w http.ResponseWriter, n int, body []byte) bool {
			if n == 1 {
				s.got = append(s.got, body...)
				hangUp()
			}
			return false
		}, []string{"bytes 0-262143/*", "bytes */*", "bytes 262144-524287/*", "bytes 524288-524292/524293"}},
		"the last answer is lost": {func(s *session, w http.ResponseWriter, n int, body []byte) bool {
			if n == 3 {
				s.got = append(s.got, body...)
				hangUp()
			}
			return false
		}, []string{"bytes 0-262143/*", "bytes 262144-524287/*", "bytes 524288-524292/524293", "bytes */524293"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, b := newSession(t)
			s.trouble = func(w http.ResponseWriter, n int, body []byte) bool { return test.trouble(s, w, n, body) }
			err := upload(t.Context(), b, content)
			if err != nil || !bytes.Equal(s.done, content) {
				t.Errorf("%v, there are %d bytes", err, len(s.done))
			}
			if got := s.asks.all(); fmt.Sprint(got) != fmt.Sprint(test.want) {
				t.Errorf("asked %q, want %q", got, test.want)
			}
		})
	}
}

// TestUploadGivesUp: a session that takes nothing, forgets, or ends early.
func TestUploadGivesUp(t *testing.T) {
	for name, test := range map[string]struct {
		trouble func(*session, http.ResponseWriter)
		asked   int
		want    func(error) bool
	}{
		"takes nothing": {func(s *session, w http.ResponseWriter) { s.answer(w, "bytes */*") }, 7, func(err error) bool {
			return strings.Contains(err.Error(), "takes nothing")
		}},
		"is in trouble": {func(_ *session, w http.ResponseWriter) { http.Error(w, "", http.StatusBadGateway) }, 4, func(err error) bool {
			return statusOf(err) == http.StatusBadGateway
		}},
		"is gone":                {func(_ *session, w http.ResponseWriter) { http.Error(w, "gone", http.StatusGone) }, 1, func(err error) bool { return statusOf(err) == http.StatusGone }},
		"ends early":             {func(_ *session, w http.ResponseWriter) { say(w, "{}") }, 1, func(err error) bool { return errors.Is(err, errAnswer) }},
		"has more than was sent": {func(_ *session, w http.ResponseWriter) { incomplete(w, "bytes=0-9999999") }, 1, func(err error) bool { return errors.Is(err, errAnswer) }},
		"says nonsense":          {func(_ *session, w http.ResponseWriter) { incomplete(w, "some") }, 1, func(err error) bool { return errors.Is(err, errAnswer) }},
		"was too late": {func(_ *session, w http.ResponseWriter) { http.Error(w, "exists", http.StatusPreconditionFailed) }, 1, func(err error) bool {
			return gcerrors.Code(err) == gcerrors.FailedPrecondition
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s, b := newSession(t)
			s.trouble = func(w http.ResponseWriter, _ int, _ []byte) bool { test.trouble(s, w); return true }
			w, err := b.NewWriter(t.Context(), "a/x", &blob.WriterOptions{IfNotExist: true, ContentType: "text/x", BufferSize: step})
			if err != nil {
				t.Fatal(err)
			}
			_, err = w.Write(numbered(step + 1))
			if err == nil || !test.want(err) || strings.Contains(err.Error(), "secret") || len(s.asks.all()) != test.asked {
				t.Errorf("%v after %q, want %d requests", err, s.asks.all(), test.asked)
			}
			if closed := w.Close(); closed == nil || len(s.asks.all()) != test.asked {
				t.Errorf("closed with %v after %q", closed, s.asks.all())
			}
		})
	}
}

func incomplete(w http.ResponseWriter, arrived string) {
	w.Header().Set("Range", arrived)
	w.WriteHeader(http.StatusPermanentRedirect)
}

// TestUploadIsCancelled: the last chunk, which makes the object, is never sent.
func TestUploadIsCancelled(t *testing.T) {
	for _, size := range []int{0, 10, step + 1, 2*step + 1} {
		s, b := newSession(t)
		ctx, cancel := context.WithCancel(t.Context())
		w, err := b.NewWriter(ctx, "a/x", &blob.WriterOptions{IfNotExist: true, ContentType: "text/x", BufferSize: step})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := w.Close(); !errors.Is(err, context.Canceled) || s.done != nil || len(s.got) > 2*step {
			t.Errorf("%d bytes: %v, and of %d that came there is an object of %d", size, err, len(s.got), len(s.done))
		}
	}
}

// TestUploadOfOne is the way of what fits into a chunk: its answer is lost once.
func TestUploadOfOne(t *testing.T) {
	for _, content := range []string{"", "some content"} {
		var asked calls
		b, _ := answering(t, func(w http.ResponseWriter, r *http.Request) {
			if asked.note(r) == 1 {
				hangUp()
			}
			_, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
			parts := multipart.NewReader(r.Body, params["boundary"])
			about, err := parts.NextPart()
			var o object
			if err == nil {
				err = json.NewDecoder(about).Decode(&o)
			}
			if err != nil || o.Name != "a/x" || o.ContentType != "text/x" || o.Metadata["k"] != "v" {
				t.Errorf("it is %+v, %v", o, err)
			}
			body, err := parts.NextPart()
			if err != nil {
				t.Error(err)
				return
			}
			got, err := io.ReadAll(body)
			sum := newSum()
			sum.Write(got)
			if err != nil || string(got) != content || body.Header.Get("Content-Type") != "text/x" || !bytes.Equal(o.CRC32C, sum.Sum(nil)) {
				t.Errorf("there came %q, %v, with %v, as %+v", got, err, body.Header, o)
			}
			if _, err := parts.NextPart(); !errors.Is(err, io.EOF) {
				t.Errorf("behind it: %v", err)
			}
			say(w, "{}")
		})
		err := blob.NewBucket(b).WriteAll(t.Context(), "a/x", []byte(content), &blob.WriterOptions{ContentType: "text/x", Metadata: map[string]string{"k": "v"}})
		if want := "POST /upload/storage/v1/b/archive/o?uploadType=multipart&name=a%2Fx"; err != nil || fmt.Sprint(asked.all()) != fmt.Sprint([]string{want, want}) {
			t.Errorf("%v after %q", err, asked.all())
		}
	}
}

// TestUploadTakesAChunk of memory, and no more than twice what a small object is.
func TestUploadTakesAChunk(t *testing.T) {
	w := &writer{chunk: 10 * step}
	for range 100 {
		w.grow(1000)
		w.buffer = append(w.buffer, make([]byte, 1000)...)
		if cap(w.buffer) > 2*len(w.buffer) {
			t.Fatalf("%d bytes take %d", len(w.buffer), cap(w.buffer))
		}
	}
	for len(w.buffer) < w.chunk {
		w.grow(step / 4)
		w.buffer = w.buffer[:min(w.chunk, len(w.buffer)+step/4)]
	}
	if cap(w.buffer) != w.chunk {
		t.Errorf("a chunk of %d takes %d", w.chunk, cap(w.buffer))
	}
}

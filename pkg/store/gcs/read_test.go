package gcs

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

const text = "0123456789abcdefghijklmnopqrstuvwxyz"

// generation serves an object as Google does.
func generation(w http.ResponseWriter, r *http.Request, content, number string) {
	if want := r.URL.Query().Get("generation"); want != "" && want != number {
		http.Error(w, "no such generation", http.StatusNotFound)
		return
	}
	w.Header().Set("X-Goog-Generation", number)
	w.Header().Set("X-Goog-Hash", "md5=AAAAAAAAAAAAAAAAAAAAAA==")
	w.Header().Add("X-Goog-Hash", sumHeader(crc32.Checksum([]byte(content), crc32.MakeTable(crc32.Castagnoli))))
	status := http.StatusOK
	var from, to int
	switch n, _ := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to); {
	case n > 0 && from >= len(content):
		w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		return
	case n > 0:
		if n == 1 || to >= len(content) {
			to = len(content) - 1
		}
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, len(content)))
		status, content = http.StatusPartialContent, content[from:to+1]
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	w.WriteHeader(status)
	say(w, content)
}

// breaking lets what is behind it give a few bytes of each answer only.
type breaking struct {
	http.ResponseWriter
	left int
}

func (b *breaking) Write(p []byte) (int, error) {
	n, _ := b.ResponseWriter.Write(p[:min(b.left, len(p))])
	if b.left -= n; b.left == 0 {
		b.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, nil
}

func read(t *testing.T, b *bucket, offset, length int64) (string, error) {
	r, err := blob.NewBucket(b).NewRangeReader(t.Context(), "x", offset, length, nil)
	if err != nil {
		return "", err
	}
	content, err := io.ReadAll(r)
	return string(content), errors.Join(err, r.Close())
}

// TestReadGoesOn: the stream breaks every seven bytes.
func TestReadGoesOn(t *testing.T) {
	for _, test := range []struct {
		offset, length int64
		want           string
		asked          int
	}{
		{0, -1, text, 6}, {0, 10, text[:10], 2}, {5, 10, text[5:15], 2}, {20, -1, text[20:], 3}, {30, 100, text[30:], 1}, {0, 0, "", 1},
	} {
		var asked calls
		b, _ := answering(t, func(w http.ResponseWriter, r *http.Request) {
			asked.note(r)
			if r.URL.Query().Get("alt") != "media" {
				say(w, `{"size":"36"}`)
				return
			}
			generation(&breaking{w, 7}, r, text, "12")
		})
		got, err := read(t, b, test.offset, test.length)
		if err != nil || got != test.want || len(asked.all()) != test.asked {
			t.Errorf("%d bytes from %d: %q, %v, asked %q, want %q after %d", test.length, test.offset, got, err, asked.all(), test.want, test.asked)
		}
	}
}

// TestReadOfAnother: what the reading began with is not mixed with what took its place.
func TestReadOfAnother(t *testing.T) {
	var asked calls
	b, _ := answering(t, func(w http.ResponseWriter, r *http.Request) {
		n := asked.note(r)
		generation(&breaking{w, 7}, r, strings.Repeat(fmt.Sprint(n), len(text)), fmt.Sprint(n))
	})
	if got, err := read(t, b, 0, -1); !errors.Is(err, errReplaced) || gcerrors.Code(err) != gcerrors.FailedPrecondition || got != "1111111" {
		t.Errorf("read %q, %v, want the first seven and errReplaced", got, err)
	}
}

// TestReadGivesUp: four breaks in a row without a byte.
func TestReadGivesUp(t *testing.T) {
	var asked calls
	b, waits := answering(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Goog-Generation", "1")
		if asked.note(r) == 1 {
			cut(w, "begin")
		}
		w.Header().Set("Content-Range", "bytes 5-9/10")
		w.Header().Set("Content-Length", "5")
		w.WriteHeader(http.StatusPartialContent)
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	if got, err := read(t, b, 0, -1); got != "begin" || !errors.Is(err, io.ErrUnexpectedEOF) || len(asked.all()) != attempts || len(*waits) != attempts-1 {
		t.Errorf("read %q, %v, after %d requests and %d waits", got, err, len(asked.all()), len(*waits))
	}
}

// TestReadWithoutGeneration: the rest might be another object's.
func TestReadWithoutGeneration(t *testing.T) {
	var asked calls
	b, _ := answering(t, func(w http.ResponseWriter, r *http.Request) { asked.note(r); cut(w, "begin") })
	if _, err := read(t, b, 0, -1); !errors.Is(err, io.ErrUnexpectedEOF) || len(asked.all()) != 1 {
		t.Errorf("%v after %q", err, asked.all())
	}
}

// TestReadOfNothing: Google has no range in an empty object, other stores give no bytes.
func TestReadOfNothing(t *testing.T) {
	b, _ := answering(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("alt") != "media" {
			say(w, `{"contentType":"text/plain"}`)
			return
		}
		generation(w, r, "", "1")
	})
	for _, length := range []int64{-1, 0, 10} {
		if got, err := read(t, b, 0, length); err != nil || got != "" {
			t.Errorf("%d bytes: %q, %v", length, got, err)
		}
	}
	if _, err := read(t, b, 5, 10); statusOf(err) != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("from behind the end: %v", err)
	}
}

// TestReadOfTheWrong: another content than Google has, and a server that gives what nobody asked for.
func TestReadOfTheWrong(t *testing.T) {
	b, _ := answering(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Goog-Hash", "crc32c=AAAAAA==,md5=AAAAAAAAAAAAAAAAAAAAAA==")
		say(w, text)
	})
	if _, err := read(t, b, 0, -1); err == nil || !strings.Contains(err.Error(), "CRC-32C") {
		t.Errorf("with a wrong checksum: %v", err)
	}
	if _, err := read(t, b, 3, -1); !errors.Is(err, errAnswer) {
		t.Errorf("all instead of a range: %v, want errAnswer", err)
	}
}

// TestReaderTells the size of the whole, of a range too.
func TestReaderTells(t *testing.T) {
	b, _ := answering(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Last-Modified", "Sat, 25 Jul 2026 12:00:09 GMT")
		w.Header().Set("Content-Type", "text/x")
		generation(w, r, text, "1")
	})
	for _, length := range []int64{-1, 3} {
		r, err := blob.NewBucket(b).NewRangeReader(t.Context(), "x", 0, length, nil)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if _, err := r.WriteTo(&got); err != nil || r.Size() != int64(len(text)) || r.ContentType() != "text/x" || r.ModTime().Second() != 9 {
			t.Errorf("%d bytes: %d of %s at %s, %v", length, r.Size(), r.ContentType(), r.ModTime(), err)
		}
		r.Close()
	}
}

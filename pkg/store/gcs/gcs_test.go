package gcs

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

// answering opens a bucket that is only these answers, and that notes its waits instead of
// waiting.
func answering(t *testing.T, answer http.HandlerFunc) (*bucket, *[]time.Duration) {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	t.Setenv("STORAGE_EMULATOR_HOST", server.URL)
	b, err := open(t.Context(), &url.URL{Scheme: Scheme, Host: "archive"})
	if err != nil {
		t.Fatal(err)
	}
	var waits []time.Duration
	b.wait = func(ctx context.Context, d time.Duration) error { waits = append(waits, d); return ctx.Err() }
	return b, &waits
}

// calls counts the requests, as "GET /storage/v1/b/archive/o/x?…".
type calls struct {
	mu   sync.Mutex
	list []string
}

// note gives the number of the request, from 1.
func (c *calls) note(r *http.Request) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, r.Method+" "+r.URL.RequestURI())
	return len(c.list)
}

func (c *calls) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.list)
}

// TestAnswers: what is asked again, and what gocloud.dev calls the error in the end.
func TestAnswers(t *testing.T) {
	for _, test := range []struct {
		status, asked int
		code          gcerrors.ErrorCode
	}{
		{400, 1, gcerrors.InvalidArgument}, {401, 1, gcerrors.PermissionDenied}, {403, 1, gcerrors.PermissionDenied},
		{404, 1, gcerrors.NotFound}, {412, 1, gcerrors.FailedPrecondition},
		{408, 4, gcerrors.Unknown}, {429, 4, gcerrors.ResourceExhausted}, {500, 4, gcerrors.Unknown}, {503, 4, gcerrors.Unknown},
	} {
		for name, do := range map[string]func(*blob.Bucket) error{
			"read":       func(b *blob.Bucket) error { _, err := b.ReadAll(t.Context(), "x"); return err },
			"list":       func(b *blob.Bucket) error { _, err := b.List(nil).Next(t.Context()); return err },
			"attributes": func(b *blob.Bucket) error { _, err := b.Attributes(t.Context(), "x"); return err },
			"delete":     func(b *blob.Bucket) error { return b.Delete(t.Context(), "x") },
			"copy":       func(b *blob.Bucket) error { return b.Copy(t.Context(), "x", "y", nil) },
			"put":        func(b *blob.Bucket) error { return b.WriteAll(t.Context(), "x", []byte("a"), nil) },
			"put in chunks": func(b *blob.Bucket) error {
				return b.WriteAll(t.Context(), "x", make([]byte, step+1), &blob.WriterOptions{BufferSize: step})
			},
		} {
			t.Run(fmt.Sprintf("%s %d", name, test.status), func(t *testing.T) {
				var asked calls
				b, _ := answering(t, func(w http.ResponseWriter, r *http.Request) {
					asked.note(r)
					http.Error(w, `{"error":{"code":`+fmt.Sprint(test.status)+`,"message":"said by the test"}}`, test.status)
				})
				err := do(blob.NewBucket(b))
				if gcerrors.Code(err) != test.code || !strings.Contains(fmt.Sprint(err), "said by the test") {
					t.Errorf("%v of the code %v, want %v, and what the server said", err, gcerrors.Code(err), test.code)
				}
				if got := asked.all(); len(got) != test.asked {
					t.Errorf("asked %q, want %d times", got, test.asked)
				}
			})
		}
	}
}

// TestComesBack: a server in trouble that recovers, and a broken line, are no error to anybody.
func TestComesBack(t *testing.T) {
	var asked calls
	b, waits := answering(t, func(w http.ResponseWriter, r *http.Request) {
		switch asked.note(r) {
		case 1:
			w.Header().Set("Retry-After", "7")
			http.Error(w, "wait", http.StatusTooManyRequests)
		case 2:
			hangUp()
		case 3:
			cut(w, `{"size":"7",`)
		default:
			say(w, `{"size":"7","updated":"2026-07-25T12:00:00Z"}`)
		}
	})
	b.transport.DisableKeepAlives = true // net/http itself asks again on a connection that it used before
	a, err := b.Attributes(t.Context(), "x")
	if err != nil || a.Size != 7 || a.ModTime.Hour() != 12 {
		t.Fatalf("%+v, %v", a, err)
	}
	if w := *waits; len(w) != 3 || w[0] != 7*time.Second || w[1] > 2*time.Second || w[2] > 4*time.Second {
		t.Errorf("waited %v, want 7s, up to 2s, and up to 4s", w)
	}
}

// TestPatience: a server that wants to be left alone for an hour is asked again before.
func TestPatience(t *testing.T) {
	b, waits := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		http.Error(w, "wait", http.StatusServiceUnavailable)
	})
	if _, err := b.Attributes(t.Context(), "x"); err == nil || fmt.Sprint(*waits) != "[30s 30s 30s]" {
		t.Errorf("waited %v, %v", *waits, err)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 7, 25, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "soon": 0, "5": 5 * time.Second, "99999999999999": 1 << 20 * time.Second, "Sat, 25 Jul 2026 12:00:09 GMT": 9 * time.Second,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// TestPasses: what is no better in a second is told at once.
func TestPasses(t *testing.T) {
	var into object
	for _, test := range []struct {
		err  error
		want bool
	}{
		{&net.DNSError{IsNotFound: true}, false}, {&net.DNSError{IsTimeout: true}, true},
		{&tls.CertificateVerificationError{}, false}, {json.Unmarshal([]byte("<html>"), &into), false},
		{errAnswer, false}, {io.ErrUnexpectedEOF, true}, {&net.OpError{Op: "dial", Err: errors.New("no route")}, true},
	} {
		if got := passes(fmt.Errorf("in it: %w", test.err)); got != test.want {
			t.Errorf("%v: %t", test.err, got)
		}
	}
}

// TestEndsWithItsContext: nobody waits on for a caller that is gone.
func TestEndsWithItsContext(t *testing.T) {
	var asked calls
	ctx, cancel := context.WithCancel(t.Context())
	b, _ := answering(t, func(w http.ResponseWriter, r *http.Request) {
		asked.note(r)
		cancel()
		<-r.Context().Done()
	})
	if _, err := b.Attributes(ctx, "x"); !errors.Is(err, context.Canceled) || len(asked.all()) != 1 {
		t.Errorf("asked %q: %v, want once, and Canceled", asked.all(), err)
	}
}

// TestNobodyThere: it is told without the URL, as that of an upload is a secret.
func TestNobodyThere(t *testing.T) {
	b, waits := answering(t, nil)
	b.base = "http://127.0.0.1:1"
	_, err := b.Attributes(t.Context(), "x")
	if err == nil || len(*waits) != attempts-1 || strings.Contains(err.Error(), "storage/v1") || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("after %d waits: %v", len(*waits), err)
	}
}

func TestList(t *testing.T) {
	b, _ := answering(t, func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		if query.Get("prefix") != "a/" || query.Get("delimiter") != "/" || query.Get("maxResults") != "1000" {
			http.Error(w, r.URL.String(), http.StatusBadRequest)
			return
		}
		answer := page{Items: []object{{Name: "a/3", Size: 3}}, Prefixes: []string{"a/4/"}}
		if query.Get("pageToken") == "" {
			answer = page{Items: []object{{Name: "a/2", Size: 2}}, Prefixes: []string{"a/1/"}, Next: "more+/"}
		} else if query.Get("pageToken") != "more+/" {
			http.Error(w, r.URL.String(), http.StatusBadRequest)
			return
		}
		_ = json.NewEncoder(w).Encode(answer)
	})
	var got []string
	list := blob.NewBucket(b).List(&blob.ListOptions{Prefix: "a/", Delimiter: "/"})
	for {
		o, err := list.Next(t.Context())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %d %t", o.Key, o.Size, o.IsDir))
	}
	if want := []string{"a/1/ 0 true", "a/2 2 false", "a/3 3 false", "a/4/ 0 true"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestCopyInSteps: Google says how far it came, and wants to be asked on.
func TestCopyInSteps(t *testing.T) {
	var asked calls
	b, _ := answering(t, func(w http.ResponseWriter, r *http.Request) {
		say(w, fmt.Sprintf(`{"done":%t,"rewriteToken":"step"}`, asked.note(r) == 2))
	})
	if err := blob.NewBucket(b).Copy(t.Context(), "to/x", "from/y", nil); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"POST /storage/v1/b/archive/o/from%2Fy/rewriteTo/b/archive/o/to%2Fx?",
		"POST /storage/v1/b/archive/o/from%2Fy/rewriteTo/b/archive/o/to%2Fx?rewriteToken=step",
	}
	if got := asked.all(); !slices.Equal(got, want) {
		t.Errorf("asked %q, want %q", got, want)
	}
}

func say(w http.ResponseWriter, text string) { _, _ = io.WriteString(w, text) }

// hangUp gives no answer.
func hangUp() { panic(http.ErrAbortHandler) }

// cut ends an answer in its middle: it is announced as longer by a megabyte.
func cut(w http.ResponseWriter, content string) {
	w.Header().Set("Content-Length", fmt.Sprint(len(content)+1<<20))
	say(w, content)
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

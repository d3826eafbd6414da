package gcs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// begin begins a session.
func (w *writer) begin() error {
	about, err := json.Marshal(w.about)
	if err != nil {
		return err
	}
	return w.b.retry(w.ctx, func() error {
		req, err := w.request(http.MethodPost, w.address("resumable"), "application/json", bytes.NewReader(about))
		if err != nil {
			return err
		}
		req.Header.Set("X-Upload-Content-Type", w.about.ContentType)
		res, err := w.b.send(req)
		if err != nil {
			return err
		}
		defer finish(res)
		if w.session = res.Header.Get("Location"); w.session == "" {
			return fmt.Errorf("%w: it began an upload and does not say where", errAnswer)
		}
		return nil
	})
}

// sendChunk sends the buffer until all of it arrived, and with the last chunk ends the
// object. After an error it asks first what did arrive: some of it, or all and only the
// answer was lost.
func (w *writer) sendChunk(last bool) error {
	if w.session == "" {
		if err := w.begin(); err != nil {
			return err
		}
	}
	asking := false
	for failed := 0; ; {
		had := w.arrived
		done, err := w.offer(last, asking)
		switch {
		case err == nil && (done || !last && len(w.buffer) == 0):
			return nil
		case err == nil && w.arrived > had:
			failed, asking = 0, false
			continue
		case err == nil && asking:
			asking = false
			continue
		case err == nil:
			err = errors.New("the server takes nothing of it")
		case !passes(err):
			return err
		}
		if failed++; failed == attempts {
			return fmt.Errorf("tried %d times: %w", failed, err)
		}
		if err := w.b.pause(w.ctx, failed, err); err != nil {
			return err
		}
		asking = true
	}
}

// offer is one request of a session: with the buffer, or without, to ask what arrived.
func (w *writer) offer(last, asking bool) (done bool, err error) {
	content := w.buffer
	if asking {
		content = nil
	}
	req, err := w.request(http.MethodPut, w.session, w.about.ContentType, bytes.NewReader(content))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Range", w.contentRange(len(content), last))
	req.Header.Set("X-GUploader-No-308", "yes") // which proxies take for a redirection
	if last {
		req.Header.Set("X-Goog-Hash", sumHeader(w.sum.Sum32()))
	}
	res, err := w.b.send(req)
	if err != nil {
		return false, err
	}
	defer finish(res)
	if res.StatusCode == http.StatusPermanentRedirect || res.Header.Get("X-Http-Status-Code-Override") == "308" {
		return false, w.advance(res.Header.Get("Range"))
	}
	if !last {
		return false, fmt.Errorf("%w: it ended the object before its end", errAnswer)
	}
	return true, nil
}

// contentRange tells where the content of a request belongs, and the object's size if it is
// the last.
func (w *writer) contentRange(size int, last bool) string {
	total := "*"
	if last {
		total = strconv.FormatInt(w.arrived+int64(len(w.buffer)), 10)
	}
	if size == 0 {
		return "bytes */" + total
	}
	return fmt.Sprintf("bytes %d-%d/%s", w.arrived, w.arrived+int64(size)-1, total)
}

// advance drops what arrived: "bytes=0-LAST", or nothing where nothing did.
func (w *writer) advance(text string) error {
	arrived := int64(0)
	if text != "" {
		end, err := strconv.ParseInt(strings.TrimPrefix(text, "bytes=0-"), 10, 64)
		if err != nil {
			return fmt.Errorf("%w: it says that %q arrived", errAnswer, text)
		}
		arrived = end + 1
	}
	more := arrived - w.arrived
	if more < 0 || more > int64(len(w.buffer)) {
		return fmt.Errorf("%w: it has %d bytes, of %d to %d that were sent", errAnswer, arrived, w.arrived, w.arrived+int64(len(w.buffer)))
	}
	w.buffer = w.buffer[:copy(w.buffer, w.buffer[more:])]
	w.arrived = arrived
	return nil
}

package gcs

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"golang.org/x/oauth2"
	"google.golang.org/api/googleapi"
)

const (
	// attempts are those of a request that got no answer, or that of a server in trouble.
	// Google's own client goes on without end, S3's and Azure's give up about as soon.
	attempts = 4
	// patience bounds what a server may ask for by Retry-After.
	patience = 30 * time.Second
	// maxAnswer bounds what is read of an answer that is not an object's content: a page
	// of a list has at most 1000 names of 1024 bytes.
	maxAnswer = 8 << 20
)

// client asks a server that speaks Google's JSON API.
type client struct {
	http      *http.Client
	transport *http.Transport // below the login
	base      string          // https://storage.googleapis.com
	wait      func(context.Context, time.Duration) error
}

// ask is a request without a body. Its answer, JSON, is read into a value unless that is nil.
func (c *client) ask(ctx context.Context, method, address string, into any) error {
	return c.retry(ctx, func() error {
		req, err := http.NewRequestWithContext(ctx, method, address, http.NoBody)
		if err != nil {
			return err
		}
		return c.decode(req, into)
	})
}

// decode sends a request once.
func (c *client) decode(req *http.Request, into any) error {
	res, err := c.send(req)
	if err != nil {
		return err
	}
	defer finish(res)
	if into == nil {
		return nil
	}
	return json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(into)
}

// send sends a request once. Errors are *googleapi.Error for an answer that is none of
// success, the context's, and the network's, without the URL: an upload's is a secret.
func (c *client) send(req *http.Request) (*http.Response, error) {
	req.Header.Set("User-Agent", "kubectl-etcd")
	res, err := c.http.Do(req)
	if err != nil {
		if req.Context().Err() != nil {
			return nil, req.Context().Err()
		}
		if u := (*url.Error)(nil); errors.As(err, &u) {
			err = u.Err
		}
		return nil, fmt.Errorf("%s %s: %w", req.Method, req.URL.Host, err)
	}
	if res.StatusCode < 300 || res.StatusCode == http.StatusPermanentRedirect {
		return res, nil
	}
	defer finish(res)
	res.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(res.Body, maxAnswer), res.Body}
	return nil, googleapi.CheckResponse(res)
}

// finish reads what is left of a short answer, so that its connection can be used again.
func finish(res *http.Response) {
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10)
	_ = res.Body.Close()
}

// retry makes attempts until one goes well, or none can.
func (c *client) retry(ctx context.Context, attempt func() error) error {
	for n := 1; ; n++ {
		err := attempt()
		if err == nil {
			return nil
		}
		if n == attempts {
			return fmt.Errorf("tried %d times: %w", n, err)
		}
		if !passes(err) {
			return err
		}
		if waited := c.pause(ctx, n, err); waited != nil {
			return waited
		}
	}
}

// passes tells whether an error may be gone in a moment: the server is in trouble or asks
// for patience, or the line broke.
func passes(err error) bool {
	var token *oauth2.RetrieveError
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	var syntax *json.SyntaxError
	switch status := statusOf(err); {
	case errors.Is(err, errAnswer):
		return false
	case status != 0:
		return status == http.StatusRequestTimeout || status == http.StatusTooManyRequests || status >= 500
	case errors.As(err, &token):
		return token.Response != nil && token.Response.StatusCode >= 500
	case errors.As(err, &dns):
		return !dns.IsNotFound
	}
	return !errors.As(err, &certificate) && !errors.As(err, &syntax)
}

// statusOf is that of the answer that an error was made of; else 0.
func statusOf(err error) int {
	var answer *googleapi.Error
	if errors.As(err, &answer) {
		return answer.Code
	}
	return 0
}

// pause waits before another attempt: up to a second after the first, twice as long after
// each further one, and as long as the server asks for.
func (c *client) pause(ctx context.Context, attempt int, err error) error {
	d := rand.N(time.Second << (attempt - 1))
	var answer *googleapi.Error
	if errors.As(err, &answer) {
		d = max(d, min(retryAfter(answer.Header.Get("Retry-After"), time.Now()), patience))
	}
	return c.wait(ctx, d)
}

// retryAfter reads seconds or a date.
func retryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(text); err == nil {
		return time.Duration(min(seconds, 1<<20)) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return at.Sub(now)
	}
	return 0
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

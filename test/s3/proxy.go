//go:build unix

package s3

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"
)

// Proxy passes requests on to a Server until it is told to spoil them. One fault is in
// force at a time: the next takes its place. Requests that a fault holds go on when it ends.
type Proxy struct {
	Endpoint string // http://127.0.0.1:PORT, as the server's

	server *Server
	mu     sync.Mutex
	fault  fault
	over   chan struct{} // closed when fault is no longer in force
}

// fault reports whether the request goes on to the server. It may change the request;
// what it holds it lets go when over is closed.
type fault func(w http.ResponseWriter, r *http.Request, over <-chan struct{}) bool

// Faulty starts a healthy proxy in front of the server. It ends with its test.
func (s *Server) Faulty(t testing.TB) *Proxy {
	t.Helper()
	p := &Proxy{server: s, over: make(chan struct{})}
	p.Endpoint = listen(t, p.serve)
	t.Cleanup(p.Heal) // before what listens waits for the requests that are held
	return p
}

// URL is the Server's URL, through the proxy.
func (p *Proxy) URL(prefix string) string { return p.server.through(p.Endpoint, prefix) }

// Heal ends the fault in force.
func (p *Proxy) Heal() { p.spoil(nil) }

// Refuse answers status (500, 403) to each PUT and POST, once it is read.
func (p *Proxy) Refuse(status int) {
	p.spoil(func(w http.ResponseWriter, r *http.Request, _ <-chan struct{}) bool {
		receive(r)
		if !uploads(r) {
			return true
		}
		refuse(w, status)
		return false
	})
}

// Delay holds each request for d.
func (p *Proxy) Delay(d time.Duration) {
	p.spoil(func(_ http.ResponseWriter, r *http.Request, over <-chan struct{}) bool {
		return hold(r, over, time.After(d))
	})
}

// Hang holds each request until the fault ends. One that its client gives up meanwhile
// never gets to the server.
func (p *Proxy) Hang() {
	p.spoil(func(_ http.ResponseWriter, r *http.Request, over <-chan struct{}) bool {
		return hold(r, over, nil)
	})
}

// Cut breaks the connection, on both sides, after the first n bytes of the body of each
// PUT and POST. Bodies of at most n bytes go through.
func (p *Proxy) Cut(n int64) {
	p.spoil(func(_ http.ResponseWriter, r *http.Request, _ <-chan struct{}) bool {
		if uploads(r) {
			r.Body = &cutBody{body: r.Body, left: n}
		}
		return true
	})
}

func (p *Proxy) spoil(f fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.over)
	p.fault, p.over = f, make(chan struct{})
}

func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	spoil, over := p.fault, p.over
	p.mu.Unlock()
	if spoil == nil {
		receive(r)
	} else if !spoil(w, r, over) {
		return
	}
	p.server.passage.ServeHTTP(w, r)
}

func uploads(r *http.Request) bool {
	return r.Method == http.MethodPut || r.Method == http.MethodPost
}

func hold(r *http.Request, over <-chan struct{}, passed <-chan time.Time) bool {
	receive(r)
	select {
	case <-over:
	case <-passed:
	case <-r.Context().Done():
		panic(http.ErrAbortHandler)
	}
	return true
}

// refuse answers as S3 does; its clients read the code in the body.
func refuse(w http.ResponseWriter, status int) {
	code := "InternalError"
	if status == http.StatusForbidden {
		code = "AccessDenied"
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>the test says so</Message></Error>", code)
}

// cutBody fails after left bytes.
type cutBody struct {
	body io.ReadCloser
	left int64
}

var errCut = errors.New("the upload is cut")

func (c *cutBody) Read(p []byte) (int, error) {
	if c.left == 0 {
		return c.atEnd()
	}
	n, err := c.body.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

// atEnd looks whether there is more than was let through.
func (c *cutBody) atEnd() (int, error) {
	n, err := io.ReadFull(c.body, make([]byte, 1))
	if n > 0 {
		return 0, errCut
	}
	return 0, err
}

func (c *cutBody) Close() error { return c.body.Close() }

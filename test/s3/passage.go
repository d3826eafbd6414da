//go:build unix

package s3

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
)

// newPassage passes requests on to the server behind a socket.
//
// The server answers what it refuses before it has read it, and closes: a client that
// still sends loses the answer (412, 403) to a reset connection more often than not. A
// Unix socket keeps what was sent before it was closed, so here no answer is lost.
func newPassage(socket string) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: "s3"})
			r.Out.Host = r.In.Host // which the client has signed
		},
		Transport: &http.Transport{
			DisableCompression: true,
			DisableKeepAlives:  true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
				if err != nil {
					return nil, err
				}
				return patientConn{conn}, nil
			},
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
}

// patientConn leaves it to Read to say that the other side has closed: http.Transport
// looks for no answer when it cannot write.
type patientConn struct{ net.Conn }

func (c patientConn) Write(p []byte) (int, error) {
	_, _ = c.Conn.Write(p)
	return len(p), nil
}

// receive reads the whole body, so that the client has sent it before it is answered;
// and only then does net/http see that a client is gone.
func receive(r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
}

// listen serves on a port of its own, until the test ends.
func listen(t testing.TB, serve http.HandlerFunc) (endpoint string) {
	front := httptest.NewServer(serve)
	t.Cleanup(func() {
		front.CloseClientConnections()
		front.Close()
	})
	return front.URL
}

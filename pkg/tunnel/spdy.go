package tunnel

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// spdyUpgrader is spdy.SpdyRoundTripper that leaves the connection itself instead of
// a spdystream, honours the request's context, and keeps the status of a refusal.
// It makes one connection.
type spdyUpgrader struct {
	*spdy.SpdyRoundTripper
	wire     wire        // after RoundTrip
	refused  error       // what RoundTrip returned; remotecommand keeps only its text
	upgraded bool        // NewConnection was called
	status   atomic.Bool // an exec's error stream said something: how the command ended
}

func newSPDYUpgrader(config *rest.Config) (*spdyUpgrader, error) {
	tlsConfig, err := rest.TLSConfigFor(config)
	if err != nil {
		return nil, err
	}
	rt, err := spdy.NewRoundTripperWithConfig(spdy.RoundTripperConfig{TLS: tlsConfig, Proxier: config.Proxy})
	if err != nil {
		return nil, err
	}
	return &spdyUpgrader{SpdyRoundTripper: rt}, nil
}

func (u *spdyUpgrader) RoundTrip(request *http.Request) (*http.Response, error) {
	ctx := request.Context()
	request = request.Clone(ctx)
	request.Header.Set(httpstream.HeaderConnection, httpstream.HeaderUpgrade)
	request.Header.Set(httpstream.HeaderUpgrade, spdy.HeaderSpdy31)
	conn, err := u.Dial(request)
	if err != nil {
		return nil, err
	}
	in := bufio.NewReader(conn)
	response, err := readResponse(ctx, conn, in, request)
	if err != nil {
		u.refused = err
		_ = conn.Close() // the first error says more
		return nil, err
	}
	u.wire = wire{Conn: conn, reader: in, network: conn}
	return response, nil
}

// readResponse reads a 101, or returns the refusal, within ctx.
func readResponse(ctx context.Context, conn net.Conn, in *bufio.Reader, request *http.Request) (*http.Response, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	response, err := http.ReadResponse(in, request)
	if err == nil && response.StatusCode != http.StatusSwitchingProtocols {
		err = refusal(response)
	}
	if !stop() { // the deadline is set, or about to be
		return nil, context.Cause(ctx)
	}
	return response, err
}

// NewConnection makes the spdystream connection that remotecommand wants.
func (u *spdyUpgrader) NewConnection(*http.Response) (httpstream.Connection, error) {
	conn, err := spdy.NewClientConnectionWithPings(u.wire, pingPeriod)
	if err != nil {
		return nil, err
	}
	u.upgraded = true
	return statusConnection{conn, &u.status}, nil
}

// statusConnection notes in status that something came on the error stream.
type statusConnection struct {
	httpstream.Connection
	status *atomic.Bool
}

func (c statusConnection) CreateStream(headers http.Header) (httpstream.Stream, error) {
	stream, err := c.Connection.CreateStream(headers)
	if err != nil || headers.Get(corev1.StreamType) != corev1.StreamTypeError {
		return stream, err
	}
	return statusStream{stream, c.status}, nil
}

type statusStream struct {
	httpstream.Stream
	status *atomic.Bool
}

func (s statusStream) Read(p []byte) (int, error) {
	n, err := s.Stream.Read(p)
	if n > 0 {
		s.status.Store(true)
	}
	return n, err
}

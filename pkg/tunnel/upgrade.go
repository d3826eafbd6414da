package tunnel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	constants "k8s.io/apimachinery/pkg/util/portforward"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/websocket"
	"k8s.io/klog/v2"
	"k8s.io/streaming/pkg/httpstream"
)

// wire is what an upgrade leaves: a byte stream to the node's container runtime.
type wire struct {
	net.Conn           // Close says goodbye and may wait a second for it
	reader   io.Reader // Conn's bytes, those that came with the response included
	network  net.Conn  // under Conn
}

func (w wire) Read(p []byte) (int, error) { return w.reader.Read(p) }

// kill ends the wire at once, whatever is being read or written.
func (w wire) kill() {
	network := w.network
	if over, ok := network.(interface{ NetConn() net.Conn }); ok {
		network = over.NetConn() // closing TLS may wait for room to say goodbye
	}
	_ = network.Close() // there is nobody left to care
}

// upgrade asks server for the port-forward at path: SPDY over WebSocket, and where the
// server or a proxy does not take WebSockets, SPDY.
func (s server) upgrade(ctx context.Context, path ...string) (wire, error) {
	u := s.url.JoinPath(path...)
	w, err := upgradeWebSocket(ctx, s.config, u)
	if !wantsSPDY(err) {
		return w, err
	}
	return upgradeSPDY(ctx, s.config, u)
}

// wantsSPDY tells whether a failed WebSocket upgrade is worth trying again as SPDY.
// The errors are those of k8s.io/streaming: apimachinery's functions of the same names
// do not know them any more. A 403 is worth it: WebSocket needs get and create on pods/portforward, SPDY only create.
func wantsSPDY(err error) bool {
	return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
}

// upgradeWebSocket is portforward.NewSPDYOverWebsocketDialer with a context, and
// without the spdystream that it puts on top.
func upgradeWebSocket(ctx context.Context, config *rest.Config, u *url.URL) (wire, error) {
	transport, holder, err := websocket.RoundTripperFor(config)
	if err != nil {
		return wire{}, fmt.Errorf("prepare WebSocket: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return wire{}, err
	}
	ws, err := websocket.Negotiate(transport, holder, request, constants.WebsocketsSPDYTunnelingPortForwardV1)
	if err != nil {
		return wire{}, err
	}
	// The logger would write every byte at -v=8: it gets none.
	tunneling := portforward.NewTunnelingConnectionWithLogger(klog.Logger{}, ws)
	return wire{Conn: tunneling, reader: tunneling, network: ws.NetConn()}, nil
}

func upgradeSPDY(ctx context.Context, config *rest.Config, u *url.URL) (wire, error) {
	upgrader, err := newSPDYUpgrader(config)
	if err != nil {
		return wire{}, fmt.Errorf("prepare SPDY: %w", err)
	}
	transport, err := rest.HTTPWrappersForConfig(config, upgrader)
	if err != nil {
		return wire{}, fmt.Errorf("prepare SPDY: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), nil)
	if err != nil {
		return wire{}, err
	}
	request.Header.Set(httpstream.HeaderProtocolVersion, constants.PortForwardV1Name)
	response, err := transport.RoundTrip(request)
	if err != nil {
		return wire{}, err
	}
	_ = response.Body.Close() // a 101 has none
	return upgrader.wire, nil
}

// refusal makes an *apierrors.StatusError of a response that is not 101.
func refusal(response *http.Response) error {
	defer response.Body.Close()                                    //nolint:errcheck // the connection is given up
	body, err := io.ReadAll(io.LimitReader(response.Body, 64<<10)) // a Status is a few hundred bytes
	if err != nil && len(body) == 0 {
		return fmt.Errorf("read answer %s: %w", response.Status, err)
	}
	status := metav1.Status{}
	if json.Unmarshal(body, &status) != nil || status.Kind != "Status" {
		text, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
		status = metav1.Status{Message: strings.TrimSpace(response.Status + " " + text)}
	}
	status.Code = int32(response.StatusCode)
	return &apierrors.StatusError{ErrStatus: status}
}

// answered returns the API server's own refusal in err, if it gave one.
func answered(err error) (metav1.Status, bool) {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return status.Status(), true
	}
	return metav1.Status{}, false
}

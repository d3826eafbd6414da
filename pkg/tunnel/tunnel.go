// Package tunnel reaches a port of a pod, or a command in it, through the API server.
//
// Its one idea: a pod's port is a net.Conn. There is no local port and no
// shared multiplexed connection: each Conn has an upgraded connection of its own,
// because spdystream has no flow control per stream and one stalled reader would
// stall all the others.
package tunnel

import (
	"context"
	"io"
	"log/slog"
	"net"

	"k8s.io/client-go/rest"
)

// Pod names a pod.
type Pod struct {
	Namespace, Name string
}

// String is "namespace/name".
func (p Pod) String() string { return p.Namespace + "/" + p.Name }

// Options says how a Dialer dials.
type Options struct {
	// Alternatives are further API servers (https URLs of the same cluster), tried in
	// order when the kubeconfig's own can't be reached or can't serve the upgrade.
	Alternatives []string
	// Logger gets what was tried, at debug level. Nil: nothing is logged.
	Logger *slog.Logger
}

// Dialer opens streams to pods through the API server that config names.
type Dialer struct{}

// New checks config and returns a Dialer; it does no I/O.
func New(config *rest.Config, options Options) (*Dialer, error) {
	panic("tunnel: internal error: not written yet")
}

// DialContext connects to port of pod. ctx bounds the set-up only, never the
// life of the returned connection. Errors are *Error.
func (d *Dialer) DialContext(ctx context.Context, pod Pod, port int) (net.Conn, error) {
	panic("tunnel: internal error: not written yet")
}

// Exec runs argv in a container of pod, without a shell, and writes its standard
// output to stdout. A command that ends with another code than 0 is an *ExitError
// that holds its standard error.
func (d *Dialer) Exec(ctx context.Context, pod Pod, container string, argv []string, stdout io.Writer) error {
	panic("tunnel: internal error: not written yet")
}

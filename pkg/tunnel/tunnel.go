// Package tunnel reaches a port of a pod, or a command in it, through the API server.
//
// Its one idea: a pod's port is a net.Conn. There is no local port and no
// shared multiplexed connection: each Conn has an upgraded connection of its own,
// because spdystream has no flow control per stream and one stalled reader would
// stall all the others.
package tunnel

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

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
	// order when the kubeconfig's own can't be reached, can't serve the upgrade or is
	// slow to.
	Alternatives []string
	// Logger gets what was tried, at debug level. Nil: nothing is logged.
	Logger *slog.Logger
}

// Dialer opens streams to pods through the API server that config names. It holds no
// connection and is safe for concurrent use.
type Dialer struct {
	servers   []server // the kubeconfig's own first
	headStart time.Duration
	log       *slog.Logger
	used      atomic.Int32 // the index of the server that served last
}

// New checks config and returns a Dialer; it does no I/O.
func New(config *rest.Config, options Options) (*Dialer, error) {
	servers, err := listServers(config, options.Alternatives)
	if err != nil {
		return nil, err
	}
	log := options.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Dialer{servers: servers, headStart: headStart, log: log}, nil
}

// Server is the URL of the API server that served last, at first the kubeconfig's own.
func (d *Dialer) Server() string { return d.servers[d.used.Load()].url.String() }

// DialContext connects to port of pod. ctx bounds the set-up only, never the
// life of the returned connection. Errors are *Error.
//
// That nothing listens on the port shows at the first Read or Write: only then has
// the node tried it.
func (d *Dialer) DialContext(ctx context.Context, pod Pod, port int) (net.Conn, error) {
	target := target{pod, port}
	if port < 1 || port > 65535 {
		return nil, target.error(errors.New("no such port"))
	}
	opened, err := d.firstSession(ctx, target)
	if err != nil {
		return nil, target.setupError(err)
	}
	return newConn(opened), nil
}

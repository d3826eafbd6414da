// Package relay is the node's end of the tunnel: a short-lived pod that speaks TLS with
// the node's own client certificate to the etcd member beside it.
//
// Its one idea: the certificates' keys never leave the node. Caller and relay know each
// other by keys that live as long as one run, each pinned at the other's end; between them
// goes compressed what the member and the caller say. The package holds both ends of that
// wire, and the pod with its life.
package relay

import "errors"

var (
	// ErrForeign: what answers is not the relay that was started, or does not take this
	// caller for the one it was started for.
	ErrForeign = errors.New("not the relay of this run")
	// ErrTarget: the relay was not started for that address.
	ErrTarget = errors.New("no target of this relay")
	// ErrMember: the relay works, but could not connect to the member.
	ErrMember = errors.New("the relay can't reach the member")
	// ErrNotStarted: the relay's pod did not come to run.
	ErrNotStarted = errors.New("the relay did not start")
	// ErrClosed: the relay was closed.
	ErrClosed = errors.New("the relay is closed")
)

// Port is where the relay listens, on the loopback of its own pod: only a port-forward
// gets there.
const Port = 7379

// protocol is the ALPN between caller and relay. A change of the wire gets another number.
const protocol = "kubectl-etcd-relay/1"

// The protocols that a stream may speak to its member.
const (
	HTTP2 = "h2"       // gRPC
	HTTP1 = "http/1.1" // /metrics, /debug/vars
)

package cmd

import (
	"context"
	"io"
	"net"

	"k8s.io/client-go/rest"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/discover"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/relay"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/tunnel"
)

// ways are what a target does its work with; tests put their own in place.
type ways struct {
	find   func(context.Context, discover.Client, discover.Options) (*discover.Found, error)
	dialer func(*rest.Config, tunnel.Options) (podDialer, error)
	// secrets reads certificates out of the cluster.
	secrets func(context.Context, discover.Client, discover.Cluster, discover.CredentialOptions) (*discover.Secret, error)
	// startRelay starts a relay on a node.
	startRelay func(context.Context, relay.Options) (memberRelay, error)
	// readFiles reads a node's files through a pod.
	readFiles func(context.Context, relay.HelperOptions) (*relay.Files, error)
	// interactive tells whether somebody can be asked.
	interactive func() bool
}

// podDialer is what a tunnel.Dialer does.
type podDialer interface {
	DialContext(ctx context.Context, pod tunnel.Pod, port int) (net.Conn, error)
	Exec(ctx context.Context, pod tunnel.Pod, container string, argv []string, stdout io.Writer) error
}

func newTarget(s *session) target {
	return target{session: s, ways: ways{
		find: discover.Find,
		dialer: func(config *rest.Config, options tunnel.Options) (podDialer, error) {
			return tunnel.New(config, options)
		},
		secrets: discover.Credentials,
		startRelay: func(ctx context.Context, options relay.Options) (memberRelay, error) {
			started, err := relay.Start(ctx, options)
			if err != nil {
				return nil, err // and no nil *Relay in it
			}
			return started, nil
		},
		readFiles:   relay.ReadFiles,
		interactive: s.atTerminal,
	}}
}

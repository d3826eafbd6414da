package cmd

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/relay"
)

// After how long without a byte the relay ends: while its caller is there, and once the
// caller's connections have all gone.
const (
	relayIdle  = 60 * time.Second
	relayAlone = 20 * time.Second
)

const relayExample = `  # What a relay's pod runs; pin and addresses come from whoever starts it
  kubectl-etcd relay --caller sha256/… --member 10.0.0.1:2379 --cacert /etcd/ca --cert /etcd/cert --key /etcd/key`

// relayServerOptions are those of "kubectl-etcd relay", which runs in a pod beside a member.
type relayServerOptions struct {
	*session
	caller   string
	listen   string
	lifetime time.Duration
	files    tlsFiles
	members  []string
	peers    []string

	pin relay.Pin
}

// newRelayCommand builds "kubectl etcd relay", which people don't type.
func newRelayCommand(s *session) *cobra.Command {
	o := &relayServerOptions{session: s}
	c := &cobra.Command{
		Use:     "relay",
		Short:   "The node's end of the tunnel, run in a pod by --relay",
		Example: relayExample,
		Hidden:  true,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.complete(); err != nil {
				return err
			}
			return o.run(c.Context())
		},
	}
	c.Flags().StringVar(&o.caller, "caller", "", "the pin of the only key that is let in")
	c.Flags().StringVar(&o.listen, "listen", net.JoinHostPort("127.0.0.1", strconv.Itoa(relay.Port)), "where to listen")
	c.Flags().DurationVar(&o.lifetime, "lifetime", time.Hour, "when to end at the latest")
	c.Flags().StringVar(&o.files.ca, "cacert", "", "file with the authority of the members' certificates")
	c.Flags().StringVar(&o.files.cert, "cert", "", "file with the client certificate")
	c.Flags().StringVar(&o.files.key, "key", "", "file with its key")
	c.Flags().StringSliceVar(&o.members, "member", nil, "address that streams may go to")
	c.Flags().StringSliceVar(&o.peers, "peer", nil, "address that may be probed")
	return c
}

func (o *relayServerOptions) complete() (err error) {
	if o.pin, err = relay.ParsePin(o.caller); err != nil {
		return usagef("--caller: %w", err)
	}
	if o.files.ca == "" || o.files.cert == "" || o.files.key == "" {
		return usagef("--cacert, --cert and --key are needed")
	}
	return nil
}

// run serves until nobody needs the relay any more. Its key is all that it says.
func (o *relayServerOptions) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, o.lifetime)
	defer cancel()
	bundle, err := o.files.read()
	if err != nil {
		return err
	}
	config, err := bundle.tlsConfig(time.Now())
	if err != nil {
		return err
	}
	key, err := relay.NewKey()
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if _, err := fmt.Fprintln(o.Out, relay.LogLine(key.Pin())); err != nil {
		return err
	}
	server := &relay.Server{
		Key: key, Caller: o.pin, Members: o.members, Peers: o.peers, TLS: config, Idle: relayIdle, Alone: relayAlone,
	}
	return server.Serve(ctx, listener)
}

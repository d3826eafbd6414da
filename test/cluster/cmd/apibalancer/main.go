// Command apibalancer is the load balancer in front of a test cluster's API
// servers. It runs in the cluster's lab network and takes over, as file
// descriptor 3, a listener on the machine's own loopback: so the cluster can be
// reached without a route to it.
//
//	apibalancer LAB-ADDRESS BACKEND...
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/kubectl-etcd/kubectl-etcd/test/cluster/balancer"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("want a lab address and at least one backend, got %q", args)
	}
	inherited := os.NewFile(3, "loopback listener")
	outside, err := net.FileListener(inherited)
	if err != nil {
		return fmt.Errorf("take over the loopback listener: %w", err)
	}
	if err := inherited.Close(); err != nil {
		return err
	}
	inside, err := net.Listen("tcp", args[0])
	if err != nil {
		return fmt.Errorf("listen in the lab: %w", err)
	}
	return balancer.New(args[1:]).Serve(ctx, outside, inside)
}

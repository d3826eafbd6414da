//go:build linux

// Command labwires holds up and loses what test nodes send to one another. It runs in
// the network of a cluster's lab and takes requests on a Unix socket:
//
//	labwires SOCKET
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/kubectl-etcd/kubectl-etcd/test/cluster/wire"
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
	if len(args) != 1 {
		return fmt.Errorf("want a socket, got %q", args)
	}
	if err := os.Remove(args[0]); err != nil && !errors.Is(err, fs.ErrNotExist) { // of one that was killed
		return err
	}
	listener, err := net.Listen("unix", args[0])
	if err != nil {
		return fmt.Errorf("listen for requests: %w", err)
	}
	// A wire that sleeps keeps a processor of the runtime for up to 10 ms, until another may
	// have it: there are enough for each of six wires, whose frames then wait for none.
	runtime.GOMAXPROCS(64)
	wires := &wire.Wires{Open: wire.OpenTap, Sleep: wire.Sleep}
	return wires.Serve(ctx, listener)
}

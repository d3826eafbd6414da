// Command kubectl-etcd is `kubectl etcd`: it finds a cluster's etcd, says how it is,
// backs it up and restores it.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/cmd"
)

func main() {
	os.Exit(run())
}

// run lives until the command ends or is interrupted; a second interrupt kills.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	return cmd.Main(ctx, os.Args[1:], streams)
}

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
	surviveBrokenPipes()
	ctx, release := untilHangUp(context.Background())
	defer release()
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	return cmd.Main(ctx, os.Args[1:], streams)
}

// surviveBrokenPipes makes a write to a closed stdout or stderr an error instead of the
// process's end, which would leave a half-written file behind. SIGPIPE is taken rather
// than ignored since children inherit what is ignored; nobody reads the channel.
func surviveBrokenPipes() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
}

// untilHangUp ends with the session, unless nohup asked to outlive it. A second hang-up
// must not kill: the kernel and the shell each send one when a session drops.
func untilHangUp(ctx context.Context) (context.Context, context.CancelFunc) {
	if signal.Ignored(syscall.SIGHUP) {
		return context.WithCancel(ctx)
	}
	return signal.NotifyContext(ctx, syscall.SIGHUP)
}

//go:build unix

// Command bench measures the product against its peers on one real cluster, in one
// run, and prints ratios: absolute figures say more about the machine.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/test/cluster"
)

func main() {
	if err := enterTrap(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(125)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	size := flag.Int("mib", 400, "size of the database, MiB")
	rounds := flag.Int("rounds", 5, "rounds; each measures every contestant once")
	plugin := flag.String("plugin", "bin/kubectl-etcd", "the built plugin")
	only := flag.String("only", "", "one part: fitness, look, relay, snapshot or archive")
	keys := flag.Int("keys", 100_000, "archive: keys of the base, 1 KiB each")
	events := flag.Int("events", 200_000, "archive: events after it")
	profile := flag.String("cpuprofile", "", "archive: write a CPU profile of the restore into this file")
	flag.Parse()
	if *only == "" || *only == "fitness" {
		if err := benchFitness(ctx, *plugin); err != nil {
			fmt.Fprintln(os.Stderr, "bench: fitness:", err)
			os.Exit(1)
		}
	}
	if *only == "" || *only == "look" {
		if err := benchLook(ctx, *plugin, *rounds); err != nil {
			fmt.Fprintln(os.Stderr, "bench: look:", err)
			os.Exit(1)
		}
	}
	if *only == "" || *only == "archive" {
		if err := benchArchive(ctx, &archiveBench{plugin: *plugin, keys: *keys, events: *events, profile: *profile}); err != nil {
			fmt.Fprintln(os.Stderr, "bench: archive:", err)
			os.Exit(1)
		}
	}
	if *only == "archive" || *only == "look" || *only == "fitness" {
		return
	}
	if err := run(ctx, *only, *plugin, *size, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, only, plugin string, mib, rounds int) (err error) {
	c, err := cluster.Up(ctx, cluster.Options{Name: "bench", Nodes: 1, Log: os.Stderr})
	if err != nil {
		return err
	}
	defer func() {
		down, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
		defer cancel()
		if e := c.Down(down); err == nil {
			err = e
		}
	}()
	// The relay's first: what the other writes is random, and Kubernetes' objects are not.
	if only != "snapshot" {
		if err := benchRelay(ctx, c, plugin, min(mib, 200), rounds); err != nil {
			return fmt.Errorf("relay: %w", err)
		}
	}
	if only == "relay" {
		return nil
	}
	return benchSnapshot(ctx, c, plugin, mib, rounds)
}

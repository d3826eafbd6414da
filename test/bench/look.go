//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/kubectl-etcd/kubectl-etcd/test/cluster/binaries"
)

// farAway is how long what one of the members says, or hears, is held in each direction.
const farAway = 10 * time.Millisecond

// benchLook compares what status and health take on three members, all near and one of them
// far away, with what they take on the slowest of them alone: all are asked at once.
func benchLook(ctx context.Context, plugin string, rounds int) (err error) {
	dir, err := os.MkdirTemp("", "kubectl-etcd-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	urls, stop, err := startThree(ctx, dir)
	if err != nil {
		return err
	}
	defer stop()
	if err := compareLooks(ctx, plugin, rounds, "all near", urls); err != nil {
		return err
	}
	far, err := holdBack(ctx, strings.TrimPrefix(urls[2], "http://"), farAway)
	if err != nil {
		return err
	}
	urls[2] = "http://" + far
	return compareLooks(ctx, plugin, rounds, fmt.Sprintf("one %s away", 2*farAway), urls)
}

func compareLooks(ctx context.Context, plugin string, rounds int, how string, urls []string) error {
	for _, args := range [][]string{{"status"}, {"health", "--sample", "0", "--fail-on", "never"}} {
		all, alone := []time.Duration{}, make([][]time.Duration, len(urls))
		for range rounds {
			took, err := timeLook(ctx, plugin, args, urls...)
			if err != nil {
				return err
			}
			all = append(all, took)
			for i, url := range urls {
				if took, err = timeLook(ctx, plugin, args, url); err != nil {
					return err
				}
				alone[i] = append(alone[i], took)
			}
		}
		slowest := time.Duration(0)
		for _, times := range alone {
			slowest = max(slowest, median(times))
		}
		_, err := fmt.Fprintf(os.Stdout, "%s of three members, %s: %s; of the slowest alone: %s; ratio %.2f (asked: at most 1.5)\n",
			args[0], how, median(all).Round(time.Millisecond), slowest.Round(time.Millisecond), float64(median(all))/float64(slowest))
		if err != nil {
			return err
		}
	}
	return nil
}

func median(times []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	return sorted[len(sorted)/2]
}

func timeLook(ctx context.Context, plugin string, args []string, urls ...string) (time.Duration, error) {
	c := exec.CommandContext(ctx, plugin, append(args, "-o", "json", "--endpoints", strings.Join(urls, ","))...)
	c.Env = append(os.Environ(), "KUBECONFIG="+os.DevNull)
	began := time.Now()
	if out, err := c.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%s: %w: %s", c, err, out)
	}
	return time.Since(began), nil
}

// startThree starts a cluster of three etcds, and returns their client URLs.
func startThree(ctx context.Context, dir string) (urls []string, stop func(), err error) {
	bin, err := binaries.Etcd(ctx, os.Stderr, binaries.EtcdVersion)
	if err != nil {
		return nil, nil, err
	}
	var peers, members []string
	for i := range 3 {
		urls, peers = append(urls, freeURL()), append(peers, freeURL())
		members = append(members, fmt.Sprintf("m%d=%s", i, peers[i]))
	}
	var started []*exec.Cmd
	stop = func() {
		for _, c := range started {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
	}
	for i := range 3 {
		name := fmt.Sprintf("m%d", i)
		c := exec.CommandContext(ctx, filepath.Join(bin, "etcd"), "--name="+name, "--data-dir="+filepath.Join(dir, name), "--log-level=error",
			"--initial-cluster="+strings.Join(members, ","), "--initial-advertise-peer-urls="+peers[i], "--listen-peer-urls="+peers[i],
			"--advertise-client-urls="+urls[i], "--listen-client-urls="+urls[i])
		c.Stderr = os.Stderr
		if err := c.Start(); err != nil {
			stop()
			return nil, nil, err
		}
		started = append(started, c)
	}
	if err := awaitThree(ctx, urls); err != nil {
		stop()
		return nil, nil, err
	}
	return urls, stop, nil
}

func awaitThree(ctx context.Context, urls []string) error {
	client, err := clientv3.New(clientv3.Config{Endpoints: urls, DialTimeout: 20 * time.Second})
	if err != nil {
		return err
	}
	defer client.Close() //nolint:errcheck // it was only asked
	for {
		if _, err = client.Put(ctx, "/registry/x", "y"); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// holdBack is an address whose connections go to another, each byte held for delay in each
// direction. It serves until ctx ends.
func holdBack(ctx context.Context, to string, delay time.Duration) (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	context.AfterFunc(ctx, func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close() //nolint:errcheck // nobody is told
				other, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer other.Close() //nolint:errcheck // nobody is told
				var ways sync.WaitGroup
				ways.Go(func() { carry(other, conn, delay) })
				ways.Go(func() { carry(conn, other, delay) })
				ways.Wait()
			}()
		}
	}()
	return listener.Addr().String(), nil
}

// piece is what was read at once, and when it goes on.
type piece struct {
	data []byte
	due  time.Time
}

func carry(to, from net.Conn, delay time.Duration) {
	pieces := make(chan piece, 1024)
	go func() {
		defer close(pieces)
		for {
			buffer := make([]byte, 32<<10)
			n, err := from.Read(buffer)
			if n > 0 {
				pieces <- piece{buffer[:n], time.Now().Add(delay)}
			}
			if err != nil {
				return
			}
		}
	}()
	for p := range pieces {
		time.Sleep(time.Until(p.due))
		if _, err := to.Write(p.data); err != nil {
			break
		}
	}
	_ = to.Close()
	_ = from.Close()
	for range pieces { // the reader may wait to be heard
	}
}

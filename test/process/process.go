//go:build unix

// Package process runs a server for a test, as a child process that ends with it.
package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Serve starts the server that command makes for an address (127.0.0.1:PORT) that nobody
// listens on, and waits until ready gives no error.
func Serve(t testing.TB, command func(address string) *exec.Cmd, ready func(ctx context.Context, address string) error) (address string) {
	t.Helper()
	var failed error
	for range 3 { // the port may be taken before the server has it
		address := freeAddress(t)
		p := Start(t, command(address))
		err := p.Until(t.Context(), func(ctx context.Context) error { return ready(ctx, address) })
		if err == nil {
			return address
		}
		failed = errors.Join(failed, err)
	}
	t.Fatal(failed)
	return ""
}

func freeAddress(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return listener.Addr().String()
}

// Process is a server that was started.
type Process struct {
	name  string
	ended chan struct{} // closed when it has
}

// Start starts cmd, whose output it takes: a test that fails shows it.
func Start(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &Process{name: filepath.Base(cmd.Path), ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		_ = cmd.Wait() // it is killed: its exit code says so
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // or it has ended
		<-p.ended
		if t.Failed() {
			t.Logf("%v\n%s", cmd.Args, log.String())
		}
	})
	return p
}

// Until waits until ready gives no error, for half a minute at most.
func (p *Process) Until(ctx context.Context, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		err := ready(ctx)
		select {
		case <-p.ended: // what answered is another
			return fmt.Errorf("wait for %s: it ended", p.name)
		default:
		}
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", p.name, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Answers is no error if a GET of location is answered with 200.
func Answers(ctx context.Context, location string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, location, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		err = fmt.Errorf("get %s: %s", location, response.Status)
	}
	return errors.Join(err, response.Body.Close())
}

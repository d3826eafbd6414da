//go:build unix

package main

import (
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
)

// TestSignals ends a backup that waits for its member: nothing is left behind.
func TestSignals(t *testing.T) {
	// These tests may run under nohup; what is ignored is inherited, what is taken is not.
	hangUps := make(chan os.Signal, 1)
	signal.Notify(hangUps, syscall.SIGHUP)
	defer signal.Stop(hangUps)
	for _, test := range []struct {
		name    string
		shell   string // what becomes the command
		timeout string
		signals []os.Signal
		code    int
	}{
		{"interrupt", `exec "$@"`, "1m", []os.Signal{os.Interrupt}, 130},
		{"terminate", `exec "$@"`, "1m", []os.Signal{syscall.SIGTERM}, 130},
		// The kernel and the shell each send one when a session drops.
		{"hang up twice", `exec "$@"`, "1m", []os.Signal{syscall.SIGHUP, syscall.SIGHUP}, 130},
		{"hang up under nohup", `trap "" HUP; exec "$@"`, "1s", []os.Signal{syscall.SIGHUP}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			silent, asked := silentMember(t)
			dir := t.TempDir()
			c := exec.Command("sh", "-c", test.shell, "sh", "kubectl-etcd", "backup", "-f", filepath.Join(dir, "x.db"),
				"--endpoints", "http://"+silent, "--timeout", test.timeout)
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			<-asked
			for _, s := range test.signals {
				if err := c.Process.Signal(s); err != nil {
					t.Fatal(err)
				}
			}
			_ = c.Wait() // the state says it
			if code := c.ProcessState.ExitCode(); code != test.code {
				t.Errorf("%v, want exit code %d", c.ProcessState, test.code)
			}
			if left := names(t, dir); left != "" {
				t.Errorf("left behind: %s", left)
			}
		})
	}
}

// silentMember takes connections and says nothing; asked is closed at the first.
func silentMember(t *testing.T) (addr string, asked chan struct{}) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked = make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for first := true; ; first = false {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			if first {
				close(asked)
			}
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-ended
	})
	return listener.Addr().String(), asked
}

// TestBrokenPipe runs backups whose reader has gone, as "| head" goes.
func TestBrokenPipe(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
	endpoint := "http://" + cluster.Members[0].Addr()

	t.Run("into a file", func(t *testing.T) {
		dir, gone := t.TempDir(), brokenPipe(t)
		c := exec.Command("kubectl-etcd", "backup", "-f", filepath.Join(dir, "x.db"), "--endpoints", endpoint)
		c.Stdout, c.Stderr = gone, gone
		_ = c.Run() // the state says it
		if code, left := c.ProcessState.ExitCode(), names(t, dir); code != 1 || left != "x.db" {
			t.Errorf("%v, left %q; want exit code 1, and the file alone", c.ProcessState, left)
		}
	})
	t.Run("into the pipe", func(t *testing.T) {
		var stderr bytes.Buffer
		c := exec.Command("kubectl-etcd", "backup", "-f", "-", "--endpoints", endpoint)
		c.Stdout, c.Stderr = brokenPipe(t), &stderr
		_ = c.Run() // the state says it
		if code := c.ProcessState.ExitCode(); code != 1 || strings.Contains(stderr.String(), "error:") {
			t.Errorf("%v, want exit code 1 and no error in:\n%s", c.ProcessState, stderr.String())
		}
	})
}

// brokenPipe is the end to write of a pipe that nobody reads.
func brokenPipe(t *testing.T) io.Writer {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return w
}

// names are the files in a folder.
func names(t *testing.T, dir string) string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, entry := range entries {
		all = append(all, entry.Name())
	}
	return strings.Join(all, " ")
}

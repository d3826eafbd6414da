package main

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
)

// TestInterruptWhileNobodyReads: the first interrupt ends a backup that hangs in its
// write to standard output.
func TestInterruptWhileNobodyReads(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
	cluster.Fill(50, 10<<10)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	capacity, err := unix.FcntlInt(w.Fd(), unix.F_GETPIPE_SZ, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command("kubectl-etcd", "backup", "-f", "-", "--endpoints", "http://"+cluster.Members[0].Addr())
	c.Stdout = w
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = c.Wait() // the state says it
	}()
	defer func() {
		_ = c.Process.Kill() // it may have ended
		<-ended
	}()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	awaitFull(t, r, capacity)
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Fatal("it still hangs")
	}
	if code := c.ProcessState.ExitCode(); code != 130 {
		t.Errorf("%v, want exit code 130", c.ProcessState)
	}
}

// awaitFull waits until a pipe holds what it can.
func awaitFull(t *testing.T, r *os.File, capacity int) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		waiting, err := unix.IoctlGetInt(int(r.Fd()), unix.TIOCINQ)
		if err != nil {
			t.Fatal(err)
		}
		if waiting == capacity {
			return
		}
	}
	t.Fatal("the pipe does not fill")
}

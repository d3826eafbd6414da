//go:build unix

package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// gone reports that a file of /proc or /sys belonged to something that has ended.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.ENODEV)
}

// signalIf sends sig to pid if still is true of it. The process is held (by a
// pidfd) before still looks at it, so a pid that was given to another process
// meanwhile is never hit.
func signalIf(pid int, still func(pid int) bool, sig os.Signal) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return nil // ended already
	}
	defer p.Release() //nolint:errcheck // a pidfd that is not used again
	if !still(pid) {
		return nil
	}
	if err := p.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) && !gone(err) {
		return fmt.Errorf("signal process %d: %w", pid, err)
	}
	return nil
}

// killAll kills what list returns, again and again, until it returns nothing.
func killAll(ctx context.Context, list func() ([]int, error)) error {
	for {
		pids, err := list()
		if err != nil || len(pids) == 0 {
			return err
		}
		for _, pid := range pids {
			listed := func(pid int) bool {
				now, err := list()
				return err == nil && slices.Contains(now, pid)
			}
			if err := signalIf(pid, listed, syscall.SIGKILL); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("end processes %v: %w", pids, ctx.Err())
		case <-time.After(30 * time.Millisecond):
		}
	}
}

// arguments are the command line of pid; none when it has ended.
func arguments(pid int) []string {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || len(raw) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(raw), "\x00"), "\x00")
}

// programName is the base name of what pid runs, as its command line says.
func programName(pid int) string {
	args := arguments(pid)
	if len(args) == 0 {
		return ""
	}
	return filepath.Base(args[0])
}

// isInit reports that pid is process 1 of a pid namespace right below ours.
func isInit(pid int) bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(raw)) {
		if pids, ok := strings.CutPrefix(line, "NSpid:"); ok {
			fields := strings.Fields(pids) // outermost first
			return len(fields) == 2 && fields[1] == "1"
		}
	}
	return false
}

// processState is the letter of proc(5): R, S, D, T (stopped), Z …
func processState(pid int) byte {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// 12 (name, which may hold anything) S …
	if i := bytes.LastIndexByte(raw, ')'); i >= 0 && i+2 < len(raw) {
		return raw[i+2]
	}
	return 0
}

// networkProcesses lists the processes in the network namespace that file pins; none
// when the file is not such a pin.
func networkProcesses(file string) ([]int, error) {
	pin, err := os.Stat(file)
	if gone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		net, err := os.Stat(filepath.Join("/proc", e.Name(), "ns", "net"))
		if err == nil && os.SameFile(pin, net) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// run runs a command of the machine; what it printed is part of its error.
func run(ctx context.Context, name string, args ...string) error {
	_, err := output(exec.CommandContext(ctx, name, args...))
	return err
}

// output runs cmd in a process group of its own, so that all of it ends with
// ctx, and returns its stdout. The end of its stderr is part of the error.
func output(cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout = &stdout
	cmd.Stderr = &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second // a child that kept stdout open
	err := cmd.Run()
	if err != nil {
		what := strings.Join(cmd.Args, " ")
		if len(what) > 200 {
			what = what[:200] + "…"
		}
		err = fmt.Errorf("run %s: %w\n%s", what, err, tail(&stderr))
	}
	return stdout.String(), err
}

// tail is the end of what r holds, enough to see why something failed.
func tail(r io.Reader) string {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err.Error()
	}
	const enough = 3000
	if len(raw) > enough {
		raw = raw[len(raw)-enough:]
	}
	return string(raw)
}

// eventually calls done every interval until it says true, ctx ends, or limit passes.
func eventually(ctx context.Context, limit, interval time.Duration, what string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		ok, err := done()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w", what, errors.Join(ctx.Err(), err))
		case <-time.After(interval):
		}
	}
}

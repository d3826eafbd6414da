package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// trapArgument makes this program another, with the trap around it.
const trapArgument = "in-the-trap"

// trapped is a command that the kernel ends when it opens a socket. It takes no privileges.
func trapped(ctx context.Context, plugin string, args []string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return exec.CommandContext(ctx, self, append([]string{trapArgument, plugin}, args...)...), nil
}

func endedByTrap(s *os.ProcessState) bool {
	status, ok := s.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == unix.SIGSYS
}

// enterTrap turns this process into the command of its arguments, if it is told to, and
// returns then only if it can't.
func enterTrap() error {
	if len(os.Args) < 3 || os.Args[1] != trapArgument {
		return nil
	}
	if err := setTrap(); err != nil {
		return fmt.Errorf("set the trap: %w", err)
	}
	return syscall.Exec(os.Args[2], os.Args[2:], os.Environ())
}

// setTrap is seccomp(2): a filter on this thread, which what it executes inherits.
func setTrap() error {
	runtime.LockOSThread()
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the call's number
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.SYS_SOCKET},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_KILL_PROCESS},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return errno
	}
	return nil
}

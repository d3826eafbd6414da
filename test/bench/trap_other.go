//go:build unix && !linux

package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
)

func trapped(context.Context, string, []string) (*exec.Cmd, error) {
	return nil, errors.New("whether a socket is opened can be seen on Linux alone")
}

func endedByTrap(*os.ProcessState) bool { return false }

func enterTrap() error { return nil }

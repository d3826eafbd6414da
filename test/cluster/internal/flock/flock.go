//go:build unix

// Package flock is a lock between processes: a file held with flock(2).
//
// Its one idea: the kernel drops the lock when its holder dies, so a crash
// leaves nothing that a person has to remove.
package flock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// Lock is a held lock.
type Lock struct{ file *os.File }

// Acquire waits for the lock on the file at path, which it creates if need be.
// It fails only when ctx ends or the file cannot be opened.
func Acquire(ctx context.Context, path string) (*Lock, error) {
	for {
		lock, err := try(path)
		if err != nil {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if lock != nil {
			return lock, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("lock %s: %w", path, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// try returns nil, nil when somebody else holds the lock.
func try(path string) (*Lock, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, file.Close()
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if !stillAt(path, file) {
		// The last holder removed the file while we waited: this lock is on
		// an inode that nobody else can find any more.
		return nil, file.Close()
	}
	return &Lock{file}, nil
}

func stillAt(path string, file *os.File) bool {
	held, err := file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(held, there)
}

// Release gives the lock back; the file stays.
func (l *Lock) Release() error { return l.file.Close() }

// Remove gives the lock back and removes its file.
func (l *Lock) Remove() error {
	return errors.Join(os.Remove(l.file.Name()), l.file.Close())
}

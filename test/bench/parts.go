//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/pprof"
	"syscall"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/nameless"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
)

// parts restores once more, within this process, and says what each part of it takes: that
// is what limits it. With -cpuprofile it leaves a profile for go tool pprof.
func (b *archiveBench) parts(ctx context.Context) (err error) {
	a, contents, err := b.open(ctx)
	if err != nil {
		return err
	}
	last, _ := contents.Latest()
	chain, err := contents.Chain(last)
	if err != nil {
		return err
	}
	file, err := nameless.Create(b.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, nameless.Close(file)) }()
	stop, err := startProfile(b.profile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()

	var base *restore.Snapshot
	var moment *restore.Moment
	return errors.Join(
		timed("download, decrypt and verify the base", func() (err error) {
			base, err = restore.FetchBase(ctx, a, contents.Timeline.ID, chain.Base, file)
			return err
		}),
		timed("read the segments and write their records", func() (err error) {
			reading := restore.ReadChain(ctx, a, contents.Timeline.ID, chain)
			moment, err = restore.TurnInto(ctx, base, int64(last), reading.Next)
			return errors.Join(err, reading.Close())
		}),
		timed("read all back and compare the hash", func() error {
			_, err := restore.Prove(ctx, file, moment, 1)
			return err
		}),
	)
}

func timed(what string, do func() error) error {
	began, used := time.Now(), processTime()
	err := do()
	_, printed := fmt.Fprintf(os.Stdout, "restore, %s: %s (%s of CPU)\n", what, time.Since(began).Round(time.Millisecond), (processTime() - used).Round(time.Millisecond))
	return errors.Join(err, printed)
}

// processTime is the CPU that this process has used.
func processTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func startProfile(path string) (stop func() error, err error) {
	if path == "" {
		return func() error { return nil }, nil
	}
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() error { pprof.StopCPUProfile(); return file.Close() }, nil
}

//go:build unix

package flock_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/test/cluster/internal/flock"
)

func TestAcquireWaitsForTheHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	held, err := flock.Acquire(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := flock.Acquire(short, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("second Acquire: %v, want deadline exceeded", err)
	}
	if err := held.Release(); err != nil {
		t.Fatal(err)
	}
	again, err := flock.Acquire(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Remove the file is still there: %v", err)
	}
}

// A lock whose file is removed on release must still let in one at a time.
func TestRemoveKeepsOneHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	var inside atomic.Int32
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			lock, err := flock.Acquire(t.Context(), path)
			if err != nil {
				t.Error(err)
				return
			}
			if n := inside.Add(1); n != 1 {
				t.Errorf("%d holders at once", n)
			}
			time.Sleep(time.Millisecond) // long enough for a second holder to be seen
			inside.Add(-1)
			if err := lock.Remove(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

//go:build unix

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// watchMemory looks at a process's anonymous memory until the function is called, which gives
// the most that was seen, in MB.
func watchMemory(pid int) func() float64 {
	done, peak := make(chan struct{}), make(chan float64)
	go func() {
		most := 0.0
		ticker := time.NewTicker(5 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				peak <- most
				return
			case <-ticker.C:
				most = max(most, anonymous(pid))
			}
		}
	}()
	return func() float64 { close(done); return <-peak }
}

func anonymous(pid int) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, after, ok := strings.Cut(string(b), "RssAnon:")
	var kb float64
	if _, err := fmt.Sscan(after, &kb); !ok || err != nil {
		return 0
	}
	return kb * 1024 / 1e6
}

// lineBuffer keeps what a process prints.
type lineBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lineBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lineBuffer) wait(ctx context.Context, text string) error {
	for until := time.Now().Add(5 * time.Minute); time.Now().Before(until) && ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		l.mu.Lock()
		found := strings.Contains(l.buf.String(), text)
		l.mu.Unlock()
		if found {
			return nil
		}
	}
	return fmt.Errorf("waited in vain for %s in: %.2000s", text, l.buf.String())
}

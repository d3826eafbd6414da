package etcd

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestOverdueIsNoInterruption(t *testing.T) {
	canceled := fmt.Errorf("exec: %w", context.Canceled)
	late, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	if err := overdue(late, canceled); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		t.Errorf("past its deadline: %v", err)
	}
	interrupted, stop := context.WithCancel(t.Context())
	stop()
	if err := overdue(interrupted, canceled); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	if err := overdue(late, nil); err != nil {
		t.Errorf("no error became %v", err)
	}
}

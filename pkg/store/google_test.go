package store

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestGoogleGivesUp: Google's own client would ask without end.
func TestGoogleGivesUp(t *testing.T) {
	var asked atomic.Int32
	bucket := openAnswering(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		http.Error(w, "in trouble", http.StatusServiceUnavailable)
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := bucket.objects(ctx, ""); err == nil || asked.Load() != 4 {
		t.Errorf("asked %d times: %v, want an error after 4", asked.Load(), err)
	}
}

func TestGoogleWantsCredentials(t *testing.T) {
	t.Setenv("STORAGE_EMULATOR_HOST", "")
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(t.TempDir(), "none"))
	stdout := os.Stdout
	printed, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	os.Stdout = printed
	defer func() { os.Stdout = stdout }()
	if _, err := OpenBucket(t.Context(), "gs://archive/prefix", false); !errors.Is(err, ErrLocation) || !strings.Contains(err.Error(), "find Google's credentials") {
		t.Errorf("without credentials: %v, want ErrLocation", err)
	}
	if _, err := OpenBucket(t.Context(), "gs://archive/prefix?anonymous=true", false); err != nil {
		t.Errorf("anonymous: %v", err)
	}
	if got, err := os.ReadFile(printed.Name()); err != nil || len(got) != 0 {
		t.Errorf("on stdout is %q, %v", got, err)
	}
}

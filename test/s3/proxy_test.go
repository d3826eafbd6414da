//go:build unix

package s3_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/kubectl-etcd/kubectl-etcd/test/s3"
)

func TestProxy(t *testing.T) {
	server := s3.Start(t)
	server.Login(t)
	proxy := server.Faulty(t)
	way := proxied{server, proxy, open(t, server.URL("")), open(t, proxy.URL(""))}

	t.Run("healthy", way.healthy)
	t.Run("refuse", way.refuse)
	t.Run("delay", way.delay)
	t.Run("hang and give up", way.giveUp)
	t.Run("hang and go on", way.goOn)
	t.Run("cut", way.cut)
}

type proxied struct {
	server         *s3.Server
	proxy          *s3.Proxy
	direct, faulty *blob.Bucket
}

func (p proxied) healthy(t *testing.T) {
	for name, size := range sizes {
		p.wantPut(t, "healthy/with space & ü/"+name, size)
	}
}

func (p proxied) refuse(t *testing.T) {
	codes := map[int]gcerrors.ErrorCode{http.StatusForbidden: gcerrors.PermissionDenied, http.StatusInternalServerError: gcerrors.Unknown}
	for status, want := range codes {
		for name, size := range sizes {
			t.Run(http.StatusText(status)+" "+name, func(t *testing.T) {
				defer p.proxy.Heal()
				before := files(t, p.server)
				p.proxy.Refuse(status)
				if err := put(t.Context(), p.faulty, t.Name(), content(size, 'a')); gcerrors.Code(err) != want {
					t.Errorf("put: %v, want %v", err, want)
				}
				wantNone(t, p.faulty, t.Name())
				p.wantFiles(t, before)
				p.proxy.Heal()
				p.wantPut(t, t.Name(), size)
			})
		}
	}
}

func (p proxied) delay(t *testing.T) {
	defer p.proxy.Heal()
	const delay = 300 * time.Millisecond
	p.proxy.Delay(delay)
	started := time.Now()
	p.wantPut(t, "delayed", small)
	if took := time.Since(started); took < delay {
		t.Errorf("put took %s, want %s at least", took, delay)
	}
	ctx, cancel := context.WithTimeout(t.Context(), delay/3)
	defer cancel()
	if err := put(ctx, p.faulty, "delayed too long", content(small, 'a')); err == nil {
		t.Error("put came before the delay was over")
	}
	time.Sleep(delay)
	wantNone(t, p.direct, "delayed too long")
}

func (p proxied) giveUp(t *testing.T) {
	defer p.proxy.Heal()
	p.proxy.Hang()
	for name, size := range sizes {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if err := put(ctx, p.faulty, "given up/"+name, content(size, 'a')); err == nil {
			t.Error("put was answered")
		}
	}
	p.proxy.Heal()
	p.wantPut(t, "after", small) // nothing is held any more
	for name := range sizes {
		wantNone(t, p.direct, "given up/"+name)
	}
}

func (p proxied) goOn(t *testing.T) {
	defer p.proxy.Heal()
	p.proxy.Hang()
	answered := make(chan error, 1)
	go func() { answered <- put(t.Context(), p.faulty, "held", content(small, 'a')) }()
	select {
	case err := <-answered:
		t.Fatalf("put was answered: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	wantNone(t, p.direct, "held")
	p.proxy.Heal()
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	if _, err := p.direct.Attributes(t.Context(), "held"); err != nil {
		t.Error(err)
	}
}

func (p proxied) cut(t *testing.T) {
	for name, size := range sizes {
		t.Run(name, func(t *testing.T) {
			defer p.proxy.Heal()
			before := files(t, p.server)
			p.proxy.Cut(small / 2)
			if err := put(t.Context(), p.faulty, t.Name(), content(size, 'a')); err == nil {
				t.Error("put of more than was let through worked")
			}
			wantNone(t, p.faulty, t.Name())
			p.wantFiles(t, before)
			p.wantPut(t, t.Name()+"/short", small/4)
			p.proxy.Heal()
			p.wantPut(t, t.Name()+"/whole", size)
		})
	}
}

// wantPut puts through the proxy and looks past it.
func (p proxied) wantPut(t *testing.T, key string, size int) {
	t.Helper()
	if err := put(t.Context(), p.faulty, key, content(size, 'a')); err != nil {
		t.Fatal(err)
	}
	got, err := p.direct.Attributes(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if got.Size != int64(size) {
		t.Errorf("%s has %d bytes, want %d", key, got.Size, size)
	}
}

func (p proxied) wantFiles(t *testing.T, want []string) {
	t.Helper()
	if diff := cmp.Diff(want, files(t, p.server)); diff != "" {
		t.Errorf("left behind (+):\n%s", diff)
	}
}

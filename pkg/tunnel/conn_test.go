package tunnel

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"io"
	"math/rand"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// bothProtocols runs test over WebSocket and over the fallback.
func bothProtocols(t *testing.T, test func(t *testing.T, change func(*apiServer))) {
	t.Run("WebSocket", func(t *testing.T) { test(t, func(*apiServer) {}) })
	t.Run("SPDY", func(t *testing.T) { test(t, func(a *apiServer) { a.noWebSocket = true }) })
}

func TestConnCarriesBytesBothWays(t *testing.T) {
	bothProtocols(t, func(t *testing.T, change func(*apiServer)) {
		server := startAPIServer(t, startTCP(t, echo), change)
		c := server.dial(t)
		const size = 5<<20 + 123
		sent, got := sha256.New(), sha256.New()
		var sender sync.WaitGroup
		sender.Go(func() {
			source := io.LimitReader(rand.New(rand.NewSource(1)), size)
			if _, err := io.CopyBuffer(onlyWriter{c}, io.TeeReader(source, sent), make([]byte, 70_001)); err != nil {
				t.Error(err)
			}
		})
		n, err := io.CopyN(got, c, size)
		sender.Wait()
		if err != nil || n != size {
			t.Fatalf("%d bytes of %d came back: %v", n, size, err)
		}
		if !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
			t.Error("other bytes came back than were sent")
		}
		want := map[bool]string{false: "WebSocket", true: "SPDY"}[server.noWebSocket]
		if used := server.protocols.list(); used != want {
			t.Errorf("upgraded by %s, want %s", used, want)
		}
	})
}

type onlyWriter struct{ io.Writer }

func TestConnHalfClose(t *testing.T) {
	bothProtocols(t, func(t *testing.T, change func(*apiServer)) {
		address := startTCP(t, func(c *net.TCPConn) {
			question, _ := io.ReadAll(c) // until the client's end
			_, _ = c.Write(append([]byte("you said "), question...))
		})
		c := startAPIServer(t, address, change).dial(t)
		if _, err := io.WriteString(c, "hello"); err != nil {
			t.Fatal(err)
		}
		if err := c.(*conn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(c) // a clean end is io.EOF
		if err != nil || string(answer) != "you said hello" {
			t.Errorf("answer %q, %v", answer, err)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("read after the end: %v, want io.EOF", err)
		}
		if _, err := c.Write([]byte("x")); err == nil {
			t.Error("a write after CloseWrite succeeded")
		}
	})
}

func TestConnAddresses(t *testing.T) {
	server := startAPIServer(t, startTCP(t, echo), nil)
	c := server.dial(t)
	if got, want := c.RemoteAddr().String(), "pod kube-system/etcd-a:2379"; got != want {
		t.Errorf("remote address %q, want %q", got, want)
	}
	if got := c.LocalAddr().String(); !strings.HasPrefix(got, "127.0.0.1:") {
		t.Errorf("local address %q", got)
	}
}

func TestConnReportsTheNodesRefusal(t *testing.T) {
	bothProtocols(t, func(t *testing.T, change func(*apiServer)) {
		for _, closesData := range []bool{false, true} {
			server := startAPIServer(t, strings.TrimPrefix(closedPort(t), "https://"), func(a *apiServer) {
				a.closesData = closesData
				change(a)
			})
			c := server.dial(t)
			_, err := c.Read(make([]byte, 1))
			var e *Error
			if !errors.As(err, &e) || !errors.Is(err, ErrRefused) {
				t.Fatalf("closes data first %v: read: %v, want ErrRefused", closesData, err)
			}
			if !strings.Contains(e.Remote, "connection refused") || e.Pod != testPod || e.Port != 2379 {
				t.Errorf("error %+v does not hold the node's words", e)
			}
			if _, err := c.Write([]byte("x")); !errors.Is(err, ErrRefused) {
				t.Errorf("write: %v, want ErrRefused", err)
			}
		}
	})
}

// A connection that the pod resets half-way must not look like a clean end.
func TestConnResetByThePod(t *testing.T) {
	bothProtocols(t, func(t *testing.T, change func(*apiServer)) {
		for _, closesData := range []bool{false, true} {
			address := startTCP(t, func(c *net.TCPConn) {
				_, _ = io.WriteString(c, "half of")
				_, _ = c.Read(make([]byte, 1))
				_ = c.SetLinger(0) // so that closing resets
			})
			c := startAPIServer(t, address, func(a *apiServer) {
				a.closesData = closesData
				change(a)
			}).dial(t)
			if _, err := io.ReadFull(c, make([]byte, 7)); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, ErrDropped) {
				t.Errorf("closes data first %v: read: %v, want ErrDropped", closesData, err)
			}
		}
	})
}

func TestConnDropIsSeenAtOnceAndRedialWorks(t *testing.T) {
	bothProtocols(t, func(t *testing.T, change func(*apiServer)) {
		// The pod sends a little, reads nothing and never ends by itself.
		hold := make(chan struct{})
		address := startTCP(t, func(c *net.TCPConn) {
			_, _ = io.WriteString(c, "hello")
			<-hold
		})
		t.Cleanup(func() { close(hold) })
		server := startAPIServer(t, address, change)
		c := server.dial(t)
		if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		failures := make(chan error, 2)
		go func() {
			_, err := c.Read(make([]byte, 1))
			failures <- err
		}()
		go func() {
			for {
				if _, err := c.Write(make([]byte, 1<<20)); err != nil { // blocks sooner or later
					failures <- err
					return
				}
			}
		}()
		time.Sleep(50 * time.Millisecond) // so that both are most likely blocked; right either way
		server.network.cut()
		for range 2 {
			if err := <-failures; !errors.Is(err, ErrDropped) || errors.Is(err, io.EOF) {
				t.Errorf("after the drop: %v, want ErrDropped", err)
			}
		}
		again := server.dial(t)
		if _, err := io.ReadFull(again, make([]byte, 5)); err != nil {
			t.Errorf("after redialling: %v", err)
		}
	})
}

func TestConnDeadlines(t *testing.T) {
	server := startAPIServer(t, startTCP(t, echo), nil)
	c := server.dial(t)
	buffer := make([]byte, 8)

	if err := c.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	_, err := c.Read(buffer) // blocks until the deadline
	var timeout net.Error
	if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Fatalf("read past its deadline: %v", err)
	}
	if _, err := c.Write([]byte("kept")); err != nil { // the other direction has none
		t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(buffer); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read with a past deadline: %v", err)
	}
	if _, err := c.Write([]byte("lost")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("write with a past deadline: %v", err)
	}
	if err := c.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("both")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, buffer); err != nil || string(buffer) != "keptboth" {
		t.Errorf("after the deadline was lifted: %q, %v", buffer, err)
	}
}

func TestConnDeadlineWakesABlockedRead(t *testing.T) {
	c := startAPIServer(t, startTCP(t, silent), nil).dial(t)
	failed := make(chan error, 1)
	go func() {
		_, err := c.Read(make([]byte, 1))
		failed <- err
	}()
	if err := c.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("blocked read: %v", err)
	}
}

func TestConnWriteDeadlineCutsABlockedWrite(t *testing.T) {
	hold := make(chan struct{})
	address := startTCP(t, func(*net.TCPConn) { <-hold }) // never reads
	t.Cleanup(func() { close(hold) })
	c := startAPIServer(t, address, nil).dial(t)
	failed := make(chan error, 1)
	var written atomic.Int64
	go func() {
		for {
			n, err := c.Write(make([]byte, bufferSize))
			if err != nil {
				failed <- err
				return
			}
			written.Add(int64(n))
		}
	}()
	eventually(t, "the write blocks", func() bool {
		before := written.Load()
		time.Sleep(300 * time.Millisecond)
		return before > 0 && written.Load() == before
	})
	if err := c.SetWriteDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("blocked write: %v", err)
	}
}

func TestConnTLSHandshakeDeadline(t *testing.T) {
	c := startAPIServer(t, startTCP(t, silent), nil).dial(t)
	if err := c.SetDeadline(time.Now().Add(30 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	err := tls.Client(c, &tls.Config{ServerName: "localhost"}).Handshake()
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("handshake with a pod that says nothing: %v", err)
	}
}

func TestConnCloseEndsEverything(t *testing.T) {
	bothProtocols(t, func(t *testing.T, change func(*apiServer)) {
		hold := make(chan struct{})
		address := startTCP(t, func(c *net.TCPConn) { // sends without end, reads nothing
			for {
				if _, err := c.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		})
		defer close(hold)
		server := startAPIServer(t, address, change)
		dialer := server.dialer(t, Options{})
		for name, use := range map[string]func(net.Conn){
			"unused":        func(net.Conn) {},
			"blocked write": func(c net.Conn) { go c.Write(make([]byte, 64<<20)) }, //nolint:errcheck // ended by Close
			"read half-way": func(c net.Conn) { _, _ = io.CopyN(io.Discard, c, 1<<20) },
			"with deadline": func(c net.Conn) { _ = c.SetDeadline(time.Now().Add(time.Hour)) },
		} {
			c, err := dialer.DialContext(t.Context(), testPod, 2379)
			if err != nil {
				t.Fatal(err)
			}
			use(c)
			if err := c.Close(); err != nil {
				t.Errorf("%s: close: %v", name, err)
			}
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s: read after close: %v", name, err)
			}
			if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s: write after close: %v", name, err)
			}
			if err := c.Close(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s: second close: %v", name, err)
			}
		}
		eventually(t, "our goroutines end", func() bool { return len(ourGoroutines()) == 0 })
		eventually(t, "the server's connections end", func() bool { return server.network.count() == 0 })
	})
}

// ourGoroutines returns the stacks of goroutines that run a session's or a dial's code.
func ourGoroutines() []string {
	buffer := make([]byte, 4<<20)
	var found []string
	for _, stack := range strings.Split(string(buffer[:runtime.Stack(buffer, true)]), "\n\n") {
		if strings.Contains(stack, "tunnel.(*session)") || strings.Contains(stack, "tunnel.server.") || strings.Contains(stack, "tunnel.(*race)") ||
			strings.Contains(stack, "tunnel.stream.") {
			found = append(found, stack)
		}
	}
	return found
}

func TestConnsDoNotDelayEachOther(t *testing.T) {
	// Every pod sends 2 MiB; one conn is not read.
	const size = 2 << 20
	address := startTCP(t, func(c *net.TCPConn) { _, _ = c.Write(make([]byte, size)) })
	server := startAPIServer(t, address, nil)
	dialer := server.dialer(t, Options{})
	stalled := server.dial(t)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			c, err := dialer.DialContext(t.Context(), testPod, 2379)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			if n, err := io.Copy(io.Discard, io.LimitReader(c, 1<<18)); err != nil || n != 1<<18 {
				t.Errorf("%d bytes, %v", n, err)
			}
		})
	}
	all.Wait()
	if n, err := io.Copy(io.Discard, stalled); err != nil || n != size { // nothing of it was lost
		t.Errorf("stalled one: %d bytes, %v", n, err)
	}
}

func TestDialContextBoundsTheSetUpOnly(t *testing.T) {
	server := startAPIServer(t, startTCP(t, echo), nil)
	ctx, cancel := context.WithCancel(t.Context())
	c, err := server.dialer(t, Options{}).DialContext(ctx, testPod, 2379)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cancel()
	roundTrip(t, c)

	ctx, cancel = context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	c, err = server.dialer(t, Options{}).DialContext(ctx, testPod, 2379)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	<-ctx.Done()
	time.Sleep(50 * time.Millisecond) // past it
	roundTrip(t, c)
}

func roundTrip(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := io.WriteString(c, "ping"); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 4)
	if _, err := io.ReadFull(c, answer); err != nil || string(answer) != "ping" {
		t.Fatalf("answer %q, %v", answer, err)
	}
}

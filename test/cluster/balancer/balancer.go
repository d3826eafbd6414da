// Package balancer spreads TCP connections over the API servers of a test
// cluster, as the load balancer in front of a real HA control plane does.
//
// Its one idea: new connections go to an API server that says /readyz, an
// established one is cut only when its machine no longer takes connections.
package balancer

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	connectTimeout = time.Second     // a backend that takes longer is skipped
	readyTimeout   = 3 * time.Second // generous: a busy machine is not a dead one
	checkEvery     = time.Second
	deadAfter      = 2 // checks without a connection before its connections are cut
)

// Balancer spreads connections over backends. Make it with New.
type Balancer struct {
	mu       sync.Mutex
	backends []*backend
	next     int
}

// New balances over addresses (host:port of API servers).
func New(addresses []string) *Balancer {
	b := &Balancer{}
	for _, address := range addresses {
		b.backends = append(b.backends, &backend{address: address, open: map[net.Conn]bool{}})
	}
	return b
}

// Serve accepts on every listener until ctx ends, then closes everything and
// returns the first error that was not caused by that.
func (b *Balancer) Serve(ctx context.Context, listeners ...net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, one := range b.backends {
		wg.Go(func() { one.watch(ctx) })
	}
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		wg.Go(func() { failed <- b.accept(ctx, l, &wg) })
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	cancel()
	for _, l := range listeners {
		_ = l.Close() // ends accept; nothing else can be done with an error here
	}
	for _, one := range b.backends {
		one.cut()
	}
	return err
}

func (b *Balancer) accept(ctx context.Context, l net.Listener, wg *sync.WaitGroup) error {
	for {
		client, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return err
		}
		wg.Go(func() { b.carry(ctx, client) })
	}
}

// carry joins client to the first backend that takes a connection. With none,
// client is closed, which callers see as a refused request.
func (b *Balancer) carry(ctx context.Context, client net.Conn) {
	defer client.Close() //nolint:errcheck // nothing more is asked of it
	for _, one := range b.order() {
		server, err := dial(ctx, one.address)
		if err != nil {
			continue
		}
		if !one.keep(server) {
			_ = server.Close()
			continue
		}
		defer one.drop(server)
		splice(client, server)
		return
	}
}

// order is all backends, the next in turn first, the readier before the others.
func (b *Balancer) order() []*backend {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next++
	var byHealth [ready + 1][]*backend
	for i := range b.backends {
		one := b.backends[(b.next+i)%len(b.backends)]
		health := one.state()
		byHealth[health] = append(byHealth[health], one)
	}
	return append(append(byHealth[ready], byHealth[up]...), byHealth[down]...)
}

// splice copies both ways until both ends are done.
func splice(client, server net.Conn) {
	var wg sync.WaitGroup
	wg.Go(func() { copyHalf(server, client) })
	wg.Go(func() { copyHalf(client, server) })
	wg.Wait()
}

// copyHalf passes the end of src on to dst; an error ends both directions.
func copyHalf(dst, src net.Conn) {
	_, err := io.Copy(dst, src)
	if half, ok := dst.(*net.TCPConn); ok && err == nil {
		_ = half.CloseWrite() // the peer is gone already if this fails
		return
	}
	_ = dst.Close()
	_ = src.Close()
}

func dial(ctx context.Context, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: connectTimeout}
	return d.DialContext(ctx, "tcp", address)
}

type health int

const (
	down  health = iota // takes no connection
	up                  // takes connections
	ready               // answers /readyz with 200
)

type backend struct {
	address string

	mu     sync.Mutex
	health health
	open   map[net.Conn]bool
	closed bool // cut for good: Serve ends
}

func (b *backend) state() health {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.health
}

func (b *backend) keep(c net.Conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.open[c] = true
	}
	return !b.closed
}

func (b *backend) drop(c net.Conn) {
	_ = c.Close()
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.open, c)
}

// cut closes every connection and takes no more.
func (b *backend) cut() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.closeAll()
}

func (b *backend) closeAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.open {
		_ = c.Close() // its splice ends and drops it
	}
}

// watch checks the backend until ctx ends.
func (b *backend) watch(ctx context.Context) {
	client := &http.Client{
		Timeout: readyTimeout,
		Transport: &http.Transport{
			// Asks only whether it is alive; who it is, its clients check.
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
			DisableKeepAlives: true,
		},
	}
	missed := 0
	for {
		now := b.check(ctx, client)
		b.mu.Lock()
		b.health = now
		b.mu.Unlock()
		if now != down {
			missed = 0
		} else if missed++; missed >= deadAfter {
			b.closeAll()
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(checkEvery):
		}
	}
}

func (b *backend) check(ctx context.Context, client *http.Client) health {
	conn, err := dial(ctx, b.address)
	if err != nil {
		return down
	}
	_ = conn.Close() // nothing was written
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+b.address+"/readyz", nil)
	if err != nil {
		return up
	}
	response, err := client.Do(request)
	if err != nil {
		return up
	}
	defer response.Body.Close() //nolint:errcheck // only its status is wanted
	if response.StatusCode != http.StatusOK {
		return up
	}
	return ready
}

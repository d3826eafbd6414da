package tunnel

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"k8s.io/client-go/rest"
)

// setupLimit bounds a set-up whose context has no deadline of its own.
const setupLimit = 30 * time.Second

// server is one API server and how to talk to it.
type server struct {
	url    *url.URL
	config *rest.Config
	// otherName is the name to verify the certificate with when url's host is not in it.
	otherName string
}

// listServers returns config's own server, then the alternatives.
func listServers(config *rest.Config, alternatives []string) ([]server, error) {
	if config == nil {
		return nil, errors.New("read kubeconfig: no configuration")
	}
	own, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("read API server's address: %w", err)
	}
	servers := []server{{url: own, config: config}}
	for _, address := range alternatives {
		u, err := url.Parse(address)
		if err != nil {
			return nil, fmt.Errorf("read alternative API server's address: %w", err)
		}
		if u.Scheme != "https" || u.Host == "" {
			return nil, fmt.Errorf("read alternative API server's address %q: not an https URL", address)
		}
		if u.Host != own.Host {
			servers = append(servers, alternative(config, u))
		}
	}
	return servers, nil
}

// alternative is another API server of config's cluster. Its certificate is verified
// as config says, with its own host as the name, then with the name that config gives.
func alternative(config *rest.Config, u *url.URL) server {
	c := rest.CopyConfig(config)
	c.Host = u.String()
	c.ServerName = ""
	return server{url: u, config: c, otherName: config.ServerName}
}

// named is s with its certificate verified by name.
func (s server) named(name string) server {
	s.config = rest.CopyConfig(s.config)
	s.config.ServerName = name
	s.otherName = ""
	return s
}

// eachServer tries do with one server after the other until one serves, the one that
// served last first. Each gets half of the time that is left: one that is slow, but has
// just served the rest of the work, is not given up for others that may not even be
// routable from here, and one that hangs leaves some for the next. The error is the
// most telling one.
func (d *Dialer) eachServer(ctx context.Context, do func(context.Context, server) error) error {
	failure := &setupFailure{}
	for i, index := range d.order() {
		if i > 0 && ctx.Err() != nil {
			break
		}
		s := d.servers[index]
		err := withLimit(ctx, i == len(d.servers)-1, func(ctx context.Context) error { return s.attempt(ctx, do) })
		d.log.DebugContext(ctx, "reach pod", "server", s.url.String(), "error", err)
		if err == nil {
			d.used.Store(int32(index))
			return nil
		}
		failure.add(s, err)
		if !elsewhere(err) {
			break
		}
	}
	failure.ctx = ctx.Err()
	return failure
}

// order is the indices of the servers in the order to try them in.
func (d *Dialer) order() []int {
	first, indices := int(d.used.Load()), make([]int, len(d.servers))
	for i := range indices {
		indices[i] = (first + i) % len(indices)
	}
	return indices
}

// attempt does it with s, by its other name if the certificate does not hold the first.
func (s server) attempt(ctx context.Context, do func(context.Context, server) error) error {
	err := do(ctx, s)
	var wrongName x509.HostnameError
	if s.otherName != "" && errors.As(err, &wrongName) {
		return do(ctx, s.named(s.otherName))
	}
	return err
}

// withLimit runs do with half of ctx's time, with all of it for the last server.
func withLimit(ctx context.Context, last bool, do func(context.Context) error) error {
	limit := setupLimit
	if end, ok := ctx.Deadline(); ok && !last {
		limit = min(limit, time.Until(end)/2)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return deadlineExceeded(do(ctx))
}

// deadlineExceeded is err as the context's error, whose deadline the network's is.
func deadlineExceeded(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
	}
	return err
}

// elsewhere tells whether another API server may do better.
func elsewhere(err error) bool {
	if errors.Is(err, errNodeSilent) {
		return false
	}
	status, ok := answered(err)
	return !ok || status.Code >= http.StatusInternalServerError || status.Code == http.StatusTooManyRequests
}

// open sets up a session within ctx. Client-go may be slower than that, a credential
// plugin for instance knows no context: what comes too late is closed.
func (s server) open(ctx context.Context, target target) (*session, error) {
	type result struct {
		session *session
		err     error
	}
	results := make(chan result) // unbuffered: what nobody receives is closed
	go func() {
		opened, err := s.openSession(ctx, target)
		select {
		case results <- result{opened, err}:
		case <-ctx.Done():
			if opened != nil {
				opened.close()
			}
		}
	}()
	select {
	case r := <-results:
		return r.session, r.err
	case <-ctx.Done():
		return nil, s.gaveUp(ctx.Err())
	}
}

// gaveUp is the end of a context, err, that came before s had served.
func (s server) gaveUp(err error) error {
	return fmt.Errorf("wait for %s, or for credentials for it: %w", s.url.Host, err)
}

func (s server) openSession(ctx context.Context, target target) (*session, error) {
	wire, err := s.upgrade(ctx, "api", "v1", "namespaces", target.pod.Namespace, "pods", target.pod.Name, "portforward")
	if err != nil {
		return nil, err
	}
	opened, err := openSession(wire, target, pingPeriod)
	if err != nil {
		wire.kill()
		return nil, err
	}
	if err := opened.wait(ctx); err != nil {
		opened.leave(ctx)
		return nil, err
	}
	return opened, nil
}

// setupFailure is what the tried servers said.
type setupFailure struct {
	servers []string
	errs    []error
	ctx     error // the caller's context, if it ended
}

func (f *setupFailure) add(s server, err error) {
	f.servers = append(f.servers, s.url.Host)
	f.errs = append(f.errs, err)
}

// best is the error of a server that answered, else the first server's.
func (f *setupFailure) best() error {
	for _, err := range f.errs {
		if _, ok := answered(err); ok {
			return err
		}
	}
	return f.errs[0]
}

func (f *setupFailure) Error() string {
	if len(f.errs) == 1 {
		return f.errs[0].Error()
	}
	texts := make([]string, len(f.errs))
	for i, err := range f.errs {
		texts[i] = f.servers[i] + ": " + err.Error()
	}
	return strings.Join(texts, "; ")
}

// Unwrap gives the best error, and the context's.
func (f *setupFailure) Unwrap() []error {
	if f.ctx != nil {
		return []error{f.best(), f.ctx}
	}
	return []error{f.best()}
}

package tunnel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/client-go/util/exec"
	"k8s.io/klog/v2"
)

// Exec runs argv in a container of pod, without a shell, and writes its standard
// output to stdout, which it does not touch once it has returned. A command that ends
// with another code than 0 is an *ExitError that holds its standard error; all other
// errors are *Error. An empty container is the pod's default one.
//
// A command is never started twice: another API server is tried only as long as none
// has accepted the command.
func (d *Dialer) Exec(ctx context.Context, pod Pod, container string, argv []string, stdout io.Writer) error {
	c := &command{target: target{pod: pod}, container: container, argv: argv}
	if len(argv) == 0 {
		return c.target.error(errors.New("no command"))
	}
	var outcome error
	err := d.eachServer(ctx, func(setup context.Context, s server) error {
		started, err := c.run(ctx, setup, s, stdout)
		if started {
			outcome = err
			return nil
		}
		return err
	})
	if err != nil {
		return c.target.setupError(err)
	}
	return outcome
}

// command is one command to run in a pod.
type command struct {
	target    target
	container string
	argv      []string
}

// run runs the command through s until ctx ends; the set-up ends with setup.
// started tells whether the API server accepted it.
func (c *command) run(ctx, setup context.Context, s server, stdout io.Writer) (started bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(setup, func() { cancel(setup.Err()) })
	defer stop()

	out, stderr := &output{to: stdout, failed: cancel}, &tail{}
	defer out.close()
	a := &attempt{stop: stop}
	executor, err := a.executor(s, c)
	if err != nil {
		return false, err
	}
	ended, err := stream(ctx, executor, remotecommand.StreamOptions{Stdout: out, Stderr: stderr})
	started = a.decide(false)
	switch {
	case started && ended:
		return true, c.outcome(ctx, a, err, stderr)
	case started:
		return true, c.target.error(err)
	case ended:
		return false, cmp.Or(a.spdy.refused, err)
	default:
		return false, s.gaveUp(err)
	}
}

// stream runs executor within ctx. Client-go may be slower than that, a credential
// plugin for instance knows no context: then ended is false and err ctx's.
func stream(ctx context.Context, executor remotecommand.Executor, options remotecommand.StreamOptions) (ended bool, err error) {
	errs := make(chan error, 1)
	go func() {
		// Client-go logs what it can't return; the logger in the context is silent.
		errs <- executor.StreamWithContext(klog.NewContext(ctx, klog.Logger{}), options)
	}()
	select {
	case err := <-errs:
		return true, err
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

// outcome makes the error of a command that was started.
func (c *command) outcome(ctx context.Context, a *attempt, err error, stderr *tail) error {
	var exit exec.CodeExitError
	switch {
	case context.Cause(ctx) != nil:
		return c.target.error(context.Cause(ctx)) // the caller's end of ctx, or stdout's error
	case errors.As(err, &exit):
		return &ExitError{Pod: c.target.pod, Argv: c.argv, Code: exit.Code, Stderr: stderr.String()}
	case a.statusMissing():
		return c.target.dropped(cmp.Or(err, errNoStatus))
	case err == nil:
		return nil
	case brokeWebSocket(err):
		return c.target.dropped(err)
	default:
		return c.target.refused(err.Error(), false)
	}
}

// brokeWebSocket tells remotecommand's own errors from the node's, which have no type
// either (its errorstream.go and websocket.go).
func brokeWebSocket(err error) bool {
	return strings.HasPrefix(err.Error(), "error reading from error stream") || strings.Contains(err.Error(), "next reader: ")
}

// url is the exec subresource with the command, as `kubectl exec` asks for it.
func (c *command) url(base *url.URL) *url.URL {
	u := base.JoinPath("api", "v1", "namespaces", c.target.pod.Namespace, "pods", c.target.pod.Name, "exec")
	query := url.Values{"command": c.argv, "stdout": {"true"}, "stderr": {"true"}}
	if c.container != "" {
		query.Set("container", c.container)
	}
	u.RawQuery = query.Encode()
	return u
}

// attempt is one try to start a command on one server.
type attempt struct {
	stop     func() bool   // ends the limit of the set-up
	spdy     *spdyUpgrader // nil until SPDY is used
	deciding sync.Once
	started  bool // written once, when deciding
}

// accepted is called when the API server accepts the command. Where that is too late,
// StreamWithContext sees its context's end and closes the connection.
func (a *attempt) accepted() {
	if a.decide(true) {
		a.stop()
	}
}

// decide settles whether the command counts as started, once, and returns it.
func (a *attempt) decide(started bool) bool {
	a.deciding.Do(func() { a.started = started })
	return a.started
}

// executor is kubectl's: WebSocket, and SPDY where that is not taken.
func (a *attempt) executor(s server, c *command) (remotecommand.Executor, error) {
	config := rest.CopyConfig(s.config)
	config.Wrap(func(rt http.RoundTripper) http.RoundTripper { return acceptance{rt, a.accepted} })
	u := c.url(s.url)
	webSocket, err := remotecommand.NewWebSocketExecutor(config, http.MethodGet, u.String())
	if err != nil {
		return nil, err
	}
	upgrader, err := newSPDYUpgrader(config)
	if err != nil {
		return nil, fmt.Errorf("prepare SPDY: %w", err)
	}
	transport, err := rest.HTTPWrappersForConfig(config, upgrader)
	if err != nil {
		return nil, fmt.Errorf("prepare SPDY: %w", err)
	}
	fallback, err := remotecommand.NewSPDYExecutorForTransports(transport, spdy.NewUpgraderForStreaming(upgrader), http.MethodPost, u)
	if err != nil {
		return nil, err
	}
	a.spdy = upgrader
	return remotecommand.NewFallbackExecutor(webSocket, fallback, wantsSPDY)
}

// statusMissing tells a connection that broke from a command that ended: over SPDY
// remotecommand takes both for success.
func (a *attempt) statusMissing() bool { return a.spdy.upgraded && !a.spdy.status.Load() }

// acceptance reports an upgrade that was accepted.
type acceptance struct {
	http.RoundTripper
	accepted func()
}

func (a acceptance) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := a.RoundTripper.RoundTrip(request)
	if err == nil && response.StatusCode == http.StatusSwitchingProtocols {
		a.accepted()
	}
	return response, err
}

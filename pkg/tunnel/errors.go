package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

var (
	// ErrForbidden: the API server refused the upgrade or the exec by RBAC.
	ErrForbidden = errors.New("forbidden")
	// ErrKubelet: the kubelet refused the API server. It asks an API server whether it may,
	// and one that has started a moment ago knows no roles yet; the kubelet keeps its no for
	// 30 s (cacheUnauthorizedTTL).
	ErrKubelet = errors.New("the node's kubelet does not let the API server in")
	// ErrRefused: nothing listens on that port of the pod, or the pod is gone.
	ErrRefused = errors.New("refused by the node")
	// ErrDropped: an established tunnel ended before the peer closed it.
	ErrDropped = errors.New("tunnel dropped")
	// ErrUnreachable: no API server could be reached.
	ErrUnreachable = errors.New("API server unreachable")
)

// Causes that have no sentinel of their own.
var (
	errGoAway     = errors.New("the server is going away")
	errReset      = errors.New("stream reset by the node")
	errSilent     = errors.New("no answer to pings")
	errWriteCut   = errors.New("a write was cut short by its deadline")
	errNoStatus   = errors.New("it ended without the command's status")
	errNodeSilent = errors.New("the node does not open the stream")
)

// notThere is an ErrRefused in plain words.
type notThere string

const (
	errNotRunning notThere = "the container is not running"
	errNoPod      notThere = "the pod is gone"
)

func (e notThere) Error() string      { return string(e) }
func (notThere) Is(target error) bool { return target == ErrRefused }

// Error is what went wrong with one tunnel, or with one exec, whose Port is 0.
// errors.Is finds the sentinels above, errors.As the API server's own
// *apierrors.StatusError.
type Error struct {
	Pod    Pod
	Port   int
	Remote string // the kubelet's own words from the error stream, if any
	Err    error
}

func (e *Error) Error() string {
	what := "tunnel to " + target{e.Pod, e.Port}.String()
	if e.Port == 0 {
		what = "exec in " + e.Pod.String()
	}
	if e.Remote != "" {
		return fmt.Sprintf("%s: %s: %v", what, e.Remote, e.Err)
	}
	return fmt.Sprintf("%s: %v", what, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// ExitError is a command in a pod that ended with a code other than 0.
type ExitError struct {
	Pod    Pod
	Argv   []string
	Code   int
	Stderr string // at most 8 KiB, its end
}

func (e *ExitError) Error() string {
	return fmt.Sprintf("exec in %s: %s ended with %d: %s", e.Pod, e.Argv[0], e.Code, e.Stderr)
}

// target is one port of one pod; of an exec the port is 0.
type target struct {
	pod  Pod
	port int
}

func (t target) String() string { return fmt.Sprintf("%s:%d", t.pod, t.port) }

func (t target) error(err error) *Error { return &Error{Pod: t.pod, Port: t.port, Err: err} }

// dropped is a tunnel that broke. cause's text is kept but not cause itself: it may
// be an io.EOF, which means the contrary to a reader.
func (t target) dropped(cause error) *Error {
	return t.error(fmt.Errorf("%w: %v", ErrDropped, cause)) //nolint:errorlint // see above
}

// refused is what the node said on the error stream, after the pod had sent
// something (got) or before.
func (t target) refused(message string, got bool) *Error {
	return &Error{Pod: t.pod, Port: t.port, Remote: strings.TrimSpace(message), Err: remoteSentinel(message, got)}
}

// absent is what the node's message says is not there; nil: nothing. The kubelet answers
// `container not found ("etcd")` with 500 and "pod does not exist" with 404, in plain text
// (its pkg/kubelet/server and kubelet_pods.go), and an API server that is asked by WebSocket
// hands them on as an internal error of its own.
func absent(message string) error {
	switch {
	case strings.Contains(message, "container not found"):
		return errNotRunning
	case strings.Contains(message, "pod does not exist"), strings.Contains(message, "pods \"") && strings.Contains(message, "\" not found"):
		return errNoPod
	}
	return nil
}

// remoteSentinel classifies the node's message. The runtimes' texts are not an API:
// containerd says "failed to connect to localhost:2379 inside namespace …: connect:
// connection refused", the kubelet "container not found", dockershim "no such container".
func remoteSentinel(message string, got bool) error {
	broke := strings.Contains(message, "reset by peer") || strings.Contains(message, "broken pipe")
	gone := strings.Contains(message, "connection refused") || strings.Contains(message, "not found") ||
		strings.Contains(message, "no such container")
	if what := absent(message); what != nil {
		return what
	}
	if gone || !got && !broke {
		return ErrRefused
	}
	return ErrDropped
}

// setupError is a set-up that came to nothing.
func (t target) setupError(err error) *Error {
	var already *Error
	if errors.As(err, &already) {
		return already
	}
	if sentinel := setupSentinel(err); sentinel != nil {
		return t.error(fmt.Errorf("%w: %w", sentinel, err))
	}
	return t.error(err)
}

// setupSentinel is nil for what is neither the network's fault nor the cluster's.
func setupSentinel(err error) error {
	status, ok := answered(err)
	what := absent(status.Message)
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, errNodeSilent):
		return nil
	case !ok:
		return ErrUnreachable
	case status.Code == http.StatusUnauthorized:
		return nil // neither RBAC nor the network: who one is
	case status.Code == http.StatusForbidden && byKubelet(status.Message):
		return ErrKubelet
	case status.Code == http.StatusForbidden:
		return ErrForbidden
	case what != nil:
		return what
	case status.Code == http.StatusTooManyRequests, status.Code >= 500 && !aboutNode(status.Message):
		return ErrUnreachable
	default:
		return ErrRefused
	}
}

// aboutNode tells an API server that can't reach a kubelet from one that is itself ill.
func aboutNode(message string) bool {
	return strings.Contains(message, "error dialing backend") || strings.Contains(message, "dial tcp")
}

// byKubelet tells a kubelet's refusal, "Forbidden (user=kube-apiserver-kubelet-client,
// verb=create, resource=nodes, subresource(s)=[proxy])", from the API server's own.
func byKubelet(message string) bool {
	return strings.Contains(message, "Forbidden (user=") && strings.Contains(message, "resource=nodes")
}

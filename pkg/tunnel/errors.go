package tunnel

import (
	"errors"
	"fmt"
)

var (
	// ErrForbidden: the API server refused the upgrade or the exec by RBAC.
	ErrForbidden = errors.New("forbidden")
	// ErrRefused: nothing listens on that port of the pod, or the pod is gone.
	ErrRefused = errors.New("refused by the node")
	// ErrDropped: an established tunnel ended before the peer closed it.
	ErrDropped = errors.New("tunnel dropped")
	// ErrUnreachable: no API server could be reached.
	ErrUnreachable = errors.New("API server unreachable")
)

// Error is what went wrong with one tunnel. errors.Is finds the sentinels above.
type Error struct {
	Pod    Pod
	Port   int
	Remote string // the kubelet's own words from the error stream, if any
	Err    error
}

func (e *Error) Error() string {
	if e.Remote != "" {
		return fmt.Sprintf("tunnel to %s:%d: %s: %v", e.Pod, e.Port, e.Remote, e.Err)
	}
	return fmt.Sprintf("tunnel to %s:%d: %v", e.Pod, e.Port, e.Err)
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

package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// callError is why a call failed: the member's own answer, or, when there was none,
// what is wrong with the way to it. errors.Is and errors.As find the connection's
// error, the context's, and rpctypes' values for the server's.
type callError struct {
	call   *status.Status
	reason error // never nil
}

func (e *callError) Error() string              { return e.reason.Error() }
func (e *callError) Unwrap() []error            { return []error{e.reason, rpctypes.Error(e.call.Err())} }
func (e *callError) GRPCStatus() *status.Status { return e.call }

// Unanswered tells that no answer came to the call that gave err: whether the member carried it
// out, or is still at it, is not known.
func Unanswered(err error) bool {
	var call *callError
	if !errors.As(err, &call) {
		return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
	}
	if errors.As(rpctypes.Error(call.call.Err()), new(rpctypes.EtcdError)) {
		return false
	}
	return slices.Contains([]codes.Code{codes.Unavailable, codes.DeadlineExceeded, codes.Canceled}, call.call.Code())
}

// explain turns err, of a call that began at mark, into a callError.
func (l *link) explain(ctx context.Context, mark uint64, err error) error {
	if err == nil {
		return nil
	}
	call, ok := status.FromError(err)
	if !ok || errors.As(err, new(*callError)) {
		return err
	}
	return &callError{call: call, reason: l.reason(ctx, mark, call)}
}

func (l *link) reason(ctx context.Context, mark uint64, call *status.Status) error {
	switch call.Code() {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Internal:
	default:
		return serverError(call)
	}
	var server rpctypes.EtcdError
	if errors.As(rpctypes.Error(call.Err()), &server) {
		return server
	}
	cause := l.since(mark)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case ctx.Err() != nil || call.Code() == codes.DeadlineExceeded:
		return joinCause(context.DeadlineExceeded, cause)
	case cause != nil:
		return cause
	}
	return errors.New(call.Message())
}

// joinCause is first with what is behind it, if that is known.
func joinCause(first, cause error) error {
	if cause == nil || errors.Is(cause, first) {
		return first
	}
	return fmt.Errorf("%w: %w", first, cause)
}

// serverError gives what the member said its sentinel.
func serverError(call *status.Status) error {
	err := rpctypes.Error(call.Err())
	switch {
	case errors.Is(err, rpctypes.ErrPermissionDenied):
		return fmt.Errorf("%w: %w", ErrPermission, err)
	case errors.Is(err, rpctypes.ErrAuthFailed), errors.Is(err, rpctypes.ErrUserEmpty),
		errors.Is(err, rpctypes.ErrUserNotFound), errors.Is(err, rpctypes.ErrInvalidAuthToken):
		return fmt.Errorf("%w: %w", ErrLogin, err)
	}
	if errors.As(err, new(rpctypes.EtcdError)) {
		return err
	}
	return errors.New(call.Message())
}

// interceptUnary logs in where that is needed, fails fast and explains.
func (c *Client) interceptUnary(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn,
	invoke grpc.UnaryInvoker, options ...grpc.CallOption,
) error {
	mark := c.link.mark()
	options = append(options, grpc.WaitForReady(false))
	call := func() error { return c.link.explain(ctx, mark, invoke(ctx, method, request, reply, conn, options...)) }
	return c.login.around(ctx, conn, method, call)
}

func (c *Client) interceptStream(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string,
	open grpc.Streamer, options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	mark := c.link.mark()
	options = append(options, grpc.WaitForReady(false))
	var stream grpc.ClientStream
	err := c.login.around(ctx, conn, method, func() (err error) {
		stream, err = open(ctx, desc, conn, method, options...)
		return c.link.explain(ctx, mark, err)
	})
	if err != nil {
		return nil, err
	}
	return &explainedStream{ClientStream: stream, caller: ctx, link: c.link, mark: mark}, nil
}

// explainedStream explains what its messages end with.
type explainedStream struct {
	grpc.ClientStream
	caller context.Context // the stream's own is cancelled whenever it ends
	link   *link
	mark   uint64
}

func (s *explainedStream) RecvMsg(message any) error {
	return s.link.explain(s.caller, s.mark, s.ClientStream.RecvMsg(message))
}

package etcd

import (
	"context"
	"errors"
	"sync/atomic"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
)

// login gets the token of etcd's own user, when the first call needs it: clientv3
// would get it while opening, and could then not open a client of a dead member.
type login struct {
	user, password string
	lock           chan struct{}          // holds a value while somebody logs in
	token          atomic.Pointer[string] // nil: not logged in; empty: the member's auth is off
}

func newLogin(user, password string) *login {
	return &login{user: user, password: password, lock: make(chan struct{}, 1)}
}

// around makes call with a token. Status is first tried without: logging in goes
// through consensus, and before 3.7 Status needs no user.
func (l *login) around(ctx context.Context, conn *grpc.ClientConn, method string, call func() error) error {
	if l.user == "" || method == pb.Auth_Authenticate_FullMethodName {
		return call()
	}
	if method != pb.Maintenance_Status_FullMethodName {
		if err := l.obtain(ctx, conn, false); err != nil {
			return err
		}
	}
	err := call()
	if !needsToken(err) {
		return err
	}
	if err := l.obtain(ctx, conn, true); err != nil {
		return err
	}
	return call()
}

func needsToken(err error) bool {
	return errors.Is(err, rpctypes.ErrUserEmpty) || errors.Is(err, rpctypes.ErrInvalidAuthToken) ||
		errors.Is(err, rpctypes.ErrAuthOldRevision)
}

// obtain logs in unless that was done, or again.
func (l *login) obtain(ctx context.Context, conn *grpc.ClientConn, again bool) error {
	select {
	case l.lock <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-l.lock }()
	if l.token.Load() != nil && !again {
		return nil
	}
	l.token.Store(nil)
	answer, err := pb.NewAuthClient(conn).Authenticate(ctx, &pb.AuthenticateRequest{Name: l.user, Password: l.password})
	if errors.Is(err, rpctypes.ErrAuthNotEnabled) {
		l.token.Store(new(string))
		return nil
	}
	if err != nil {
		return err
	}
	l.token.Store(&answer.Token)
	return nil
}

// GetRequestMetadata puts the token into a call (credentials.PerRPCCredentials).
func (l *login) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	token := l.token.Load()
	if token == nil || *token == "" {
		return nil, nil
	}
	return map[string]string{rpctypes.TokenFieldNameGRPC: *token}, nil
}

// RequireTransportSecurity is false: etcd allows users without TLS.
func (l *login) RequireTransportSecurity() bool { return false }

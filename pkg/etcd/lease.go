package etcd

import (
	"context"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// GrantLease grants a lease of a given ID, in whole seconds, rounded up. Where there is one of
// that ID already the error is rpctypes.ErrLeaseExist.
func (c *Client) GrantLease(ctx context.Context, id int64, ttl time.Duration) error {
	request := &pb.LeaseGrantRequest{ID: id, TTL: int64((ttl + time.Second - 1) / time.Second)}
	if _, err := pb.NewLeaseClient(c.raw.ActiveConnection()).LeaseGrant(ctx, request); err != nil {
		return fmt.Errorf("grant lease: %w", rpctypes.Error(err))
	}
	return nil
}

// RenewLease gives a lease its whole time again, or ends with the first error: clientv3's
// KeepAliveOnce asks a member that is down again and again without a pause. rpctypes.ErrLeaseNotFound:
// it has ended.
func (c *Client) RenewLease(ctx context.Context, id int64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // which ends the stream
	stream, err := pb.NewLeaseClient(c.raw.ActiveConnection()).LeaseKeepAlive(ctx)
	if err != nil {
		return fmt.Errorf("renew lease: %w", rpctypes.Error(err))
	}
	_ = stream.Send(&pb.LeaseKeepAliveRequest{ID: id}) // why it failed is what Recv says
	switch answer, err := stream.Recv(); {
	case err != nil:
		return fmt.Errorf("renew lease: %w", rpctypes.Error(err))
	case answer.TTL <= 0:
		return fmt.Errorf("renew lease: %w", rpctypes.ErrLeaseNotFound)
	}
	return nil
}

// RevokeLease ends a lease. rpctypes.ErrLeaseNotFound: it has ended.
func (c *Client) RevokeLease(ctx context.Context, id int64) error {
	if _, err := c.raw.Revoke(ctx, clientv3.LeaseID(id)); err != nil {
		return fmt.Errorf("revoke lease: %w", err)
	}
	return nil
}

// LeaseLeft is the time that a lease has left, in whole seconds. rpctypes.ErrLeaseNotFound: there is none.
func (c *Client) LeaseLeft(ctx context.Context, id int64) (time.Duration, error) {
	r, err := c.raw.TimeToLive(ctx, clientv3.LeaseID(id))
	if err != nil {
		return 0, fmt.Errorf("look at lease: %w", err)
	}
	if r.TTL < 0 {
		return 0, rpctypes.ErrLeaseNotFound
	}
	return time.Duration(r.TTL) * time.Second, nil
}

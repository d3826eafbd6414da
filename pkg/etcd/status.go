package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/connectivity"
)

// Status asks the member about itself. Latency is that of a call over an open
// connection: where this one had to connect first, the member is asked again and
// the second answer counts.
func (c *Client) Status(ctx context.Context) (Status, error) {
	warm := c.raw.ActiveConnection().GetState() == connectivity.Ready
	status, err := c.status(ctx)
	if err != nil {
		return Status{}, fmt.Errorf("read status: %w", err)
	}
	if warm {
		return status, nil
	}
	if again, err := c.status(ctx); err == nil {
		return again, nil
	}
	status.Latency = 0
	return status, nil
}

func (c *Client) status(ctx context.Context) (Status, error) {
	began := time.Now()
	r, err := c.maintenance().Status(ctx, &pb.StatusRequest{})
	if err != nil {
		return Status{}, err
	}
	now := time.Now()
	return Status{
		ClusterID:      ID(r.GetHeader().GetClusterId()),
		MemberID:       ID(r.GetHeader().GetMemberId()),
		Leader:         ID(r.Leader),
		Learner:        r.IsLearner,
		Version:        r.Version,
		StorageVersion: r.StorageVersion,
		Revision:       r.GetHeader().GetRevision(),
		RaftTerm:       r.RaftTerm,
		RaftIndex:      r.RaftIndex,
		RaftApplied:    r.RaftAppliedIndex,
		DBSize:         r.DbSize,
		DBSizeInUse:    r.DbSizeInUse,
		DBSizeQuota:    r.DbSizeQuota,
		Errors:         r.Errors,
		Latency:        now.Sub(began),
		At:             now,
	}, nil
}

// Members lists the cluster's members as this member has them (serializable, so
// that it answers without quorum; 3.4 knows no other way). A learner refuses.
func (c *Client) Members(ctx context.Context) ([]Member, error) {
	r, err := pb.NewClusterClient(c.raw.ActiveConnection()).MemberList(ctx, &pb.MemberListRequest{Linearizable: false})
	if err != nil {
		return nil, fmt.Errorf("list members: %w", err)
	}
	members := make([]Member, len(r.Members))
	for i, m := range r.Members {
		members[i] = Member{ID: ID(m.ID), Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs, Learner: m.IsLearner}
	}
	return members, nil
}

// Alarms lists the alarms raised in the cluster. The question goes through
// consensus: without quorum there is no answer. A learner refuses.
func (c *Client) Alarms(ctx context.Context) ([]Alarm, error) {
	r, err := c.maintenance().Alarm(ctx, &pb.AlarmRequest{Action: pb.AlarmRequest_GET})
	if err != nil {
		return nil, fmt.Errorf("list alarms: %w", err)
	}
	alarms := make([]Alarm, len(r.Alarms))
	for i, a := range r.Alarms {
		alarms[i] = Alarm{MemberID: ID(a.MemberID), Type: a.Alarm.String()}
	}
	return alarms, nil
}

// HashKV is the member's hash of the key space at revision; 0 is its head. A hash
// of the head reads everything that is stored: don't poll it.
func (c *Client) HashKV(ctx context.Context, revision int64) (Hash, error) {
	r, err := c.maintenance().HashKV(ctx, &pb.HashKVRequest{Revision: revision})
	if err != nil {
		return Hash{}, fmt.Errorf("hash at revision %d: %w", revision, err)
	}
	return Hash{
		MemberID:        ID(r.GetHeader().GetMemberId()),
		Hash:            r.Hash,
		HashRevision:    r.HashRevision,
		CompactRevision: r.CompactRevision,
		Revision:        r.GetHeader().GetRevision(),
	}, nil
}

// Health is a linearizable read, as `etcdctl endpoint health` does it. A learner refuses.
// A member looks at the user only after consensus, so that a read which is refused to
// this user, or for want of one, came through (server/v3 etcdserver, Range).
func (c *Client) Health(ctx context.Context) error {
	request := &pb.RangeRequest{Key: []byte("health"), CountOnly: true}
	_, err := pb.NewKVClient(c.raw.ActiveConnection()).Range(ctx, request)
	if err == nil || errors.Is(err, rpctypes.ErrPermissionDenied) || errors.Is(err, rpctypes.ErrUserEmpty) {
		return nil
	}
	return fmt.Errorf("linearizable read: %w", err)
}

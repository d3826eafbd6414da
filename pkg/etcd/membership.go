package etcd

import (
	"context"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// AddMember puts a member into the list, not started yet. A learner has no vote until it is
// promoted; a voter counts at once, also while it does not run.
func (c *Client) AddMember(ctx context.Context, peerURLs []string, learner bool) (ID, error) {
	request := &pb.MemberAddRequest{PeerURLs: peerURLs, IsLearner: learner}
	r, err := pb.NewClusterClient(c.raw.ActiveConnection()).MemberAdd(ctx, request)
	if err != nil {
		return 0, fmt.Errorf("add member: %w", err)
	}
	return ID(r.Member.ID), nil
}

// PromoteMember makes a voter of a learner. etcd refuses while it lacks more than a tenth of
// the leader's log (server/v3 etcdserver, readyPercentThreshold).
func (c *Client) PromoteMember(ctx context.Context, id ID) error {
	if _, err := pb.NewClusterClient(c.raw.ActiveConnection()).MemberPromote(ctx, &pb.MemberPromoteRequest{ID: uint64(id)}); err != nil {
		return fmt.Errorf("promote member %s: %w", id, err)
	}
	return nil
}

// RemoveMember takes a member out of the list, for good: its process ends when it hears of it.
func (c *Client) RemoveMember(ctx context.Context, id ID) error {
	if _, err := pb.NewClusterClient(c.raw.ActiveConnection()).MemberRemove(ctx, &pb.MemberRemoveRequest{ID: uint64(id)}); err != nil {
		return fmt.Errorf("remove member %s: %w", id, err)
	}
	return nil
}

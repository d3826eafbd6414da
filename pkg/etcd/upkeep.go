package etcd

import (
	"context"
	"errors"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Defragment writes the member's database anew without its free pages. The member answers
// nothing meanwhile, and goes on when ctx ends: it can't be called off. A learner refuses.
func (c *Client) Defragment(ctx context.Context) error {
	if _, err := c.maintenance().Defragment(ctx, &pb.DefragmentRequest{}); err != nil {
		return fmt.Errorf("defragment: %w", err)
	}
	return nil
}

// MoveLeader hands the leadership to another voter. Only the leader takes this call.
func (c *Client) MoveLeader(ctx context.Context, to ID) error {
	if _, err := c.maintenance().MoveLeader(ctx, &pb.MoveLeaderRequest{TargetID: uint64(to)}); err != nil {
		return fmt.Errorf("move leadership to %s: %w", to, err)
	}
	return nil
}

// Disarm takes an alarm away, on all members.
func (c *Client) Disarm(ctx context.Context, alarm Alarm) error {
	kind, known := pb.AlarmType_value[alarm.Type]
	if !known {
		return fmt.Errorf("disarm alarm: etcd has none called %q", alarm.Type)
	}
	request := &pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, MemberID: uint64(alarm.MemberID), Alarm: pb.AlarmType(kind)}
	if _, err := c.maintenance().Alarm(ctx, request); err != nil {
		return fmt.Errorf("disarm %s of %s: %w", alarm.Type, alarm.MemberID, err)
	}
	return nil
}

// Compact forgets, on all members, what was before revision. physical: it returns when this
// member's database has done it too.
func (c *Client) Compact(ctx context.Context, revision int64, physical bool) error {
	request := &pb.CompactionRequest{Revision: revision, Physical: physical}
	if _, err := pb.NewKVClient(c.raw.ActiveConnection()).Compact(ctx, request); err != nil {
		return fmt.Errorf("compact to revision %d: %w", revision, err)
	}
	return nil
}

// CompactRevision is up to where the history is compacted; 0: it never was. A watch from
// before that is refused, and the refusal tells.
func (c *Client) CompactRevision(ctx context.Context) (int64, error) {
	const key = "compact_rev_key" // any would do
	if _, _, err := c.ValueAt(ctx, key, 1); !errors.Is(err, rpctypes.ErrCompacted) {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for answer := range c.raw.Watch(ctx, key, clientv3.WithRev(1)) {
		if answer.CompactRevision > 0 {
			return answer.CompactRevision, nil
		}
		if err := answer.Err(); err != nil {
			return 0, fmt.Errorf("read compact revision: %w", err)
		}
	}
	return 0, fmt.Errorf("read compact revision: %w", errors.Join(ctx.Err(), errors.New("the watch ended")))
}

// ValueAt is a key's value as of revision, 0 for now, out of what this member has, and the
// revision that wrote it; 0: there was none. What is compacted is rpctypes.ErrCompacted.
func (c *Client) ValueAt(ctx context.Context, key string, revision int64) (value []byte, written int64, err error) {
	request := &pb.RangeRequest{Key: []byte(key), Revision: revision, Serializable: true}
	r, err := pb.NewKVClient(c.raw.ActiveConnection()).Range(ctx, request)
	if err != nil {
		return nil, 0, fmt.Errorf("read %s at revision %d: %w", key, revision, err)
	}
	if len(r.Kvs) == 0 {
		return nil, 0, nil
	}
	return r.Kvs[0].Value, r.Kvs[0].ModRevision, nil
}

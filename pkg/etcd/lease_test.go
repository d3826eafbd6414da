package etcd_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
)

func TestLease(t *testing.T) {
	const id = 77
	c := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
	client := c.Open(0)
	if err := client.RenewLease(t.Context(), id); !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		t.Errorf("renew none: %v", err)
	}
	if err := client.GrantLease(t.Context(), id, time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := client.GrantLease(t.Context(), id, time.Minute); !errors.Is(err, rpctypes.ErrLeaseExist) {
		t.Errorf("grant it again: %v", err)
	}
	if err := client.RenewLease(t.Context(), id); err != nil {
		t.Error(err)
	}
	if left, err := client.LeaseLeft(t.Context(), id); err != nil || left < 50*time.Second || left > time.Minute {
		t.Errorf("%s are left: %v", left, err)
	}
	if err := client.RevokeLease(t.Context(), id); err != nil {
		t.Error(err)
	}
	if _, err := client.LeaseLeft(t.Context(), id); !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		t.Errorf("after its end: %v", err)
	}
	// A member that is down is not asked over and over until the time is up.
	c.Members[0].Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := client.RenewLease(ctx, id); err == nil || ctx.Err() != nil {
		t.Errorf("a member that is down: %v, %v", err, ctx.Err())
	}
}

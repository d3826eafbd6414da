package etcd_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
)

func TestAnyMembers(t *testing.T) {
	cluster := etcdtest.Start(t, 3, etcdtest.Options{})
	silent := etcd.Source{Name: "silent", Reader: cluster.OpenWith(
		etcd.Endpoint{Name: "silent", URL: "https://" + etcdtest.Blackhole(t)}, cluster.ClientOptions())}
	unopened := etcd.Source{Name: "unopened", Err: errors.New("no way to it")}
	cluster.Members[1].Stop()
	cluster.Members[2].Stop() // no quorum: the list is one member's own
	sources := append([]etcd.Source{silent, unopened}, cluster.Sources()...)

	from, members, err := etcd.AnyMembers(t.Context(), sources, time.Minute)
	if err != nil || from != "etcd-a" || len(members) != 3 {
		t.Errorf("got %d members from %q, %v; want a's three at once", len(members), from, err)
	}

	_, _, err = etcd.AnyMembers(t.Context(), []etcd.Source{silent, unopened, sources[3]}, 300*time.Millisecond)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the silent one's deadline", err)
	}
	for _, want := range []string{"silent: ", "unopened: no way to it", "etcd-b: ", "refused"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in %v", want, err)
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := etcd.AnyMembers(ctx, []etcd.Source{silent}, time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

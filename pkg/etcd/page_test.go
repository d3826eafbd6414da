package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
)

func TestPages(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{})
	member, client := cluster.Members[0], cluster.Open(0)
	ctx := timeout(t)

	page, err := client.Page(ctx, "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := page.Metrics()
	if err != nil {
		t.Fatal(err)
	}
	if leads, ok := metrics.Value("etcd_server_is_leader"); !ok || leads != 1 {
		t.Errorf("etcd_server_is_leader is %v, %t", leads, ok)
	}
	if q, ok := metrics.Quantile(0.99, nil, "etcd_disk_wal_fsync_duration_seconds"); !ok || q.Count == 0 || q.Least != 0.001 {
		t.Errorf("the fsync histogram gives %+v, %t", q, ok)
	}
	if skew := page.Date.Sub(page.Asked); skew < -2*time.Second || skew > 2*time.Second {
		t.Errorf("the member's clock differs from its own by %s", skew)
	}

	page, err = client.Page(ctx, "/debug/vars")
	if err != nil {
		t.Fatal(err)
	}
	vars, err := page.Vars()
	if err != nil {
		t.Fatal(err)
	}
	own := vars.Raft.Progress[member.ID()]
	if len(vars.Argv) == 0 || vars.Raft.State != "StateLeader" || own.Match == 0 || own.State != "StateReplicate" {
		t.Errorf("the variables are %+v", vars)
	}

	page, err = client.Page(ctx, "/readyz?verbose")
	if checks := page.Checks(); err != nil || !checks["linearizable_read"] || !checks["serializable_read"] {
		t.Errorf("ready: %v, %v", checks, err)
	}
	if _, err := client.Page(ctx, "/no/such"); !errors.Is(err, etcd.ErrNoPage) {
		t.Errorf("a page that there is not: %v", err)
	}
	if _, err := (etcd.Page{Status: 503}).Metrics(); err == nil {
		t.Error("an error's page passed for metrics")
	}
}

// TestChecksThatFailed: what /readyz says of a member that is not well.
func TestChecksThatFailed(t *testing.T) {
	page := etcd.Page{Body: []byte("[+]serializable_read ok\n[-]linearizable_read failed: context deadline exceeded\nreadyz check failed\n")}
	checks := page.Checks()
	if passed, seen := checks["linearizable_read"]; !seen || passed || !checks["serializable_read"] || len(checks) != 2 {
		t.Errorf("checks are %v", checks)
	}
}

// TestPagesVerifyTheName: the connection for pages is as strict as the others.
func TestPagesVerifyTheName(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{})
	endpoint := cluster.Members[0].Endpoint()
	endpoint.ServerName = "somebody-else"
	_, err := cluster.OpenWith(endpoint, cluster.ClientOptions()).Page(timeout(t), "/metrics")
	if err == nil || !strings.Contains(err.Error(), "somebody-else") {
		t.Errorf("another's certificate was taken: %v", err)
	}
}

// TestPeekCertificate looks at the certificate of a server that wants one of ours.
func TestPeekCertificate(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{})
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", cluster.Members[0].Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	certificate, err := etcd.PeekCertificate(timeout(t), dial())
	if err != nil || certificate.Side != etcd.ServerSide || !certificate.NotAfter.After(time.Now()) {
		t.Errorf("%+v, %v", certificate, err)
	}
	plain := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
	conn, err := net.Dial("tcp", plain.Members[0].Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := etcd.PeekCertificate(ctx, conn); err == nil {
		t.Error("a server without TLS showed a certificate")
	}
}

func TestScan(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
	client := cluster.Open(0)
	ctx := timeout(t)
	var want []string
	for i := range 25 {
		key := fmt.Sprintf("/r/%02d", i)
		etcdtest.Put(t, client.Raw(), key, "v"+key)
		want = append(want, key)
	}
	etcdtest.Put(t, client.Raw(), "/r", "before")
	etcdtest.Put(t, client.Raw(), "/r0", "after")
	for _, page := range []int64{1, 7, 25, 100} {
		var got []string
		err := client.Scan(ctx, "/r/", page, 0, func(stored etcd.KeyValue) bool {
			if string(stored.Value) != "v"+stored.Key {
				t.Errorf("%s has the value %q", stored.Key, stored.Value)
			}
			got = append(got, stored.Key)
			return true
		})
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("pages of %d give %q, %v", page, got, err)
		}
	}
	seen := 0
	if err := client.Scan(ctx, "/r/", 10, 3, func(etcd.KeyValue) bool { seen++; return true }); err != nil || seen != 3 {
		t.Errorf("a limit of 3 gives %d, %v", seen, err)
	}
	if n, err := client.Count(ctx, "/r/"); err != nil || n != 25 {
		t.Errorf("there are %d, %v", n, err)
	}
	linearizable, serializable, err := client.TimeReads(ctx, 30, 20*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for _, times := range [][]time.Duration{linearizable, serializable} {
		if len(times) != 30 || !slices.IsSorted(times) || times[0] <= 0 {
			t.Errorf("30 reads took %v", times)
		}
	}
}

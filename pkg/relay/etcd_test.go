package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
)

// through opens a client of a real etcd member behind a real relay.
func through(t *testing.T, c *etcdtest.Cluster, s *site, i int) *etcd.Client {
	t.Helper()
	m := c.Members[i]
	return c.OpenWith(etcd.Endpoint{
		Name: m.Name, URL: "http://" + m.Addr(),
		Dial: func(ctx context.Context) (net.Conn, error) {
			return s.DialContext(ctx, Stream{Member: m.Addr(), ALPN: HTTP2})
		},
	}, etcd.Options{})
}

func beside(c *etcdtest.Cluster) func(*Server) {
	return func(s *Server) {
		s.TLS = c.TLS()
		for _, m := range c.Members {
			s.Members = append(s.Members, m.Addr())
		}
	}
}

func TestEtcdThroughTheRelay(t *testing.T) {
	c := etcdtest.Start(t, 1, etcdtest.Options{})
	c.Fill(300, 1<<10)
	client := through(t, c, startRelay(t, beside(c)), 0)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	status, err := client.Status(ctx)
	if err != nil || status.MemberID != c.Members[0].ID() {
		t.Fatalf("status: %+v, %v", status, err)
	}
	direct := c.Open(0)
	want, err := direct.HashKV(ctx, status.Revision)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := client.HashKV(ctx, status.Revision); err != nil || got.Hash != want.Hash {
		t.Errorf("HashKV: %+v, %v, want %+v", got, err, want)
	}
	stream, err := client.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if n, err := io.Copy(io.Discard, stream); err != nil || n < 300<<10 {
		t.Errorf("snapshot: %d bytes, %v", n, err)
	}

	events := client.Raw().Watch(ctx, "/watched/", clientv3.WithPrefix())
	for i := range 100 {
		etcdtest.Put(t, direct.Raw(), fmt.Sprintf("/watched/%d", i), "x")
		select {
		case answer := <-events:
			if len(answer.Events) != 1 || string(answer.Events[0].Kv.Key) != fmt.Sprintf("/watched/%d", i) {
				t.Fatalf("event %d: %+v", i, answer)
			}
		case <-ctx.Done():
			t.Fatalf("event %d did not come while nothing follows it", i)
		}
	}
}

// A snapshot that nobody reads holds up no other call.
func TestAStalledSnapshotDelaysNothing(t *testing.T) {
	c := etcdtest.Start(t, 1, etcdtest.Options{})
	c.Fill(192, 64<<10)
	s := startRelay(t, beside(c))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stalled, err := through(t, c, s, 0).Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer stalled.Close()
	if _, err := io.ReadFull(stalled, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	other := through(t, c, s, 0)
	for range 20 {
		if _, err := other.Status(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// The reason why the node's certificate was refused reaches whoever asks.
func TestRefusedCertificateReachesTheCaller(t *testing.T) {
	c := etcdtest.Start(t, 1, etcdtest.Options{})
	s := startRelay(t, func(s *Server) {
		beside(c)(s)
		s.TLS.Certificates = etcdtest.NewAuthority(t, "other").ClientTLS(etcdtest.Leaf{}).Certificates
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := through(t, c, s, 0).Status(ctx); !errors.Is(err, ErrMember) {
		t.Errorf("got %v", err)
	}
}

package etcd_test

import (
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
)

// A client knows both certificates of its connection, once there was one, and a look
// carries them into the row.
func TestClientSeesCertificates(t *testing.T) {
	serverEnds, clientEnds := time.Now().Add(20*24*time.Hour), time.Now().Add(3*24*time.Hour)
	cluster := etcdtest.Start(t, 1, etcdtest.Options{Server: etcdtest.Leaf{CommonName: "server", NotAfter: serverEnds}})
	client := cluster.OpenWith(cluster.Members[0].Endpoint(), etcd.Options{
		TLS: cluster.Authority.ClientTLS(etcdtest.Leaf{CommonName: "me", NotAfter: clientEnds}),
	})
	if got := client.Certificates(); len(got) != 0 {
		t.Errorf("before any connection: %v", got)
	}
	overview := etcd.Observe(t.Context(), []etcd.Source{{Name: "etcd-a", Reader: client}}, 10*time.Second)
	want := []etcd.Certificate{
		{Side: etcd.ServerSide, Subject: "CN=server", NotAfter: serverEnds.UTC().Truncate(time.Second)},
		{Side: etcd.ClientSide, Subject: "CN=me", NotAfter: clientEnds.UTC().Truncate(time.Second)},
	}
	got := overview.Members[0].Certificates
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("certificates %v, want %v", got, want)
	}
	if overview.Verdict.Level != etcd.LevelCritical {
		t.Errorf("verdict %+v", overview.Verdict)
	}
}

func TestPlainClientHasNoCertificates(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
	client := cluster.OpenWith(cluster.Members[0].Endpoint(), etcd.Options{})
	if _, err := client.Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := client.Certificates(); len(got) != 0 {
		t.Errorf("certificates %v", got)
	}
}

package cmd

import (
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
)

// A member is meant by every name that status shows for it.
func TestMatchFrom(t *testing.T) {
	members := []etcd.MemberView{
		{Name: "m1", Pod: "etcd-node1", Node: "node1", Source: "etcd-node1"},
		{Name: "m2", Pod: "etcd-node2", Node: "node2", Source: "etcd-node2"},
		{Name: "node2", Pod: "etcd-node3", Node: "node3", Source: "etcd-node3"}, // badly named
		{Name: "10.0.0.4:2379", Source: "10.0.0.4:2379"},
		{Name: "unreached"},
	}
	const all = "there are etcd-node1 (member m1), etcd-node2 (member m2), etcd-node3 (member node2), 10.0.0.4:2379"
	for _, test := range []struct{ name, want, err string }{
		{"m1", "etcd-node1", ""},
		{"node1", "etcd-node1", ""},
		{"etcd-node1", "etcd-node1", ""},
		{"node3", "etcd-node3", ""},
		{"node2", "", `"node2" means etcd-node2 and etcd-node3: ` + all},
		{"nobody", "", `no member "nobody": ` + all},
		{"unreached", "", `no member "unreached": ` + all},
	} {
		got, err := matchFrom(members, test.name)
		if got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
		checkUsage(t, test.name, err, test.err)
	}
}

// A real member says itself what it is called.
func TestResolveFrom(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{})
	source := cluster.Sources()[0]
	name := cluster.Members[0].Name
	source.Name = "127.0.0.1:1"
	r := &reach{sources: []etcd.Source{source}}
	for _, from := range []string{name, source.Name} {
		if got, err := r.resolveFrom(t.Context(), from, 10*time.Second); got != source.Name || err != nil {
			t.Errorf("%s: %q, %v", from, got, err)
		}
	}
	if got, err := r.resolveFrom(t.Context(), "", 10*time.Second); got != "" || err != nil {
		t.Errorf("without --from: %q, %v", got, err)
	}
}

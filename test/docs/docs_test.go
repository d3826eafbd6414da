package docs

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

const page = "Type `make demo`, or `kubectl etcd status`; `backup --follow` goes on, `backup` alone not.\n" +
	"```\n" +
	"$ kubectl etcd keygen -f key     # a key\n" +
	"next: kubectl etcd backups\n" +
	"kubectl etcd is what this output is about\n" +
	"```\n" +
	"```sh\n" +
	"kubectl-etcd status --on-node\n" +
	"make image   what it does\n" +
	"export PATH=bin:$PATH KUBECONFIG=$(make -s cluster-kubeconfig)\n" +
	"```\n" +
	"`SEEDS=1 go test ./x (go run ./y)`, not `kubectl-etcd.dev/v1` nor `make-mirror`\n"

func TestLines(t *testing.T) {
	want := []Line{
		{"p", 1, "make demo", false},
		{"p", 1, "kubectl etcd status", false},
		{"p", 1, "kubectl etcd backup --follow", false},
		{"p", 3, "kubectl etcd keygen -f key", true},
		{"p", 4, "kubectl etcd backups", false},
		{"p", 5, "kubectl etcd is what this output is about", false},
		{"p", 8, "kubectl-etcd status --on-node", true},
		{"p", 9, "make image", false},
		{"p", 10, "make -s cluster-kubeconfig", false},
		{"p", 12, "go test ./x", false},
		{"p", 12, "go run ./y", false},
	}
	got := (&reader{page: "p", names: []string{"backup"}}).read(page)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

package backup

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
)

// A snapshot of the only member that is left is taken, but never called simply good
// where the member itself is in doubt.
func TestDoubtfulMemberIsNamed(t *testing.T) {
	database := make([]byte, 4096)
	sum := sha256.Sum256(database)
	stub := &etcdtest.Stub{
		OnStatus: func() (*pb.StatusResponse, error) {
			return &pb.StatusResponse{
				Header: &pb.ResponseHeader{MemberId: 7, ClusterId: 1}, Leader: 0, RaftIndex: 5000, RaftAppliedIndex: 10,
				Errors: []string{"memberID:7 alarm:CORRUPT"},
			}, nil
		},
		Messages: etcdtest.SnapshotMessages(database, sum[:]),
	}
	var told []string
	var out bytes.Buffer
	report, err := WriteTo(t.Context(), []Source{{Name: "a", Client: stub.Open(t, "a")}}, &out, Options{
		OnEvent: func(e Event) { told = append(told, e.Note) },
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"CORRUPT", "no leader", "4990 raft entries behind"} {
		if text := strings.Join(told, "\n"); !strings.Contains(text, want) {
			t.Errorf("%q was not told: %q", want, text)
		}
		if text := fmt.Sprint(report.Warnings); !strings.Contains(text, want) {
			t.Errorf("%q is not in the report: %s", want, text)
		}
	}
}

package backup

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

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
				Header: &pb.ResponseHeader{MemberId: 7, ClusterId: 1, Revision: 42}, Leader: 0, RaftIndex: 5000, RaftAppliedIndex: 10,
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
	if !report.WithoutQuorum {
		t.Error("the report does not say that there was no quorum")
	}
	for _, want := range []string{
		"CORRUPT", "no leader", "up to revision 42", "committed by a quorum once", "may be missing", "4990 raft entries behind",
	} {
		if text := strings.Join(told, "\n"); !strings.Contains(text, want) {
			t.Errorf("%q was not told: %q", want, text)
		}
		if text := fmt.Sprint(report.Warnings); !strings.Contains(text, want) {
			t.Errorf("%q is not in the report: %s", want, text)
		}
	}
}

// etcd raises CORRUPT for member 0 when it can't tell whose data is wrong.
func TestSnapshotUnderTheClustersAlarmIsDoubtful(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
	client := cluster.Open(0)
	cluster.RaiseAlarm(0, pb.AlarmType_CORRUPT)
	var out bytes.Buffer
	report, err := WriteTo(t.Context(), []Source{{Name: "a", Client: client}}, &out, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprint(report.Warnings); !strings.Contains(text, "the cluster has the alarm CORRUPT") {
		t.Errorf("warnings %q, want the alarm", report.Warnings)
	}
}

// Two of three members are gone: the last one's data is saved, and is what it had applied.
func TestSnapshotWithoutQuorum(t *testing.T) {
	cluster := etcdtest.Start(t, 3, etcdtest.Options{})
	cluster.Fill(50, 100)
	want, err := cluster.Open(0).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cluster.Members[1].Stop()
	cluster.Members[2].Stop()
	last := cluster.Open(0)
	eventually(t, func() bool {
		status, err := last.Status(t.Context())
		return err == nil && status.Leader == 0
	})
	var out bytes.Buffer
	report, err := WriteTo(t.Context(), []Source{{Name: "a", Client: last}}, &out, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprint(report.Warnings); !report.WithoutQuorum || !strings.Contains(text, fmt.Sprintf("up to revision %d", want.Revision)) {
		t.Errorf("without quorum %t, warnings %s; want revision %d in them", report.WithoutQuorum, text, want.Revision)
	}
}

// eventually waits for what must come; how long is not what is tested.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not come in a minute")
		}
	}
}

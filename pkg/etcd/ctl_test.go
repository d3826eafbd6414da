package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// golden answers the commands with files that the real etcdctl of that version printed.
func golden(t *testing.T, version string, files map[string]string) *etcd.Ctl {
	t.Helper()
	return &etcd.Ctl{Run: func(_ context.Context, args ...string) ([]byte, error) {
		file, ok := files[strings.Join(args, " ")]
		if !ok {
			t.Errorf("etcdctl was run with %q", args)
			return nil, errors.New("no such command")
		}
		return os.ReadFile(filepath.Join("testdata", "etcdctl-"+version, file))
	}}
}

func TestCtlReadsTheRealThing(t *testing.T) {
	ctl := golden(t, "3.7.3", map[string]string{
		"endpoint status -w json":             "status-nospace.json",
		"endpoint health -w json":             "health-nospace.json",
		"member list --consistency=s -w json": "members.json",
		"alarm list -w json":                  "alarms.json",
	})
	status, err := ctl.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := etcd.Status{
		ClusterID: 324952591200643719, MemberID: 3319814642761637952, Leader: 3319814642761637952,
		Version: "3.7.3", StorageVersion: "3.7.0", Revision: 18, RaftTerm: 2, RaftIndex: 26, RaftApplied: 26,
		DBSize: 20746240, DBSizeInUse: 18046976, DBSizeQuota: 20000000,
		Errors: []string{"memberID:3319814642761637952 alarm:NOSPACE"}, At: status.At,
	}
	if diff := cmp.Diff(want, status); diff != "" || time.Since(status.At) > time.Hour {
		t.Errorf("Status (-want +got):\n%s", diff)
	}
	members, err := ctl.Members(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wantMembers := []etcd.Member{
		{ID: 2619379507399503674, PeerURLs: []string{"http://127.0.0.1:23801"}, Learner: true},
		{ID: 3319814642761637952, Name: "a", PeerURLs: []string{"http://127.0.0.1:23800"}, ClientURLs: []string{"http://127.0.0.1:23790"}},
	}
	if diff := cmp.Diff(wantMembers, members); diff != "" {
		t.Errorf("Members (-want +got):\n%s", diff)
	}
	alarms, err := ctl.Alarms(t.Context())
	if diff := cmp.Diff([]etcd.Alarm{{MemberID: 3319814642761637952, Type: "NOSPACE"}}, alarms); diff != "" || err != nil {
		t.Errorf("Alarms, %v (-want +got):\n%s", err, diff)
	}
	if err := ctl.Health(t.Context()); err != nil {
		t.Errorf("Health under an alarm = %v: the read came through", err)
	}
}

func TestCtlWithoutAlarms(t *testing.T) {
	ctl := golden(t, "3.7.3", map[string]string{
		"alarm list -w json":      "alarms-none.json",
		"endpoint health -w json": "health.json",
	})
	if alarms, err := ctl.Alarms(t.Context()); err != nil || len(alarms) != 0 {
		t.Errorf("Alarms = %v, %v, want none", alarms, err)
	}
	if err := ctl.Health(t.Context()); err != nil {
		t.Errorf("Health = %v", err)
	}
}

// fixed is an etcdctl that always prints out and ends with err.
func fixed(out string, err error) *etcd.Ctl {
	return &etcd.Ctl{Run: func(context.Context, ...string) ([]byte, error) { return []byte(out), err }}
}

func TestCtlShapes(t *testing.T) {
	// What 3.4 left out, a quoted number, and an ID beyond what a float64 and an int64 hold.
	const old = `[{"Endpoint":"x","Status":{"header":{"cluster_id":14841639068965178418,"member_id":"10276657743932975437",
		"revision":7,"raft_term":3},"version":"3.4.45","dbSize":4096,"leader":10276657743932975437,"raftIndex":9,"raftTerm":3,
		"raftAppliedIndex":9,"dbSizeInUse":4096}}]`
	status, err := fixed(old, nil).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := etcd.Status{
		ClusterID: 14841639068965178418, MemberID: 10276657743932975437, Leader: 10276657743932975437, Version: "3.4.45",
		Revision: 7, RaftTerm: 3, RaftIndex: 9, RaftApplied: 9, DBSize: 4096, DBSizeInUse: 4096, At: status.At,
	}
	if diff := cmp.Diff(want, status); diff != "" {
		t.Errorf("Status (-want +got):\n%s", diff)
	}
	alarms, err := fixed(`{"header":{},"alarms":[{"memberID":1,"alarm":2},{"memberID":1,"alarm":"NOSPACE"},{"memberID":1,"alarm":7}]}`, nil).Alarms(t.Context())
	if diff := cmp.Diff([]etcd.Alarm{{1, "CORRUPT"}, {1, "NOSPACE"}, {1, "7"}}, alarms); diff != "" || err != nil {
		t.Errorf("Alarms, %v (-want +got):\n%s", err, diff)
	}
}

// etcdctl calls a member unhealthy for more than its read.
func TestCtlHealthIsThatOfTheRead(t *testing.T) {
	for _, text := range []string{"Active Alarm(s): CORRUPT ", "Unable to fetch the alarm list", "etcdserver: user name is empty"} {
		out := fmt.Sprintf(`[{"endpoint":"x","health":false,"took":"1.2ms","error":%q}]`, text)
		if err := fixed(out, errors.New("ended with 1: Error: unhealthy cluster")).Health(t.Context()); err != nil {
			t.Errorf("%s: %v, though the read passed", text, err)
		}
	}
	for text, late := range map[string]bool{"context deadline exceeded": true, "etcdserver: request timed out": false} {
		err := fixed(fmt.Sprintf(`[{"endpoint":"x","health":false,"error":%q}]`, text), nil).Health(t.Context())
		if err == nil || errors.Is(err, context.DeadlineExceeded) != late {
			t.Errorf("%s: %v, late: want %t", text, err, late)
		}
	}
}

func TestCtlErrors(t *testing.T) {
	ended := errors.New("ended with 1: Error: unhealthy cluster")
	tests := []struct {
		name string
		call func() error
		want string
	}{
		{"no answer, null printed", func() error { _, err := fixed("null\n", ended).Status(t.Context()); return err }, "ended with 1"},
		{"nothing printed", func() error { _, err := fixed("", ended).Members(t.Context()); return err }, "ended with 1"},
		{"two endpoints", func() error { _, err := fixed(`[{"Status":{}},{"Status":{}}]`, nil).Status(t.Context()); return err }, "2 answers"},
		{"no JSON", func() error { _, err := fixed("oops", nil).Alarms(t.Context()); return err }, "decode answer"},
		{"no number", func() error { _, err := fixed(`{"alarms":[{"memberID":-1}]}`, nil).Alarms(t.Context()); return err }, "parse number"},
		{"unhealthy: the answer counts, not how it ended", func() error {
			return fixed(`[{"endpoint":"x","health":false,"took":"2s","error":"context deadline exceeded"}]`, ended).Health(t.Context())
		}, "linearizable read: context deadline exceeded"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if err := test.call(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q in it", err, test.want)
			}
		})
	}
}

func TestCtlMembersBefore36(t *testing.T) {
	calls := 0
	ctl := &etcd.Ctl{Run: func(_ context.Context, args ...string) ([]byte, error) {
		calls++
		if strings.Contains(strings.Join(args, " "), "--consistency") {
			return nil, errors.New("ended with 1: Error: unknown flag: --consistency")
		}
		return []byte(`{"members":[{"ID":5,"name":"a","peerURLs":["http://p"]}]}`), nil
	}}
	members, err := ctl.Members(t.Context())
	if diff := cmp.Diff([]etcd.Member{{ID: 5, Name: "a", PeerURLs: []string{"http://p"}}}, members); diff != "" || err != nil || calls != 2 {
		t.Errorf("Members in %d calls, %v (-want +got):\n%s", calls, err, diff)
	}
}

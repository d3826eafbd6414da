package etcd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
)

func TestReadMember(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{Quota: 64 << 20})
	member := cluster.Members[0]
	client := cluster.Open(0)
	ctx := timeout(t)
	etcdtest.Put(t, client.Raw(), "a", "1")
	etcdtest.Put(t, client.Raw(), "a", "2")

	status, err := client.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	server := member.Server.Server
	want := etcd.Status{
		ClusterID: etcd.ID(server.Cluster().ID()), MemberID: member.ID(), Leader: member.ID(),
		Version: "3.7.3", Revision: 3,
		RaftTerm: server.Term(), RaftIndex: server.CommittedIndex(), RaftApplied: server.AppliedIndex(),
		DBSizeQuota:    64 << 20,
		StorageVersion: status.StorageVersion, // the server sets it some seconds later
		DBSize:         status.DBSize, DBSizeInUse: status.DBSizeInUse, Latency: status.Latency, At: status.At,
	}
	if diff := cmp.Diff(want, status); diff != "" {
		t.Errorf("Status (-want +got):\n%s", diff)
	}
	if status.DBSize <= 0 || status.DBSizeInUse <= 0 || status.Latency <= 0 || status.At.IsZero() {
		t.Errorf("Status has no size, latency or time: %+v", status)
	}

	members, err := client.Members(ctx)
	if err != nil {
		t.Fatal(err)
	}
	wantMembers := []etcd.Member{{ID: member.ID(), Name: "a", PeerURLs: []string{member.PeerURL}, ClientURLs: []string{member.ClientURL}}}
	if diff := cmp.Diff(wantMembers, members); diff != "" {
		t.Errorf("Members (-want +got):\n%s", diff)
	}

	hash, err := client.HashKV(ctx, 2)
	if err != nil {
		t.Fatal(err)
	}
	wantHash := etcd.Hash{MemberID: member.ID(), Hash: hash.Hash, HashRevision: 2, CompactRevision: -1, Revision: 3}
	if diff := cmp.Diff(wantHash, hash); diff != "" || hash.Hash == 0 {
		t.Errorf("HashKV (-want +got):\n%s", diff)
	}
	if head, err := client.HashKV(ctx, 0); err != nil || head.Hash == hash.Hash || head.HashRevision != 3 {
		t.Errorf("HashKV(0) = %+v, %v, want another hash at revision 3", head, err)
	}
	if err := client.Health(ctx); err != nil {
		t.Errorf("Health = %v", err)
	}
}

func TestAlarms(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{Plain: true, Quota: 1 << 20})
	client := cluster.Open(0)
	ctx := timeout(t)
	if alarms, err := client.Alarms(ctx); err != nil || len(alarms) != 0 {
		t.Fatalf("Alarms = %v, %v, want none", alarms, err)
	}
	value := string(make([]byte, 300<<10))
	for err := error(nil); err == nil; {
		_, err = client.Raw().Put(ctx, "a", value)
	}
	alarms, err := client.Alarms(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]etcd.Alarm{{MemberID: cluster.Members[0].ID(), Type: "NOSPACE"}}, alarms); diff != "" {
		t.Errorf("Alarms (-want +got):\n%s", diff)
	}
}

// startWithUsers is a member whose auth is on: root may all, reader only /a.
func startWithUsers(t *testing.T) *etcdtest.Cluster {
	t.Helper()
	cluster := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
	ctx := timeout(t)
	raw := cluster.Open(0).Raw()
	steps := []func() error{
		func() error { _, err := raw.UserAdd(ctx, "root", "secret"); return err },
		func() error { _, err := raw.UserAdd(ctx, "reader", "books"); return err },
		func() error { _, err := raw.RoleAdd(ctx, "root"); return err },
		func() error { _, err := raw.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := raw.AuthEnable(ctx); return err },
	}
	for i, step := range steps {
		if err := step(); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}
	return cluster
}

func TestUsers(t *testing.T) {
	cluster := startWithUsers(t)
	tests := []struct {
		name, user, password             string
		status, members, snapshot, reads error
	}{
		{"root", "root", "secret", nil, nil, nil, nil},
		{"reader", "reader", "books", nil, nil, etcd.ErrPermission, nil},
		{"nobody", "", "", etcd.ErrLogin, etcd.ErrLogin, etcd.ErrLogin, nil}, // its read was refused after consensus
		{"wrong password", "root", "guess", etcd.ErrLogin, etcd.ErrLogin, etcd.ErrLogin, etcd.ErrLogin},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ctx := timeout(t)
			client := cluster.OpenWith(cluster.Members[0].Endpoint(), etcd.Options{Username: test.user, Password: test.password})
			_, status := client.Status(ctx)
			_, members := client.Members(ctx)
			stream, snapshot := client.Snapshot(ctx)
			if snapshot == nil {
				stream.Close()
			}
			reads := client.Health(ctx)
			for what, pair := range map[string][2]error{
				"Status": {status, test.status}, "Members": {members, test.members},
				"Snapshot": {snapshot, test.snapshot}, "Health": {reads, test.reads},
			} {
				if !errors.Is(pair[0], pair[1]) {
					t.Errorf("%s = %v, want %v", what, pair[0], pair[1])
				}
			}
		})
	}
}

func TestTokenIsRenewed(t *testing.T) {
	cluster := startWithUsers(t)
	client := cluster.OpenWith(cluster.Members[0].Endpoint(), etcd.Options{Username: "root", Password: "secret"})
	ctx := timeout(t)
	if _, err := client.HashKV(ctx, 0); err != nil {
		t.Fatal(err)
	}
	cluster.Members[0].Stop() // its simple tokens are forgotten
	cluster.Members[0].Start()
	cluster.Leader()
	var err error
	for ctx.Err() == nil {
		if _, err = client.HashKV(ctx, 0); err == nil {
			break
		}
	}
	if err != nil {
		t.Errorf("HashKV after the member's restart: %v", err)
	}
}

func TestUserWhereAuthIsOff(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
	client := cluster.OpenWith(cluster.Members[0].Endpoint(), etcd.Options{Username: "root", Password: "secret"})
	if _, err := client.HashKV(timeout(t), 0); err != nil {
		t.Errorf("HashKV = %v", err)
	}
}

func TestIDText(t *testing.T) {
	for text, id := range map[string]etcd.ID{`"0"`: 0, `"8e9e05c52164694d"`: 0x8e9e05c52164694d, `"a1"`: 0xa1} {
		out, err := json.Marshal(id)
		if err != nil || string(out) != text {
			t.Errorf("Marshal(%d) = %s, %v, want %s", uint64(id), out, err, text)
		}
		var back etcd.ID
		if err := json.Unmarshal([]byte(text), &back); err != nil || back != id {
			t.Errorf("Unmarshal(%s) = %d, %v", text, uint64(back), err)
		}
	}
	if err := json.Unmarshal([]byte(`"xyz"`), new(etcd.ID)); err == nil {
		t.Error("Unmarshal of no hex gave no error")
	}
}

func TestLogIsQuietUnlessAsked(t *testing.T) {
	for _, test := range []struct {
		level slog.Level
		want  bool
	}{{slog.LevelInfo, false}, {slog.LevelDebug, true}} {
		var out bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: test.level}))
		client, err := etcd.Open(etcd.Endpoint{Name: "a", URL: "http://" + etcdtest.FreeAddr(t)}, etcd.Options{Logger: logger})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), deadline)
		_, _ = client.Raw().Get(ctx, "a") // fails, and clientv3 says so
		cancel()
		client.Close()
		if got := bytes.Contains(out.Bytes(), []byte("etcd client:")); got != test.want {
			t.Errorf("at level %s it logged %q", test.level, out.String())
		}
	}
}

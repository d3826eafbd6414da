package health

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
)

// sourcesOf are the ways to a real cluster's members.
func sourcesOf(cluster *etcdtest.Cluster) Sources {
	s := Sources{
		Timeout: 20 * time.Second, Now: time.Now, WithoutKubernetes: "there is none",
		Archive: func(context.Context) Fact[Archive] { return Unknown[Archive]("none was given") },
	}
	clients := cluster.Clients()
	for i, source := range cluster.Sources() {
		s.Members = append(s.Members, Source{
			Source: source, Client: clients[i], Spec: Known(map[string]string{"name": source.Name}),
			PeerCertificates: func(context.Context) Fact[[]etcd.Certificate] { return Unknown[[]etcd.Certificate]("not here") },
		})
	}
	return s
}

// TestCollect: everything that a real member tells is there, and one that is dead costs no
// more than its own timeout, and hides nothing of the others.
func TestCollect(t *testing.T) {
	cluster := etcdtest.Start(t, 3, etcdtest.Options{})
	cluster.Fill(20, 100)
	sources := sourcesOf(cluster)
	sources.Sample, sources.Deep = 2*time.Second, true
	facts := Collect(t.Context(), sources)
	for _, m := range facts.Members {
		whole(t, m)
	}
	if t.Failed() {
		return
	}
	if !facts.Members[0].Before.Value.At.Before(facts.Members[0].Now.Value.At.Add(-time.Second)) {
		t.Error("both looks are of one moment")
	}
	a, b := facts.Members[0].Hash.Value, facts.Members[1].Hash.Value
	if a.Hash == 0 || a.Hash != b.Hash || a.HashRevision != b.HashRevision {
		t.Errorf("the hashes are %+v and %+v", a, b)
	}

	dead := cluster.Follower()
	name := cluster.Members[dead].Endpoint().Name
	cluster.Members[dead].Stop()
	sources.Sample, sources.Deep = 0, false
	began := time.Now()
	facts = Collect(t.Context(), sources)
	if took := time.Since(began); took > 2*sources.Timeout {
		t.Errorf("with a dead member it took %s", took)
	}
	silent := 0
	for _, m := range facts.Members {
		if m.silent() == "" {
			whole(t, m)
			continue
		}
		silent++
		if m.View.Name != name && m.View.Source != name || m.Now.Known() || m.Reads.Known() || len(m.Statuses) > 0 {
			t.Errorf("the silent one is %s, and tells %+v", m.Name(), m)
		}
	}
	if silent != 1 {
		t.Errorf("%d members are silent", silent)
	}
}

// whole fails where something was not measured of a real member.
func whole(t *testing.T, m Member) {
	t.Helper()
	var missing []string
	for what, why := range map[string]string{
		"list": m.List.Because, "metrics": m.Now.Because, "variables": m.Vars.Because,
		"reads": m.Reads.Because, "clock": m.Clock.Because, "ready": m.Ready.Because,
	} {
		if why != "" {
			missing = append(missing, what+": "+why)
		}
	}
	if len(missing) > 0 || len(m.Statuses) == 0 || len(m.Reads.Value.Linearizable) < 30 {
		t.Errorf("%s is not whole: %s, %d answers", m.Name(), strings.Join(missing, "; "), len(m.Statuses))
	}
}

// TestFrozenMember: one that answers and then freezes takes no more time than one that is
// silent from the beginning, however much a far one may take for all its reads.
func TestFrozenMember(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{})
	line := etcdtest.NewLine(cluster.Members[0].Addr())
	defer line.Release()
	endpoint := cluster.Members[0].Endpoint()
	endpoint.Dial = line.Dial
	client := cluster.OpenWith(endpoint, cluster.ClientOptions())
	sources := sourcesOf(cluster)
	sources.Timeout, sources.ReadTime = time.Second, time.Minute
	source := &sources.Members[0]
	source.Client, source.Reader = client, freezing{client, line}
	began := time.Now()
	facts := Collect(t.Context(), sources)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	if got := facts.Members[0].Reads; got.Because != "no answer in time" {
		t.Errorf("reads: %+v", got)
	}
}

// freezing holds the line once Status was answered.
type freezing struct {
	*etcd.Client
	line *etcdtest.Line
}

func (f freezing) Status(ctx context.Context) (etcd.Status, error) {
	status, err := f.Client.Status(ctx)
	f.line.Hold()
	return status, err
}

// TestQuotaOfOlderVersions: before 3.6 a member's answer does not tell its quota, and without
// a pod nothing else does but its metrics.
func TestQuotaOfOlderVersions(t *testing.T) {
	for _, c := range []struct {
		name   string
		status etcd.Status
		page   string
		want   int64
	}{
		{"shown", etcd.Status{Version: "3.5.26"}, "etcd_server_quota_backend_bytes 8.589934592e+09\n", 8 << 30},
		{"none", etcd.Status{Version: "3.5.26"}, "etcd_server_quota_backend_bytes -1\n", -1},
		{"not shown", etcd.Status{Version: "3.5.26"}, "x 1\n", etcd.DefaultQuota},
		{"answered", etcd.Status{Version: "3.7.3", DBSizeQuota: etcd.DefaultQuota}, "etcd_server_quota_backend_bytes 1\n", etcd.DefaultQuota},
	} {
		view := etcd.MemberView{Source: "a", Status: &c.status, Quota: etcd.DefaultQuota}
		got := arrange(etcd.Overview{Members: []etcd.MemberView{view}}, []Source{{Source: etcd.Source{Name: "a"}}}, []Member{member("", c.page)})
		if got[0].View.Quota != c.want {
			t.Errorf("%s: %d, want %d", c.name, got[0].View.Quota, c.want)
		}
	}
}

// TestPending: what the process runs with counts, and where the spec says otherwise it waits
// for a restart.
func TestPending(t *testing.T) {
	m := Member{
		Settings: Known(map[string]string{"heartbeat-interval": "200", "snapshot-count": "10000"}),
		Vars:     Known(etcd.Vars{Argv: []string{"etcd", "--heartbeat-interval=100", "--name=a"}}),
	}
	m.settings(Source{Spec: m.Settings, Flags: func([]string) map[string]string {
		return map[string]string{"heartbeat-interval": "100", "name": "a"}
	}})
	got := m.Settings.Value
	if got["heartbeat-interval"] != "100" || got["snapshot-count"] != "10000" || got["name"] != "a" {
		t.Errorf("the settings are %v", got)
	}
	if len(m.Pending) != 1 || m.Pending["heartbeat-interval"] != "200 ≠ 100" {
		t.Errorf("pending: %v", m.Pending)
	}
}

// TestPendingOnTheCommandLine: where etcd's own flags are all known, one that the process
// lacks waits for a restart too, and so does one that was taken away.
func TestPendingOnTheCommandLine(t *testing.T) {
	written := map[string]string{"heartbeat-interval": "200", "name": "a"}
	m := Member{Vars: Known(etcd.Vars{Argv: []string{"etcd", "--name=a", "--pre-vote=false"}})}
	m.settings(Source{Spec: Known(written), Written: written, Flags: func([]string) map[string]string {
		return map[string]string{"name": "a", "pre-vote": "false"}
	}})
	if diff := cmp.Diff(map[string]string{"name": "a", "pre-vote": "false"}, m.Settings.Value); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"heartbeat-interval": "200 ≠ not set", "pre-vote": "not set ≠ false"}, m.Pending); diff != "" {
		t.Errorf("pending (-want +got):\n%s", diff)
	}
}

func TestProvider(t *testing.T) {
	tests := map[string]string{
		"k8s:enc:aescbc:v1:key1:\x00\x01": "aescbc:v1:key1",
		"k8s:enc:kms:v2:cloud:abc":        "kms:v2:cloud",
		"k8s:enc:odd":                     "unknown",
		"k8s\x00\n\x0c\n\x02v1":           "",
		"{}":                              "",
	}
	for value, want := range tests {
		if got := provider([]byte(value)); got != want {
			t.Errorf("%q is by %q, want %q", value, got, want)
		}
	}
}

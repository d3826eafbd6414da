package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/discover"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/maintain"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/relay"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
)

func TestUpkeepUsage(t *testing.T) {
	for _, test := range []struct {
		args string
		want string
	}{
		{"defrag --min-free much", `--min-free "much" is no size like 1GiB`},
		{"defrag --min-free inf", `--min-free "inf" is no size like 1GiB`},
		{"defrag --min-free NaN", `--min-free "NaN" is no size like 1GiB`},
		{"defrag --min-fragmentation 200%", "--min-fragmentation"},
		{"defrag --min-quota-usage x", "--min-quota-usage"},
		{"defrag --disk-speed 0", `--disk-speed "0" is no size like 200MiB`},
		{"defrag --settle -1s", "--settle and --max-pause must not be less than 0"},
		{"defrag --healthy-within 0s", "--healthy-within more than 0"},
		{"compact", "--revision N or --keep 5m"},
		{"compact --revision 5 --keep 5m", "--revision N or --keep 5m"},
		{"compact --revision 0", "--revision must be 1 or more"},
		{"compact --keep 10s", "--keep must be 1m or more"},
		{"alarm disarn", `unknown command "disarn"`},
	} {
		s, out, errOut := testSession(nil)
		if code := s.execute(t.Context(), newRootCommand(s), strings.Fields(test.args)); code != exitUsage || !strings.Contains(errOut.String(), test.want) || out.Len() > 0 {
			t.Errorf("%q: code %d, %q, want %q", test.args, code, errOut, test.want)
		}
	}
}

// upkeepCluster is a real etcd, and the flags that reach it.
func upkeepCluster(t *testing.T, options etcdtest.Options) (*etcdtest.Cluster, []string) {
	t.Helper()
	options.Plain = true
	c := etcdtest.Start(t, 3, options)
	var endpoints []string
	for _, m := range c.Members {
		endpoints = append(endpoints, m.ClientURL)
	}
	return c, []string{"--endpoints", strings.Join(endpoints, ",")}
}

// upkeep runs a command line.
func upkeep(ctx context.Context, line string, more []string) (code int, stdout, stderr string) {
	s, out, errOut := testSession(nil)
	code = s.execute(ctx, newRootCommand(s), append(strings.Fields(line), more...))
	return code, out.String(), errOut.String()
}

// holes leaves more than half of every member's database free.
func holes(t *testing.T, c *etcdtest.Cluster) {
	t.Helper()
	c.Fill(128, 32<<10)
	client := c.Open(c.Leader()).Raw()
	deleted, err := client.Delete(t.Context(), "/fill/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Compact(t.Context(), deleted.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	sources := c.Sources()
	for range 300 { // the others compact by themselves, and count pages as free with their next write
		etcdtest.Put(t, client, "/tick", "x")
		time.Sleep(20 * time.Millisecond)
		all := true
		for _, m := range etcd.Observe(t.Context(), sources, 5*time.Second).Members {
			all = all && m.Status != nil && m.Status.DBSizeInUse < m.Status.DBSize/2
		}
		if all {
			return
		}
	}
	t.Fatal("compaction frees nothing")
}

func TestDefragCommand(t *testing.T) {
	c, reach := upkeepCluster(t, etcdtest.Options{})
	holes(t, c)
	leader := c.Members[c.Leader()].Name
	sizes := func() (sum int64) {
		for _, m := range etcd.Observe(t.Context(), c.Sources(), 5*time.Second).Members {
			sum += m.Status.DBSize
		}
		return sum
	}
	before := sizes()

	code, out, errOut := upkeep(t.Context(), "defrag --dry-run", reach)
	if code != exitOK || !strings.Contains(out, "plan: defragment 3 members") || !strings.Contains(out, "hand over to") || errOut != "" {
		t.Errorf("--dry-run: %d\n%s%s", code, out, errOut)
	}
	if !strings.Contains(out, "warning: whether there is a recent backup is not known: no --archive was given") {
		t.Errorf("--dry-run says nothing of a backup:\n%s", out)
	}
	code, out, errOut = upkeep(t.Context(), "defrag", reach)
	if code != exitUsage || !strings.Contains(out, "plan: defragment") || !strings.Contains(errOut, "nobody to ask") || !strings.Contains(errOut, "hint: look at it with --dry-run, then say --yes") {
		t.Errorf("without --yes: %d\n%s%s", code, out, errOut)
	}
	code, out, errOut = upkeep(t.Context(), "defrag --auto", reach) // 4 MiB are not worth it
	if code != exitOK || !strings.HasPrefix(out, "ok: nothing needs to be defragmented\n") || !strings.Contains(out, "is left out: not worth it") {
		t.Errorf("--auto: %d\n%s%s", code, out, errOut)
	}
	if now := sizes(); now != before {
		t.Errorf("something was done: %d, %d", before, now)
	}

	code, out, errOut = upkeep(t.Context(), "defrag --auto --min-free 1MiB --yes --settle 1ms -o json", reach)
	var done defragmentationJSON
	if err := json.Unmarshal([]byte(out), &done); err != nil || code != exitOK {
		t.Fatalf("code %d, %v\n%s%s", code, err, out, errOut)
	}
	if len(done.Plan.Steps) != 4 || len(done.Report.Members) != 3 || !done.Report.Done || !done.Report.LeaderMoved || done.Report.Reclaimed < 1<<20 || done.Report.LongestStall <= 0 {
		t.Errorf("got %s", out)
	}
	if now := sizes(); now > before/2 {
		t.Errorf("little was reclaimed: %d of %d", before-now, before)
	}
	if now := c.Members[c.Leader()].Name; now == leader {
		t.Error("the leader did not move")
	}
	for _, text := range []string{"plan: defragment 3 members", "1/4 defragment ", " is well: ", "waiting 1ms before the next member", "3/4 move the leadership from " + leader} {
		if !strings.Contains(errOut, text) {
			t.Errorf("%q is missing on stderr:\n%s", text, errOut)
		}
	}
}

type defragmentationJSON struct {
	Plan   struct{ Steps []map[string]any }
	Report struct {
		Members      []map[string]any
		Done         bool
		LeaderMoved  bool
		Reclaimed    int64
		LongestStall float64
	}
}

// Where it stands is told before "interrupted" is.
func TestDefragCommandInterrupted(t *testing.T) {
	c, reach := upkeepCluster(t, etcdtest.Options{})
	holes(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s, out, errOut := testSession(nil)
	s.ErrOut = writerFunc(func(p []byte) (int, error) {
		if bytes.Contains(p, []byte("waiting 1h")) {
			cancel()
		}
		return errOut.Write(p)
	})
	code := s.execute(ctx, newRootCommand(s), append([]string{"defrag", "--yes", "--settle", "1h"}, reach...))
	if code != exitInterrupted || !strings.Contains(out.String(), "where it stands: 1 of 3 members are defragmented; not done: defragment ") || !strings.Contains(errOut.String(), "error: interrupted") {
		t.Errorf("code %d\n%s%s", code, out, errOut)
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestDefragCommandRefuses(t *testing.T) {
	c, reach := upkeepCluster(t, etcdtest.Options{})
	c.Members[c.Follower()].Stop()
	code, out, errOut := upkeep(t.Context(), "defrag --yes --timeout 2s", reach)
	if code != exitError || !strings.Contains(out, "refused: ") || !strings.Contains(errOut, "error: not defragmented: ") || !strings.Contains(errOut, "hint: ") {
		t.Errorf("code %d\n%s%s", code, out, errOut)
	}
}

// What somebody else looks after is left to them, for a plan too; with --override-owner not.
func TestUpkeepLeavesItToTheOwner(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	for _, test := range []struct {
		owner discover.Owner
		want  string
	}{
		{discover.Owner{Kind: "etcd-druid", Managed: true, Advice: "a", Upkeep: "set spec.etcd.defragmentationSchedule"}, "set spec.etcd.defragmentationSchedule"},
		{discover.Owner{Kind: "etcd-manager", Managed: true, Advice: "use etcd-manager-ctl"}, "use etcd-manager-ctl"},
	} {
		cluster := discover.Cluster{Name: "main", Owner: test.owner, Pods: []discover.Pod{{Name: "etcd-0"}}}
		target := withKubernetes(t, server, &discover.Found{Clusters: []discover.Cluster{cluster}}, execDialer{})
		for _, looking := range []bool{true, false} {
			_, err := target.forUpkeep(t.Context(), upkeepFlags{dryRun: looking}, "defragment")
			f := target.explain(err, "kubectl etcd defrag")
			want := []string{test.want, "to do it all the same: --override-owner"}
			if diff := cmp.Diff(want, f.hints); diff != "" || !strings.Contains(f.message, test.owner.Kind+` looks after etcd "main"`) {
				t.Errorf("%+v (-want +got):\n%s", f, diff)
			}
		}
		r, err := target.forUpkeep(t.Context(), upkeepFlags{overrideOwner: true}, "defragment")
		if err != nil || r.kube == nil {
			t.Errorf("--override-owner: %+v, %v", r, err)
		}
	}
	owned := tlsCluster
	owned.Owner = discover.Owner{Kind: "etcd-manager", Managed: true, Advice: "use etcd-manager-ctl"}
	target := withKubernetes(t, server, &discover.Found{Clusters: []discover.Cluster{owned}}, execDialer{})
	target.relay.wanted, target.relay.image = true, "x"
	target.startRelay = func(context.Context, relay.Options) (memberRelay, error) {
		t.Error("a relay was started for what is refused")
		return nil, errors.New("none")
	}
	if _, err := target.forUpkeep(t.Context(), upkeepFlags{}, "defragment"); err == nil || !strings.Contains(err.Error(), "looks after etcd") {
		t.Errorf("through a relay: %v", err)
	}
	several := withKubernetes(t, server, &discover.Found{Clusters: []discover.Cluster{{Name: "main"}, {Name: "events"}}}, execDialer{})
	for _, looking := range []bool{true, false} {
		_, err := several.forUpkeep(t.Context(), upkeepFlags{dryRun: looking}, "defragment")
		checkUsage(t, "several", err, "there are 2 etcd clusters: main, events")
	}
}

// A question names the cluster, and how it was chosen.
func TestPlace(t *testing.T) {
	s, _, _ := testSession(nil)
	*s.kube.Context = "prod"
	o := newTarget(s)
	for w, want := range map[way]string{
		wayForward: `etcd "main" of context "prod"`, wayRelay: `etcd "main" of context "prod"`, wayNode: `etcd "main" of this node`, wayDirect: "etcd at main",
	} {
		if got := o.place(&reach{way: w, cluster: discover.Cluster{Name: "main"}}); got != want {
			t.Errorf("%s: %s", w, got)
		}
	}
}

func TestDependents(t *testing.T) {
	pod := discover.Pod{Node: "node1", HostIP: "10.0.0.2", ClientPort: 2379, ClientURLs: []string{"https://etcd1.example:2379"}}
	server := func(node string, urls ...string) discover.APIServer {
		return discover.APIServer{Pod: "api-" + node, Node: node, URL: "https://api-" + node + ":6443", EtcdServers: urls}
	}
	overridden := server("node2", "https://10.0.0.1:2379", "https://10.0.0.3:2379")
	overridden.EtcdOverrides = map[string][]string{"/events": {"https://10.0.0.2:2379"}}
	for _, test := range []struct {
		name   string
		server discover.APIServer
		host   string
		want   bool
		ours   bool
	}{
		{"kubeadm's own", server("node1", "https://127.0.0.1:2379"), "https://api-node1:6443", true, true},
		{"kubeadm's own, behind a balancer", server("node1", "https://127.0.0.1:2379"), "https://balancer:6443", true, false},
		{"another node's", server("node0", "https://127.0.0.1:2379"), "https://api-node0:6443", false, false},
		{"by address", server("node0", "https://10.0.0.2:2379"), "https://api-node0:6443", true, true},
		{"by name", server("node0", "https://etcd1.example:2379"), "", true, false},
		{"its events'", server("node1", "https://127.0.0.1:2382"), "", false, false},
		{"one of several", server("node1", "https://127.0.0.1:2379", "https://10.0.0.1:2379"), "", false, false},
		{"for the events alone", overridden, "", true, false},
	} {
		names, ours := dependents([]discover.APIServer{test.server}, pod, test.host)
		if (len(names) > 0) != test.want || ours != test.ours {
			t.Errorf("%s: %v %t", test.name, names, ours)
		}
	}
}

func metricsFrom(t *testing.T, text string) *etcd.Metrics {
	t.Helper()
	metrics, err := etcd.ReadMetrics(strings.NewReader(text), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return metrics
}

func TestBusyWith(t *testing.T) {
	calls := func(started, handled int) string {
		return fmt.Sprintf(`grpc_server_started_total{grpc_method="Snapshot",grpc_service="etcdserverpb.Maintenance",grpc_type="server_stream"} %d
grpc_server_handled_total{grpc_code="OK",grpc_method="Snapshot",grpc_service="etcdserverpb.Maintenance",grpc_type="server_stream"} %d
grpc_server_started_total{grpc_method="Watch",grpc_service="etcdserverpb.Watch",grpc_type="bidi_stream"} 9
`, started, handled)
	}
	for text, want := range map[string]string{
		calls(3, 3):                   "",
		calls(4, 3):                   "streams a snapshot",
		"etcd_disk_defrag_inflight 0": "",
		"etcd_disk_defrag_inflight 1": "is being defragmented already",
		`etcd_network_snapshot_send_inflights_total{To="1"} 1`: "sends its database",
		"etcd_server_snapshot_apply_in_progress_total 1":       "takes in the database",
	} {
		got := strings.Join(busyWith(metricsFrom(t, text+"\n")), ",")
		if (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q", text, got)
		}
	}
}

// A real member's metrics tell that it streams a snapshot, for as long as it does, and how long
// it took to be defragmented.
func TestMetricsOfARealMember(t *testing.T) {
	c, _ := upkeepCluster(t, etcdtest.Options{})
	c.Fill(640, 32<<10) // more than a connection holds unread
	i := c.Follower()
	s, _, _ := testSession(nil)
	o := defragOptions{target: newTarget(s), now: time.Now}
	o.timeout = 5 * time.Second
	source := c.Sources()[i]
	r := &reach{sources: []etcd.Source{source}, clients: []*etcd.Client{source.Reader.(*etcd.Client)}}
	id := c.Members[i].ID()
	if busy := o.busy(t.Context(), r, id, true); len(busy) > 0 {
		t.Errorf("at rest: %q", busy)
	}
	stream, err := c.Open(i).Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if busy := o.busy(t.Context(), r, id, true); len(busy) != 1 || busy[0] != "streams a snapshot" {
		t.Errorf("while it streams: %q", busy)
	}
	if err := stream.Close(); err != nil {
		t.Fatal(err)
	}
	for n := 0; len(o.busy(t.Context(), r, id, true)) > 0; n++ {
		if n > 100 {
			t.Fatal("it streams for ever")
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err := c.Open(i).Defragment(t.Context()); err != nil {
		t.Fatal(err)
	}
	if busy := o.busy(t.Context(), r, id+1, true); len(busy) != 1 || busy[0] != "does not tell any more whether it streams a snapshot: it does not answer" {
		t.Errorf("of one that can't be asked: %q", busy)
	}
	if busy := o.busy(t.Context(), r, id+1, false); len(busy) > 0 {
		t.Errorf("of one that could not be asked before either: %q", busy)
	}
	facts := o.facts(t.Context(), r)
	if around := facts.Around[id]; around.Speed <= 0 || !strings.HasPrefix(around.SpeedFrom, "measured: its ") {
		t.Errorf("got %+v", around)
	}
}

func TestEarlierSpeed(t *testing.T) {
	m := metricsFrom(t, `# TYPE etcd_disk_backend_defrag_duration_seconds histogram
etcd_disk_backend_defrag_duration_seconds_bucket{le="+Inf"} 2
etcd_disk_backend_defrag_duration_seconds_sum 4
etcd_disk_backend_defrag_duration_seconds_count 2
`)
	if speed, from := earlierSpeed(m, 100<<20); speed != 50<<20 || from != "measured: its 2 before took 2.0s each" {
		t.Errorf("got %g, %s", speed, from)
	}
	if speed, from := earlierSpeed(metricsFrom(t, "x 1\n"), 100<<20); speed != 0 || from != "" {
		t.Errorf("got %g, %s", speed, from)
	}
}

func TestAlarmCommands(t *testing.T) {
	c, reach := upkeepCluster(t, etcdtest.Options{})
	if code, out, _ := upkeep(t.Context(), "alarm list", reach); code != exitOK || !strings.HasPrefix(out, "ok: no alarm is raised") {
		t.Errorf("none: %d\n%s", code, out)
	}
	if code, out, _ := upkeep(t.Context(), "alarm disarm", reach); code != exitOK || !strings.HasPrefix(out, "ok: no alarm is to be disarmed") {
		t.Errorf("none: %d\n%s", code, out)
	}
	c.RaiseAlarm(c.Members[1].ID(), 1)
	c.RaiseAlarm(0, 2)
	code, out, _ := upkeep(t.Context(), "alarm list", reach)
	if code != exitOK || !strings.Contains(out, "CORRUPT  the whole cluster") || !strings.Contains(out, "NOSPACE  b") {
		t.Errorf("two: %d\n%s", code, out)
	}
	if code, out, _ := upkeep(t.Context(), "alarm list -o jsonpath={.items[*].alarms[*].type}", reach); code != exitOK || out != "CORRUPT NOSPACE" {
		t.Errorf("as jsonpath: %d %q", code, out)
	}
	if code, out, errOut := upkeep(t.Context(), "alarm disarm", reach); code != exitUsage || !strings.Contains(errOut, "nobody to ask") {
		t.Errorf("without --yes: %d\n%s%s", code, out, errOut)
	}
	if code, out, errOut := upkeep(t.Context(), "alarm disarm --yes", reach); code != exitOK || !strings.Contains(out, "ok: disarmed NOSPACE") {
		t.Errorf("NOSPACE: %d\n%s%s", code, out, errOut)
	}
	if code, out, errOut := upkeep(t.Context(), "alarm disarm --yes --force", reach); code != exitError || !strings.Contains(errOut, "disarming mends nothing") {
		t.Errorf("CORRUPT: %d\n%s%s", code, out, errOut)
	}
	if _, out, _ := upkeep(t.Context(), "alarm list", reach); !strings.Contains(out, "CORRUPT") || strings.Contains(out, "NOSPACE") {
		t.Errorf("CORRUPT stays:\n%s", out)
	}
	if code, out, errOut := upkeep(t.Context(), "alarm disarm --yes --disarm-corrupt", reach); code != exitOK || !strings.Contains(out, "ok: disarmed CORRUPT") {
		t.Errorf("CORRUPT by its flag: %d\n%s%s", code, out, errOut)
	}
	for _, m := range c.Members {
		m.Stop()
	}
	if code, out, _ := upkeep(t.Context(), "alarm list --timeout 1s", reach); code != exitError || !strings.HasPrefix(out, "not known: no member answers") {
		t.Errorf("none answers: %d\n%s", code, out)
	}
}

func leaseOf(t *testing.T, renewed time.Time) string {
	t.Helper()
	at := metav1.NewMicroTime(renewed)
	lease := coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{RenewTime: &at}}
	raw, err := lease.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	envelope := runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: "coordination.k8s.io/v1", Kind: "Lease"}, Raw: raw}
	message, err := envelope.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return "k8s\x00" + string(message)
}

func TestRenewedAt(t *testing.T) {
	if at, ok := renewedAt([]byte(leaseOf(t, noon))); !ok || !at.Equal(noon) {
		t.Errorf("got %s %t", at, ok)
	}
	for _, other := range []string{"", "k8s\x00", "k8s\x00\xff", "k8s:enc:aescbc:v1:x", `{"kind":"Lease"}`, leaseOf(t, noon)[:30]} {
		if at, ok := renewedAt([]byte(other)); ok {
			t.Errorf("%q: %s", other, at)
		}
	}
}

func TestCompactCommand(t *testing.T) {
	c, reach := upkeepCluster(t, etcdtest.Options{})
	client := c.Open(c.Leader()).Raw()
	etcdtest.Put(t, client, "/app/x", "1")
	code, out, errOut := upkeep(t.Context(), "compact --keep 5m --yes", reach)
	if code != exitError || !strings.Contains(errOut, "no Lease of Kubernetes to tell the time by") || !strings.Contains(errOut, "hint: say it yourself: --revision N") {
		t.Errorf("no clock: %d\n%s%s", code, out, errOut)
	}
	// Renewed every ten seconds for ten minutes, as a node's.
	const key = "/registry/leases/kube-node-lease/node0"
	now := time.Now()
	revisions := map[int]int64{}
	for i := range 60 {
		put, err := client.Put(t.Context(), key, leaseOf(t, now.Add(time.Duration(i-59)*10*time.Second)))
		if err != nil {
			t.Fatal(err)
		}
		revisions[i] = put.Header.Revision
		etcdtest.Put(t, client, "/registry/pods/x", "1")
	}
	head := revisions[59] + 1
	for range 500 { // until every member has it: any may be asked
		all := true
		for _, m := range etcd.Observe(t.Context(), c.Sources(), 5*time.Second).Members {
			all = all && m.Status != nil && m.Status.Revision >= head
		}
		if all {
			break
		}
	}
	code, out, errOut = upkeep(t.Context(), fmt.Sprintf("compact --revision %d --yes", head), reach)
	if code != exitError || !strings.Contains(errOut, "is the newest revision: every watch") {
		t.Errorf("to head: %d\n%s%s", code, out, errOut)
	}
	want := revisions[29] // 300 s before the last; a moment later than that now
	code, out, errOut = upkeep(t.Context(), "compact --keep 5m --dry-run", reach)
	if code != exitOK || !strings.Contains(out, fmt.Sprintf("to revision %d\n", want)) || !strings.Contains(out, "by "+key) || !strings.Contains(out, "compact by themselves") {
		t.Errorf("--dry-run, want %d: %d\n%s%s", want, code, out, errOut)
	}
	if code, out, errOut = upkeep(t.Context(), "compact --keep 5m", reach); code != exitUsage || !strings.Contains(errOut, "nobody to ask") {
		t.Errorf("without --yes: %d\n%s%s", code, out, errOut)
	}
	if code, out, errOut = upkeep(t.Context(), "compact --keep 5m --physical --yes", reach); code != exitOK || !strings.Contains(out, fmt.Sprintf("ok: compacted to revision %d", want)) {
		t.Errorf("done: %d\n%s%s", code, out, errOut)
	}
	if at, err := c.Open(c.Leader()).CompactRevision(t.Context()); err != nil || at != want {
		t.Errorf("compacted to %d, %v", at, err)
	}
	if code, out, _ = upkeep(t.Context(), fmt.Sprintf("compact --revision %d", want), reach); code != exitOK || !strings.HasPrefix(out, "ok: nothing to compact") {
		t.Errorf("again: %d\n%s", code, out)
	}
}

// upkeepPlan is of three members with everything that a plan can say.
func upkeepPlan() defragmentation {
	step := func(member string, free int64) maintain.DefragStep {
		return maintain.DefragStep{
			Action: maintain.ActionDefrag, Member: member, DBSize: 4 << 30, DBSizeInUse: 4<<30 - free, Free: free, Fragmentation: float64(free) / (4 << 30),
			QuotaUsage: 0.5, Pause: 12300 * time.Millisecond, PauseFrom: "measured: its 2 before took 2.0s each",
		}
	}
	return defragmentation{Cluster: "main", Way: wayForward, Takes: 73 * time.Second, Waits: 72 * time.Second, Plan: maintain.DefragPlan{
		Steps: []maintain.DefragStep{
			step("etcd-node1", 3<<30), step("etcd-node0", 2<<30),
			{Action: maintain.ActionMove, Member: "etcd-node2", To: "etcd-node1"}, step("etcd-node2", 1<<30), {Action: maintain.ActionDisarm},
		},
		Skipped:  []maintain.SkippedMember{{Member: "etcd-node3", Why: "etcd does not defragment learners"}},
		Refusals: []maintain.Refusal{{Reason: "etcd-node0 streams a snapshot", Instead: "wait until that is over"}},
		Warnings: []string{"the newest backup is 3h0m0s old"},
		Gain:     6 << 30,
	}}
}

func upkeepReport(finished bool) defragmentation {
	done := upkeepPlan()
	done.Report = &maintain.DefragReport{
		Members: []maintain.DefragResult{
			{Member: "etcd-node1", Before: 4 << 30, After: 1 << 30, Reclaimed: 3 << 30, Pause: 9 * time.Second, Stall: 45 * time.Millisecond, Through: "etcd-node0"},
			{Member: "etcd-node0", Before: 4 << 30, After: 2 << 30, Reclaimed: 2 << 30, Pause: 11 * time.Second, Stall: 305 * time.Millisecond, Through: "etcd-node1"},
		},
		Reclaimed: 5 << 30, LongestStall: 305 * time.Millisecond, Leader: "etcd-node2", Duration: 95 * time.Second, Done: finished,
	}
	if finished {
		done.Report.Moved, done.Report.Leader = true, "etcd-node1"
		done.Report.Disarmed = []etcd.Alarm{{MemberID: 0xabc, Type: maintain.NoSpace}}
	} else {
		done.Report.Stands = "2 of 3 members are defragmented; not done: move the leadership from etcd-node2 to etcd-node1; 2 more steps not begun"
	}
	return done
}

func TestUpkeepViews(t *testing.T) {
	narrow := render.Terminal{TTY: true, Width: 80, Unicode: true}
	for _, test := range []struct {
		name     string
		terminal render.Terminal
		wide     bool
		view     func(s *render.Screen)
	}{
		{"defrag-plan-80.txt", narrow, false, func(s *render.Screen) { viewDefragPlan(s, upkeepPlan()) }},
		{"defrag-plan-pipe.txt", render.Terminal{}, false, func(s *render.Screen) { viewDefragPlan(s, upkeepPlan()) }},
		{"defrag-plan-wide.txt", narrow, true, func(s *render.Screen) { viewDefragPlan(s, upkeepPlan()) }},
		{"defrag-done-80.txt", narrow, false, func(s *render.Screen) { viewDefragReport(s, upkeepReport(true)) }},
		{"defrag-stopped-pipe.txt", render.Terminal{}, false, func(s *render.Screen) { viewDefragReport(s, upkeepReport(false)) }},
		{"compact-plan-80.txt", narrow, false, func(s *render.Screen) {
			viewCompaction(s, compaction{Cluster: "main", Kubernetes: true, Plan: maintain.CompactPlan{
				Revision: 5000, Head: 9000, Compacted: 4000, Moment: &maintain.Moment{Revision: 5000, At: noon, By: "/registry/leases/kube-system/kube-scheduler"},
				Warnings: []string{"the API servers compact by themselves"},
			}})
		}},
		{"alarms-80.txt", narrow, false, func(s *render.Screen) {
			viewAlarms(s, clusterAlarms{Cluster: "main", Alarms: []alarmRow{
				newAlarmRow(etcd.Alarm{Type: maintain.Corrupt}, "the whole cluster"), newAlarmRow(etcd.Alarm{MemberID: 1, Type: maintain.NoSpace}, "etcd-node1"),
			}})
		}},
		{"disarm-refused-pipe.txt", render.Terminal{}, false, func(s *render.Screen) {
			o := etcd.Overview{Verdict: etcd.Verdict{HasQuorum: new(true)}, Members: []etcd.MemberView{kubeadmMember(0)}}
			o.Members[0].Alarms, o.Members[0].Status.DBSize = []string{maintain.NoSpace}, 2<<30
			viewDisarming(s, disarming{Cluster: "main", Plan: maintain.PlanDisarm(o, maintain.DisarmOptions{})})
		}},
	} {
		var out bytes.Buffer
		screen := render.NewScreen(&out, test.terminal)
		screen.Wide = test.wide
		test.view(screen)
		if err := screen.Flush(); err != nil {
			t.Fatal(err)
		}
		golden(t, test.name, out.String())
	}
}

func TestRefusedNamesEveryReason(t *testing.T) {
	err := refused("not defragmented", []maintain.Refusal{{Reason: "a hangs", Instead: "wait"}, {Reason: "b hangs", Instead: "wait too"}})
	var hinted *hintedError
	if !errors.As(err, &hinted) || err.Error() != "not defragmented: a hangs" || len(hinted.hints) != 2 || hinted.hints[1] != "b hangs: wait too" {
		t.Errorf("got %v %+v", err, hinted)
	}
}

// Only a yes is one.
func TestConfirm(t *testing.T) {
	for answer, want := range map[string]bool{"y\n": true, "YES\n": true, " yes \n": true, "n\n": false, "\n": false, "": false, "yeah\n": false} {
		s, _, errOut := testSession(nil)
		s.In = strings.NewReader(answer)
		if ok, err := s.confirm(t.Context(), "really?"); err != nil || ok != want || errOut.String() != "really? [y/N] " {
			t.Errorf("%q: %v, %v, asked %q", answer, ok, err, errOut)
		}
	}
}

// Where another run was quicker there is nothing to go on with: it is waited for.
func TestNextStepAfterADefragmentation(t *testing.T) {
	s, _, _ := testSession(nil)
	for _, test := range []struct {
		err  error
		want string
	}{
		{maintain.ErrLocked, "wait for its end"},
		{errors.New("it hangs"), "kubectl etcd defrag --auto"},
	} {
		f := s.explain(goOn(fmt.Errorf("step 1 of 3: %w", test.err)), "kubectl etcd defrag")
		if !strings.Contains(strings.Join(f.hints, "\n"), test.want) {
			t.Errorf("%v: %q, want %q", test.err, f.hints, test.want)
		}
	}
	if goOn(nil) != nil {
		t.Error("all is well, and an error")
	}
}

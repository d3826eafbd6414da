package etcd_test

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
)

func rowOf(t *testing.T, overview etcd.Overview, name string) etcd.MemberView {
	t.Helper()
	for _, row := range overview.Members {
		if row.Name == name {
			return row
		}
	}
	t.Fatalf("no row %q in %+v", name, overview.Members)
	return etcd.MemberView{}
}

func names(overview etcd.Overview) string {
	var out []string
	for _, row := range overview.Members {
		out = append(out, row.Name)
	}
	return strings.Join(out, " ")
}

// blackhole is a source that is connected to and never answers.
func blackhole(t *testing.T, name string) etcd.Source {
	t.Helper()
	client, err := etcd.Open(etcd.Endpoint{Name: name, URL: "https://" + etcdtest.Blackhole(t)}, etcd.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return etcd.Source{Name: name, Reader: client}
}

func TestObserveCluster(t *testing.T) {
	t.Parallel() // it waits for a dead member
	cluster := etcdtest.Start(t, 3, etcdtest.Options{})
	leader := cluster.Members[cluster.Leader()]
	sources := cluster.Sources()

	t.Run("all well", func(t *testing.T) {
		overview := etcd.Observe(t.Context(), sources, deadline)
		if names(overview) != "a b c" || overview.Disagree || overview.At.IsZero() {
			t.Fatalf("overview %+v", overview)
		}
		for _, row := range overview.Members {
			if !row.Healthy || row.Error != "" || row.Status == nil || row.Member == nil || row.Quota != etcd.DefaultQuota {
				t.Errorf("row %+v", row)
			}
			if row.Leads() != (row.Name == leader.Name) {
				t.Errorf("row %s leads: %t", row.Name, row.Leads())
			}
		}
		want := "3 of 3 members healthy, leader " + leader.Name + ", quorum 2, can lose 1"
		if v := overview.Verdict; v.Level != etcd.LevelOK || v.Summary != want || len(v.Reasons) != 0 {
			t.Errorf("verdict %+v", v)
		}
	})

	t.Run("one stopped, a blackhole, a stranger and no way in", func(t *testing.T) {
		follower := cluster.Members[cluster.Follower()]
		follower.Stop()
		t.Cleanup(follower.Start)
		others := append(slices.Clone(sources), blackhole(t, "black"),
			etcd.Source{Name: "nocert", Err: errors.New("no client certificate was found")})
		overview := etcd.Observe(t.Context(), others, 10*time.Second)
		if len(overview.Members) != 5 {
			t.Fatalf("rows %q, want five", names(overview))
		}
		dead := rowOf(t, overview, follower.Name)
		if dead.Status != nil || dead.Healthy || dead.Member == nil || !strings.Contains(dead.Error, "connection refused by 127.0.0.1:") {
			t.Errorf("stopped member's row %+v", dead)
		}
		if row := rowOf(t, overview, "black"); row.Error != "no answer in 10s" || row.Member != nil {
			t.Errorf("blackhole's row %+v", row)
		}
		if row := rowOf(t, overview, "nocert"); row.Error != "no client certificate was found" {
			t.Errorf("row without a way in %+v", row)
		}
		v := overview.Verdict
		if v.Level != etcd.LevelWarning || v.Voters != 3 || v.Healthy != 2 || v.Quorum != 2 || v.CanLose == nil || *v.CanLose != 0 {
			t.Errorf("verdict %+v", v)
		}
	})
}

func TestObserveWithoutQuorum(t *testing.T) {
	cluster := etcdtest.Start(t, 3, etcdtest.Options{})
	sources := cluster.Sources()
	cluster.Members[1].Stop()
	cluster.Members[2].Stop()
	client := cluster.Open(0)
	ctx := timeout(t)
	for { // until the last member has noticed
		status, err := client.Status(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if status.Leader == 0 {
			break
		}
	}
	overview := etcd.Observe(t.Context(), sources, deadline)
	if names(overview) != "a b c" { // its member list is still to be had
		t.Fatalf("rows %q", names(overview))
	}
	if row := rowOf(t, overview, "a"); row.Healthy || row.Error != "knows no leader" {
		t.Errorf("the last member's row %+v", row)
	}
	v := overview.Verdict
	if v.Level != etcd.LevelCritical || v.CanLose != nil || v.Summary != "0 of 3 members healthy, no leader, quorum 2 is lost" {
		t.Errorf("verdict %+v", v)
	}
}

func TestObserveLearnerAndAlarm(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{Plain: true, Quota: 1 << 20})
	cluster.AddLearner()
	ctx := timeout(t)
	raw := cluster.Open(0).Raw()
	value := string(make([]byte, 300<<10))
	for err := error(nil); err == nil; {
		_, err = raw.Put(ctx, "a", value)
	}

	raised, err := cluster.Open(0).Alarms(ctx) // which member was full first is chance
	if err != nil || len(raised) == 0 {
		t.Fatalf("Alarms = %v, %v", raised, err)
	}

	overview := etcd.Observe(t.Context(), cluster.Sources(), deadline)
	learner := rowOf(t, overview, "b")
	if !learner.Member.Learner || !learner.Healthy || learner.Error != "" {
		t.Errorf("learner's row %+v", learner)
	}
	if row := rowOf(t, overview, "a"); !row.Healthy || row.Quota != 1<<20 {
		t.Errorf("voter's row %+v", row)
	}
	v := overview.Verdict
	if v.Level != etcd.LevelCritical || v.Voters != 1 || v.Healthy != 1 {
		t.Errorf("verdict %+v", v)
	}
	for _, alarm := range raised {
		name := cluster.Members[0].Name
		if alarm.MemberID == cluster.Members[1].ID() {
			name = cluster.Members[1].Name
		}
		if row := rowOf(t, overview, name); !slices.Equal(row.Alarms, []string{"NOSPACE"}) {
			t.Errorf("row %+v, want an alarm", row)
		}
		if !slices.Contains(v.Reasons, name+" has the alarm NOSPACE") {
			t.Errorf("reasons %q", v.Reasons)
		}
	}
}

// etcd refuses every write for them, though no member of the list has them.
func TestObserveAlarmsOfNoMember(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
	cluster.RaiseAlarm(0xdead, pb.AlarmType_NOSPACE)
	cluster.RaiseAlarm(0, pb.AlarmType_CORRUPT) // as CompactHashCheck does that can't tell whose data is wrong
	if _, err := cluster.Open(0).Raw().Put(timeout(t), "a", "1"); err == nil {
		t.Fatal("the write was accepted")
	}
	overview := etcd.Observe(t.Context(), cluster.Sources(), deadline)
	want := []etcd.Alarm{{MemberID: 0, Type: "CORRUPT"}, {MemberID: 0xdead, Type: "NOSPACE"}}
	if diff := cmp.Diff(want, overview.Alarms); diff != "" {
		t.Errorf("alarms (-want +got):\n%s", diff)
	}
	if v := overview.Verdict; v.Level != etcd.LevelCritical || !slices.Contains(v.Reasons, "the cluster has the alarm CORRUPT (of no known member)") {
		t.Errorf("verdict %+v", v)
	}
}

// A member whose data is in doubt is not healthy, but takes part in the quorum.
func TestObserveCorruptMemberHasQuorum(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
	cluster.RaiseAlarm(cluster.Members[0].ID(), pb.AlarmType_CORRUPT)
	v := etcd.Observe(t.Context(), cluster.Sources(), deadline).Verdict
	if v.Level != etcd.LevelCritical || v.Healthy != 0 || v.HasQuorum == nil || !*v.HasQuorum {
		t.Errorf("verdict %+v", v)
	}
}

// late is a Reader whose linearizable reads are never back in time.
type late struct{ etcd.HealthReader }

func (late) Health(context.Context) error { return context.DeadlineExceeded }

func TestObserveLateReadsAreNoLostQuorum(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
	sources := cluster.Sources()
	sources[0].Reader = late{cluster.Open(0)}
	v := etcd.Observe(t.Context(), sources, deadline).Verdict
	if v.Level != etcd.LevelCritical || v.HasQuorum != nil || v.Summary != "0 of 1 members healthy, leader a, quorum unknown" {
		t.Errorf("verdict %+v", v)
	}
}

type impatient struct{ etcd.Reader }

func (impatient) Status(context.Context) (etcd.Status, error) {
	time.Sleep(300 * time.Millisecond)
	return etcd.Status{}, context.DeadlineExceeded
}

// A way in that has limits of its own, as exec has, is said to have waited for as long as it did.
func TestObserveSaysHowLongItWaited(t *testing.T) {
	overview := etcd.Observe(t.Context(), []etcd.Source{{Name: "a", Reader: impatient{}}}, time.Hour)
	if row := rowOf(t, overview, "a"); !regexp.MustCompile(`^no answer in (\d+ms|[\d.]+s)$`).MatchString(row.Error) {
		t.Errorf("row %+v", row)
	}
}

func TestObserveEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	overview := etcd.Observe(ctx, []etcd.Source{blackhole(t, "black")}, deadline)
	if row := rowOf(t, overview, "black"); row.Error != "interrupted" {
		t.Errorf("row %+v", row)
	}
}

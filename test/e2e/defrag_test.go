//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// probe is a client that does one small thing again and again.
type probe struct {
	name    string
	do      func(ctx context.Context, i int) error
	done    int
	longest time.Duration
	failed  []failure
}

// failure is a thing that did not come about.
type failure struct {
	began time.Time
	took  time.Duration
	err   error
}

func (f failure) String() string {
	return fmt.Sprintf("%s after %s: %v", f.began.Format(time.TimeOnly), f.took, f.err)
}

// dropped: it was on its way when the leadership moved. A leader that hands over drops what a
// follower passes on to it, and the follower is not told and waits for its time to be up
// (raft/v3 raft.go, stepLeader: leadTransferee).
func (f failure) dropped(moved []time.Time) bool {
	return strings.Contains(f.err.Error(), "request timed out") && slices.ContainsFunc(moved, func(at time.Time) bool {
		return f.began.Before(at) && at.Sub(f.began) < time.Second
	})
}

// handovers tells when the leader was another one than before, as a member sees it.
func handovers(ctx context.Context, m *etcd.Client) (moved []time.Time) {
	for last := etcd.ID(0); ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		status, err := m.Status(ctx)
		if err != nil || status.Leader == 0 || status.Leader == last {
			continue
		}
		if last != 0 {
			moved = append(moved, time.Now())
		}
		last = status.Leader
	}
	return moved
}

func (p *probe) run(ctx context.Context) {
	for i := 0; ctx.Err() == nil; i++ {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		began := time.Now()
		err := p.do(bounded, i)
		cancel()
		took := time.Since(began)
		p.done++
		p.longest = max(p.longest, took)
		if err != nil {
			p.failed = append(p.failed, failure{began, took, err})
		}
		time.Sleep(20 * time.Millisecond)
	}
}

type defragReport struct {
	Plan struct {
		Steps []struct{ Action, Member, To string }
	}
	Report struct {
		Members []struct {
			Member                   string
			Before, After, Reclaimed int64
			Pause, Stall             float64
		}
		Reclaimed    int64
		LongestStall float64
		Done         bool
		LeaderMoved  bool
	}
}

// TestDefragUnderLoad defragments a control plane that is written to: through the API as
// Kubernetes does, and through every member. No write through any of them fails but one that was
// on its way when the leadership moved, and how long the API hung is measured.
func TestDefragUnderLoad(t *testing.T) {
	fill(t, 320)
	raw := member(t, "etcd-node0").Raw()
	deleted, err := raw.Delete(t.Context(), ballast+"fill/", clientv3.WithRange(ballast+"fill/3")) // most
	if err != nil {
		t.Fatal(err)
	}
	if _, err := raw.Compact(t.Context(), deleted.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	leader := statusOf(t).leaderPod()
	stopLoad := underLoad(t)
	defer stopLoad()
	time.Sleep(5 * time.Second) // pages count as free with the writes after that

	plan := runWithCerts(t, "defrag", "--dry-run")
	plan.wantExit(t, 0)
	plan.wantStdout(t, "plan: defragment 3 members", "hand over to", "is the only member that")
	t.Logf("planned\n%s", plan.stdout)

	probes := writersOf(t)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, p := range probes {
		running.Go(func() { p.run(ctx) })
	}
	moved := make([][]time.Time, 3) // one member at a time does not answer
	for i := range moved {
		m := member(t, fmt.Sprint("etcd-node", i))
		running.Go(func() { moved[i] = handovers(ctx, m) })
	}
	got := runWithCerts(t, "defrag", "--auto", "--yes", "--settle", "5s", "-o", "json")
	stop()
	running.Wait()
	got.wantExit(t, 0)
	var done defragReport
	got.decode(t, &done)
	t.Logf("told\n%s", got.stderr)

	if !done.Report.Done || len(done.Report.Members) != 3 || !done.Report.LeaderMoved || done.Report.Reclaimed < 3*100<<20 {
		t.Errorf("got %+v", done.Report)
	}
	if last := done.Plan.Steps[len(done.Plan.Steps)-1]; last.Member != leader {
		t.Errorf("the leader was %s, and last came %s", leader, last.Member)
	}
	if now := statusOf(t).leaderPod(); now != done.Plan.Steps[2].To {
		t.Errorf("the leader is %s, not %s", now, done.Plan.Steps[2].To)
	}
	for _, m := range done.Report.Members {
		t.Logf("%s: %d MiB reclaimed, it paused for %.2fs, others waited %.3fs at most", m.Member, m.Reclaimed>>20, m.Pause, m.Stall)
	}
	for _, p := range probes {
		t.Logf("%s: %d writes, the longest took %s", p.name, p.done, p.longest.Round(time.Millisecond))
		for _, f := range p.failed {
			if f.dropped(slices.Concat(moved...)) {
				t.Logf("%s: raft dropped it when the leadership moved: %s", p.name, f)
				continue
			}
			t.Errorf("%s: a write failed: %s", p.name, f)
		}
		if p.done < 20 {
			t.Errorf("%s: only %d writes", p.name, p.done)
		}
	}
	runWithCerts(t, "defrag", "--auto").wantStdout(t, "nothing needs to be defragmented")
}

// writersOf write through each member, and through the API.
func writersOf(t *testing.T) []*probe {
	t.Helper()
	var probes []*probe
	for _, pod := range []string{"etcd-node0", "etcd-node1", "etcd-node2"} {
		client := member(t, pod).Raw()
		if _, err := client.Put(t.Context(), ballast+pod, "warm"); err != nil { // its connection stands
			t.Fatal(err)
		}
		probes = append(probes, &probe{name: "through " + pod, do: func(ctx context.Context, i int) error {
			_, err := client.Put(ctx, ballast+pod, fmt.Sprint(i))
			return err
		}})
	}
	config, err := clientcmd.BuildConfigFromFlags("", shared.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	kubectl(t, "create", "configmap", "stall")
	t.Cleanup(func() { kubectl(t, "delete", "configmap", "stall") })
	return append(probes, &probe{name: "through the API", do: func(ctx context.Context, i int) error {
		patch := fmt.Appendf(nil, `{"data":{"i":"%d"}}`, i)
		_, err := client.CoreV1().ConfigMaps("default").Patch(ctx, "stall", types.MergePatchType, patch, metav1.PatchOptions{})
		return err
	}})
}

// TestDefragCompactByTime finds the revision of some time ago by the cluster's own Leases.
func TestDefragCompactByTime(t *testing.T) {
	var plan struct {
		Kubernetes bool
		Plan       struct {
			Revision, Head, Compacted int64
			Idle                      bool
			Moment                    struct{ At time.Time }
		}
	}
	var age time.Duration
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Second) { // until so much was not compacted
		began := time.Now()
		got := runWithCerts(t, "compact", "--keep", "1m", "--dry-run", "-o", "json")
		if got.code == 0 {
			got.decode(t, &plan)
			age = began.Sub(plan.Plan.Moment.At)
		}
		if got.code == 0 && !plan.Plan.Idle || time.Now().After(deadline) {
			got.wantExit(t, 0)
			break
		}
	}
	t.Logf("revision %d of %d was %s ago", plan.Plan.Revision, plan.Plan.Head, age.Round(time.Millisecond))
	if !plan.Kubernetes || plan.Plan.Revision >= plan.Plan.Head || plan.Plan.Revision <= plan.Plan.Compacted || age < 59*time.Second || age > 80*time.Second {
		t.Errorf("got %+v, %s ago", plan, age)
	}
	refused := runWithCerts(t, "compact", "--revision", fmt.Sprint(int64(1)<<40), "--yes")
	refused.wantExit(t, 1)
	refused.wantStderr(t, "is not there yet")
	done := runWithCerts(t, "compact", "--revision", fmt.Sprint(plan.Plan.Revision), "--yes")
	done.wantExit(t, 0)
	done.wantStdout(t, fmt.Sprintf("ok: compacted to revision %d", plan.Plan.Revision))
	runWithCerts(t, "compact", "--revision", fmt.Sprint(plan.Plan.Revision), "--yes").wantStdout(t, "ok: nothing to compact")
	runWithCerts(t, "alarm", "list").wantStdout(t, "no alarm is raised")
}

// TestDefragByTheClock applies the CronJob and runs it at once, twice: where nobody needs it,
// and with a rule by which all do.
func TestDefragByTheClock(t *testing.T) {
	loadRelayImage(t)
	fill(t, 24)
	raw := member(t, "etcd-node0").Raw()
	deleted, err := raw.Delete(t.Context(), ballast+"fill/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := raw.Compact(t.Context(), deleted.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	for name, rule := range map[string]struct {
		flags []string
		says  string
	}{
		"nobody": {[]string{"--min-free", "100GiB"}, "nothing needs to be defragmented"},
		"all":    {[]string{"--min-free", "1KiB", "--min-fragmentation", "1%", "--settle", "1s"}, "reclaimed from 3 members"},
	} {
		t.Run(name, func(t *testing.T) {
			got := run(t, append([]string{"agent", "manifest", "--defrag", "--image", relayImageName}, rule.flags...)...)
			got.wantExit(t, 0)
			got.wantStdout(t, "kind: CronJob", "--max-pause")
			manifest := filepath.Join(t.TempDir(), "defrag.yaml")
			writeFile(t, manifest, got.stdout)
			kubectl(t, "apply", "-f", manifest)
			t.Cleanup(func() { kubectl(t, "delete", "-f", manifest) })
			kubectl(t, "create", "job", "-n", "kube-system", "--from=cronjob/kubectl-etcd-defrag", "now")
			t.Cleanup(func() { kubectl(t, "delete", "job", "-n", "kube-system", "now") })
			kubectl(t, "wait", "-n", "kube-system", "--for=condition=complete", "--timeout=3m", "job/now")
			if log := kubectl(t, "logs", "-n", "kube-system", "job/now"); !strings.Contains(log, rule.says) {
				t.Errorf("it says %s", log)
			}
			wantWhole(t)
		})
	}
}

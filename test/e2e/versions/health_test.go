//go:build e2e

package versions

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/health"
	"github.com/kubectl-etcd/kubectl-etcd/test/cluster/binaries"
)

// TestHealthDuringAnUpgrade upgrades three members from 3.6 to 3.7 as an administrator does,
// one after the other, then enables the way back, and asks health what it makes of each step.
func TestHealthDuringAnUpgrade(t *testing.T) {
	const from, to = "3.6.16", binaries.EtcdVersion
	c := newCluster(t, "a", "b", "c")
	for i := range c.members {
		c.run(i, from)
	}
	c.finds("H41", health.OK, "all run "+from)

	c.run(0, to)
	c.finds("H41", health.Info, "two minors: an upgrade is under way, its last step", "version "+from+": b, c", "version "+to+": a")
	c.run(1, to)
	c.finds("H41", health.Info, "two minors: an upgrade is under way, its last step", "version "+from+": c", "version "+to+": a, b")
	c.limit = "mixed-versions=1s"
	c.finds("H41", health.Warning, "two minors, and none was started for", "version "+from+": c", "finish the upgrade")
	c.run(2, to)
	c.finds("H41", health.OK, "all run "+to)

	if _, err := connect(t, c.members[0].client).Downgrade(t.Context(), clientv3.DowngradeEnable, "3.6.0"); err != nil {
		t.Fatal(err)
	}
	c.finds("H41", health.Info, "runs "+to+" and stores as 3.6: a downgrade is enabled", "etcdctl downgrade cancel")
}

// TestHealthOfAStuckLearner has a learner whose process ended after it joined: it is found,
// and nobody is told to promote it before it has caught up.
func TestHealthOfAStuckLearner(t *testing.T) {
	c := newCluster(t, "voter")
	c.run(0, binaries.EtcdVersion)
	voter := connect(t, c.members[0].client)
	learner := c.add("learner", "existing")
	added, err := voter.MemberAddAsLearner(t.Context(), []string{learner.peer})
	if err != nil {
		t.Fatal(err)
	}
	id := strconv.FormatUint(added.Member.ID, 16)
	c.run(1, binaries.EtcdVersion)
	c.finds("H04", health.Info, "learner is a learner: it runs for", "100% of the leader's log")

	learner.end()
	write(t, voter, 0) // more entries than there were
	c.finds("H04", health.Warning, "learner is a learner: it does not answer", "% of the leader's log", "kubectl etcd member remove "+id)
	c.finds("H14", health.Info, "entries behind the leader, in StateProbe")

	c.run(1, binaries.EtcdVersion)
	c.limit = "learner-age=1s"
	c.finds("H04", health.Warning, "learner is a learner: it runs for", "100% of the leader's log", "kubectl etcd member promote "+id)
}

// cluster is one of real processes, which are started anew as one version or another.
type cluster struct {
	t       *testing.T
	plugin  string
	limit   string // one to be changed with --set; empty: none
	members []*member
}

type member struct {
	client, peer string
	args         []string
	stop         func() // nil: it does not run
}

func newCluster(t *testing.T, names ...string) *cluster {
	t.Helper()
	c := &cluster{t: t, plugin: filepath.Join(t.TempDir(), "kubectl-etcd")}
	output(t, "go", "build", "-o", c.plugin, "../../../cmd/kubectl-etcd")
	for _, name := range names {
		c.add(name, "new")
	}
	t.Cleanup(func() {
		for _, m := range c.members {
			m.end()
		}
	})
	return c
}

// add adds a member that does not run yet; state is that of the cluster which it will find.
func (c *cluster) add(name, state string) *member {
	c.t.Helper()
	m := &member{client: freeURL(c.t), peer: freeURL(c.t)}
	m.args = []string{
		"--name=" + name, "--data-dir=" + c.t.TempDir(), "--initial-cluster-state=" + state,
		"--initial-advertise-peer-urls=" + m.peer, "--listen-peer-urls=" + m.peer,
		"--advertise-client-urls=" + m.client, "--listen-client-urls=" + m.client,
	}
	c.members = append(c.members, m)
	return m
}

func (m *member) end() {
	if m.stop != nil {
		m.stop()
		m.stop = nil
	}
}

// run starts member i as version, in place of its process that may run.
func (c *cluster) run(i int, version string) {
	c.t.Helper()
	dir, err := binaries.Etcd(c.t.Context(), os.Stderr, version)
	if err != nil {
		c.t.Fatal(err)
	}
	var all []string
	for _, m := range c.members {
		all = append(all, strings.TrimPrefix(m.args[0], "--name=")+"="+m.peer)
	}
	m := c.members[i]
	m.end()
	m.stop = startEtcd(c.t, slices.Concat([]string{filepath.Join(dir, "etcd")}, m.args, []string{"--initial-cluster=" + strings.Join(all, ",")}))
}

// finds waits until health says so: a member that was just started takes a moment.
func (c *cluster) finds(id string, level health.Level, parts ...string) {
	c.t.Helper()
	var got string
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Second) {
		result := c.health(id)
		got = fmt.Sprintf("%s: %s", result.Level, strings.Join(slices.Concat([]string{result.Summary, result.Remedy}, result.Evidence, result.Unmeasured), "\n"))
		lacks := func(part string) bool { return !strings.Contains(got, part) }
		if result.Level == level && !slices.ContainsFunc(parts, lacks) {
			c.t.Logf("%s %s", id, got)
			return
		}
	}
	c.t.Fatalf("%s: %s\nwant %s with %q", id, got, level, parts)
}

func (c *cluster) health(id string) health.Result {
	c.t.Helper()
	var urls []string
	for _, m := range c.members {
		urls = append(urls, m.client)
	}
	args := []string{"health", "--check", id, "--sample", "0", "--fail-on", "never", "-o", "json", "--endpoints", strings.Join(urls, ",")}
	if c.limit != "" {
		args = append(args, "--set", c.limit)
	}
	var list struct{ Items []health.Report }
	if err := json.NewDecoder(bytes.NewReader(output(c.t, c.plugin, args...))).Decode(&list); err != nil || len(list.Items) != 1 || len(list.Items[0].Results) != 1 {
		c.t.Fatalf("health printed %+v, %v", list, err)
	}
	return list.Items[0].Results[0]
}

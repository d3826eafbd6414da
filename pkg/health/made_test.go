package health

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
)

// TestMadeStates makes states of a real etcd, and finds each of them. Those of Kubernetes'
// side are made on the real control plane (test/e2e).
func TestMadeStates(t *testing.T) {
	for _, test := range []struct {
		name, check string
		make        func(t *testing.T) *etcdtest.Cluster
		limits      []string
		level       Level
		says        string
	}{
		{"even members", "H01", start(2, etcdtest.Options{}), nil, Critical, "worse than 1"},
		{"a member is down", "H02", func(t *testing.T) *etcdtest.Cluster {
			cluster := etcdtest.Start(t, 3, etcdtest.Options{})
			cluster.Members[cluster.Follower()].Stop()
			return cluster
		}, nil, Warning, "no further voter may fail"},
		{"a learner", "H04", learner, nil, Info, "is a learner"},
		{"a learner that stays one", "H04", learner, []string{"learner-age=0s"}, Warning, "is a learner: it runs for"},
		{"a learner that is stuck", "H04", func(t *testing.T) *etcdtest.Cluster {
			cluster := learner(t)
			cluster.Members[1].Stop()
			return cluster
		}, nil, Warning, "is a learner: it does not answer"},
		{"a member that never started", "H03", func(t *testing.T) *etcdtest.Cluster {
			cluster := etcdtest.Start(t, 3, etcdtest.Options{})
			if _, err := cluster.Open(0).Raw().MemberAdd(t.Context(), []string{"http://127.0.0.1:1"}); err != nil {
				t.Fatal(err)
			}
			return cluster
		}, nil, Critical, "never started"},
		{"no space", "H20", func(t *testing.T) *etcdtest.Cluster {
			cluster := etcdtest.Start(t, 3, etcdtest.Options{})
			cluster.RaiseAlarm(cluster.Members[1].ID(), pb.AlarmType_NOSPACE)
			return cluster
		}, nil, Critical, "NOSPACE"},
		{"quota near", "H21", nearlyFull, nil, Critical, "quota"},
		{"fragmentation", "H23", fragmented, []string{"db-in-use-least=1MiB"}, Warning, "in use"},
		{"leaders come and go", "H11", churned, nil, Warning, "leader"},
		{"hash mismatch", "H40", altered, nil, Critical, "hash"},
		{"a certificate ends", "H45", start(1, etcdtest.Options{Server: etcdtest.Leaf{NotAfter: time.Now().Add(5 * 24 * time.Hour)}}), nil, Critical, "certificate"},
	} {
		t.Run(test.name, func(t *testing.T) {
			sources := sourcesOf(test.make(t))
			sources.Deep = test.check == "H40"
			limits := DefaultLimits()
			for _, setting := range test.limits {
				var err error
				if limits, err = limits.With(setting); err != nil {
					t.Fatal(err)
				}
			}
			facts := Collect(t.Context(), sources)
			result := checkOf(t, test.check).run(facts, limits)
			text := fmt.Sprintf("%s %q %q", result.Summary, result.Evidence, result.Unmeasured)
			if result.Level != test.level || !strings.Contains(text, test.says) {
				t.Errorf("%s: %s, want %s with %q", result.Level, text, test.level, test.says)
			}
		})
	}
}

func start(n int, options etcdtest.Options) func(t *testing.T) *etcdtest.Cluster {
	return func(t *testing.T) *etcdtest.Cluster { return etcdtest.Start(t, n, options) }
}

// learner has one beside its only voter.
func learner(t *testing.T) *etcdtest.Cluster {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{})
	cluster.AddLearner()
	return cluster
}

// nearlyFull has a database that takes 18 of the 20 MiB it may: how many values that needs
// hangs on how many were written in one transaction of bbolt.
func nearlyFull(t *testing.T) *etcdtest.Cluster {
	const quota = 20 << 20
	cluster := etcdtest.Start(t, 1, etcdtest.Options{Quota: quota})
	client := cluster.Open(0).Raw()
	for i := 0; ; i++ {
		status, err := client.Status(t.Context(), client.Endpoints()[0])
		if err != nil {
			t.Fatal(err)
		}
		if status.DbSize >= quota*9/10 {
			return cluster
		}
		etcdtest.Put(t, client, fmt.Sprintf("/fill/%08d", i), strings.Repeat("x", 512<<10))
		time.Sleep(150 * time.Millisecond) // a transaction is committed every 100 ms
	}
}

// fragmented has written and deleted, and compacted, so that most of the file is free.
func fragmented(t *testing.T) *etcdtest.Cluster {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{})
	cluster.Fill(16, 1<<20)
	client := cluster.Open(0).Raw()
	for i := range 13 {
		if _, err := client.Delete(t.Context(), fmt.Sprintf("/fill/%08d", i)); err != nil {
			t.Fatal(err)
		}
	}
	r, err := client.Get(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Compact(t.Context(), r.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	etcdtest.Put(t, client, "x", "y") // pages are free once another transaction was committed
	time.Sleep(time.Second)           // which happens every 100 ms
	return cluster
}

// churned has changed its leader five times.
func churned(t *testing.T) *etcdtest.Cluster {
	cluster := etcdtest.Start(t, 3, etcdtest.Options{})
	for range 5 {
		leader, follower := cluster.Leader(), cluster.Follower()
		if _, err := cluster.Open(leader).Raw().MoveLeader(t.Context(), uint64(cluster.Members[follower].ID())); err != nil {
			t.Fatal(err)
		}
	}
	return cluster
}

// altered has a member in whose database, while it was stopped, a value was changed.
func altered(t *testing.T) *etcdtest.Cluster {
	cluster := etcdtest.Start(t, 3, etcdtest.Options{Configure: func(c *embed.Config) { c.BackendBatchInterval = 10 * time.Millisecond }})
	cluster.Fill(20, 100)
	member := cluster.Members[cluster.Follower()]
	member.Stop()
	db, err := bbolt.Open(filepath.Join(member.Dir, "member", "snap", "db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket([]byte("key"))
		key, value := bucket.Cursor().Last()
		value = append([]byte(nil), value...)
		value[len(value)-1] ^= 1
		return bucket.Put(key, value)
	})
	if err != nil || db.Close() != nil {
		t.Fatal(err)
	}
	member.Start()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for cluster.Open(0).Health(ctx) != nil && ctx.Err() == nil {
		time.Sleep(100 * time.Millisecond)
	}
	return cluster
}

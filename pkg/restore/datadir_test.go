package restore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
)

// A data directory is read while its etcd runs and writes, as often as not right in the
// middle of a commit, and after it has ended.
func TestReadDatabaseOfARunningMember(t *testing.T) {
	cluster := etcdtest.Start(t, 3, etcdtest.Options{})
	want, err := cluster.Open(0).Members(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(cluster.Members[0].Dir, "member", "snap", "db")
	ctx, stop := context.WithCancel(t.Context())
	var writing errgroup.Group
	writing.Go(func() error {
		client := cluster.Open(cluster.Leader()).Raw()
		for i := 0; ctx.Err() == nil; i++ {
			// To its end: one that is cut off may still be carried out, after all is counted.
			if _, err := client.Put(t.Context(), fmt.Sprintf("/k/%d", i%100), string(make([]byte, 10000))); err != nil {
				return err
			}
		}
		return nil
	})
	var last int64
	for range 200 {
		data, err := ReadDatabase(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if len(data.Members) != len(want) || data.Revision < last {
			t.Fatalf("read %d members, revision %d after %d", len(data.Members), data.Revision, last)
		}
		last = data.Revision
	}
	stop()
	if err := writing.Wait(); err != nil {
		t.Fatal(err)
	}
	head, err := cluster.Open(0).Raw().Get(t.Context(), "/k/0") // linearizable: the member has applied all
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range cluster.Members {
		m.Stop()
	}
	data, err := ReadDatabase(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	byID := map[string]string{}
	for _, m := range want {
		byID[m.ID.String()] = m.Name + fmt.Sprint(m.PeerURLs, m.ClientURLs)
	}
	got := map[string]string{}
	for _, m := range data.Members {
		got[m.ID.String()] = m.Name + fmt.Sprint(m.PeerURLs, m.ClientURLs)
	}
	if diff := cmp.Diff(byID, got); diff != "" {
		t.Errorf("members (-as etcd lists them +read):\n%s", diff)
	}
	if data.Revision != head.Header.Revision || data.Database != path {
		t.Errorf("got %+v, want revision %d", data, head.Header.Revision)
	}
}

// changing is a file that holds old until it was read from often enough, then what came
// after the next commit.
type changing struct {
	old, current []byte
	reads        int
}

func (c *changing) ReadAt(p []byte, at int64) (int, error) {
	content := c.current
	if c.reads > 0 {
		content = c.old
	}
	c.reads--
	return bytes.NewReader(content).ReadAt(p, at)
}

// sizes are what a file is found to have, one after the other; the last one stays.
func sizes(found ...int64) func() (int64, error) {
	return func() (int64, error) {
		size := found[0]
		found = found[min(1, len(found)-1):]
		return size, nil
	}
}

// A commit that makes the file grow right after its size was taken is no damage.
func TestReadAcrossGrowth(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{})
	cluster.Fill(10, 100)
	cluster.Members[0].Stop()
	file, err := os.Open(filepath.Join(cluster.Members[0].Dir, "member", "snap", "db"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	size, err := fileSize(file)
	if err != nil {
		t.Fatal(err)
	}
	const before = 8192
	if whole, err := (&DataDir{}).readOnce(t.Context(), file, sizes(before)); !whole || !errors.Is(err, ErrDamaged) {
		t.Errorf("cut off: %t, %v", whole, err)
	}
	grows := sizes(before, size)
	if whole, _ := (&DataDir{}).readOnce(t.Context(), file, grows); whole {
		t.Error("its growth was not seen")
	}
	if whole, err := (&DataDir{}).readOnce(t.Context(), file, grows); !whole || err != nil {
		t.Errorf("read anew: %t, %v", whole, err)
	}
}

// What was read across a commit does not count, wherever that came.
func TestReadAcrossACommit(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{})
	path := filepath.Join(cluster.Members[0].Dir, "member", "snap", "db")
	var states [2][]byte
	for i := range states {
		cluster.Fill(10, 100)
		cluster.Members[0].Server.Server.Backend().ForceCommit()
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		states[i] = content
	}
	size := sizes(int64(min(len(states[0]), len(states[1]))))
	undisturbed := &changing{states[0], nil, 1 << 20}
	if whole, err := (&DataDir{}).readOnce(t.Context(), undisturbed, size); !whole || err != nil {
		t.Fatalf("without a commit: %t, %v", whole, err)
	}
	// A commit before the first meta page was read whole is none, and one between the
	// last two comes when all else has been read.
	for reads := 2; reads < 1<<20-undisturbed.reads-1; reads++ {
		file := &changing{states[0], states[1], reads}
		if whole, _ := (&DataDir{}).readOnce(t.Context(), file, size); whole {
			t.Errorf("a commit after %d reads was not seen", reads)
		}
	}
}

func TestReadDatabaseOfNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	if _, err := ReadDatabase(t.Context(), path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
	if err := os.WriteFile(path, make([]byte, 64<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadDatabase(t.Context(), path); !errors.Is(err, ErrDamaged) {
		t.Errorf("zeros: %v", err)
	}
}

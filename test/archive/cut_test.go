package archive

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
)

// TestCutSegment: the newest segment lost its bytes, all or some, as by a power cut. A writer
// goes on before it, and nothing of what comes then is missing.
func TestCutSegment(t *testing.T) {
	for name, left := range map[string]int64{"all of it": 0, "its end": 300} {
		t.Run(name, func(t *testing.T) {
			cluster := etcdtest.Start(t, 1, etcdtest.Options{Plain: true})
			client := cluster.Clients()[0]
			a := newArchived(t, t.TempDir())
			w := truth{}
			f := a.follow(cluster.Clients(), nil)
			f.base()
			f.reached(w.puts(t, client, 2))
			f.reached(w.puts(t, client, 2))
			f.stop()
			_, list := a.timelines()
			newest := list[0].Segments[len(list[0].Segments)-1]
			if err := os.Truncate(a.path(t, newest), left); err != nil {
				t.Fatal(err)
			}
			if left == 0 { // what is cut behind its envelope only a reader finds out
				f = a.follow(cluster.Clients(), nil)
				f.reached(w.puts(t, client, 2))
				f.stop()
				a.want(w)
			}
			archive, list := a.timelines()
			v, err := restore.Verify(t.Context(), archive, list[0], restore.VerifyOptions{})
			if err != nil || len(v.Faults) == 0 {
				t.Errorf("verify finds %+v, %v, want the cut segment", v.Faults, err)
			}
			if n := len(v.Spans); left > 0 && (n != 1 || v.Spans[0].Last != newest.First-1) {
				t.Errorf("verify says that %+v can be restored, want what is before the cut segment, %s", v.Spans, newest)
			}
		})
	}
}

// TestMissingSegmentIsSeen: verify tells that one in the middle is gone.
func TestMissingSegmentIsSeen(t *testing.T) {
	a, _ := small(t)
	var segments []string
	for _, path := range files(t, a.location) {
		if strings.HasPrefix(filepath.Base(path), "seg-") {
			segments = append(segments, path)
		}
	}
	if len(segments) < 3 {
		t.Fatalf("%d segments, want 3", len(segments))
	}
	if err := os.Remove(segments[1]); err != nil {
		t.Fatal(err)
	}
	archive, list := a.timelines()
	for _, sealed := range []bool{false, true} {
		v, err := restore.Verify(t.Context(), archive, list[0], restore.VerifyOptions{Sealed: sealed})
		if err != nil || len(v.Faults) == 0 {
			t.Errorf("verify (as stored: %t) finds %+v, %v, want what is missing", sealed, v.Faults, err)
		}
	}
}

package cmd

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

// twoHistories is an archive with a first timeline and a fork of it, each with one base.
func twoHistories(t *testing.T) (*store.Archive, []store.TimelineID) {
	t.Helper()
	bucket, err := store.OpenBucket(t.Context(), t.TempDir(), true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bucket.Close() })
	a, err := store.NewArchive(bucket, store.ArchiveID{Name: "c", Etcd: "main"}, store.Keys{})
	if err != nil {
		t.Fatal(err)
	}
	var ids []store.TimelineID
	at := time.Date(2026, 7, 25, 12, 0, 0, 0, time.UTC)
	for i, reason := range []store.Reason{store.First, store.Fork} {
		at = at.Add(time.Hour)
		id := store.NewTimelineID(at, uint32(i))
		mark := store.Mark{Revision: 10, Time: at, Writer: 1}
		size, sum, err := a.PutBase(t.Context(), id, mark, func(w io.Writer) error { _, err := w.Write([]byte("x")); return err })
		err = errors.Join(err, a.OpenTimeline(t.Context(), store.Timeline{ID: id, Opened: at, Reason: reason}),
			a.CommitBase(t.Context(), id, mark, store.Info{Last: 10, Keys: 7, StoredSize: size, StoredSHA256: sum}))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return a, ids
}

// Of several histories nobody chooses but the caller.
func TestHistory(t *testing.T) {
	a, ids := twoHistories(t)
	_, all, err := (&archiveFlags{}).history(t.Context(), a)
	var usage *usageError
	if !errors.As(err, &usage) || len(all) != 2 {
		t.Fatalf("%v, %d timelines, want a usage error about two", err, len(all))
	}
	for _, part := range []string{string(ids[0]), string(ids[1]), "revision 10", "7 keys", "fork", "2026-07-25T13:00:00Z"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error lacks %q: %v", part, err)
		}
	}
	c, _, err := (&archiveFlags{timeline: string(ids[0])}).history(t.Context(), a)
	if err != nil || c.Timeline.ID != ids[0] {
		t.Errorf("chosen: %v", err)
	}
	if _, _, err := (&archiveFlags{timeline: "none"}).history(t.Context(), a); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("one that is not there: %v", err)
	}
}

func TestParseMoment(t *testing.T) {
	now := time.Date(2026, 7, 25, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"-15m": "2026-07-25T11:45:00Z", "-2d": "2026-07-23T12:00:00Z", "2026-07-25T14:30:00+02:00": "2026-07-25T12:30:00Z",
		"2026-07-25 10:00Z": "2026-07-25T10:00:00Z", "2026-07-25T10:00:00.5Z": "2026-07-25T10:00:00.5Z",
		"2026-07-25T10:00:00": "", "yesterday": "", "-x": "", "--5m": "", "10:00": "",
	} {
		got, err := parseMoment(text, now)
		if (err == nil) != (want != "") || err == nil && got.UTC().Format(time.RFC3339Nano) != want {
			t.Errorf("%q is %s, %v, want %q", text, got, err, want)
		}
	}
}

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "4096": 4096, "1KiB": 1024, "20MB": 20e6, "1.5GiB": 3 << 29, "2 GB": 2e9, "1T": 1e12} {
		if got, err := parseBytes(text); err != nil || got != want {
			t.Errorf("%q is %d, %v, want %d", text, got, err, want)
		}
	}
	for _, bad := range []string{"", "x", "1X", "-1", "1 2", "GiB"} {
		if got, err := parseBytes(bad); err == nil {
			t.Errorf("%q is taken for %d", bad, got)
		}
	}
}

func TestKeepFlags(t *testing.T) {
	f := keepFlags{within: "2d", maxSize: "1GiB", rules: store.Keep{Daily: 3}}
	if err := f.complete(); err != nil || f.rules != (store.Keep{Within: 48 * time.Hour, Daily: 3, MaxSize: 1 << 30}) {
		t.Errorf("%+v, %v", f.rules, err)
	}
	if got := strings.Join(f.args(), " "); got != "--keep-daily 3 --keep-within 2d --max-size 1GiB" {
		t.Errorf("as flags again: %s", got)
	}
	for _, bad := range []keepFlags{{within: "x"}, {within: "-1h"}, {maxSize: "x"}, {rules: store.Keep{Last: -1}}, {all: true, rules: store.Keep{Last: 1}}} {
		if err := bad.complete(); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

// --follow prunes by the same rules, and not what is young.
func TestKeepApply(t *testing.T) {
	a, _ := twoHistories(t)
	f := keepFlags{rules: store.Keep{Last: 1}}
	err := f.apply(context.Background(), a, time.Date(2026, 7, 30, 0, 0, 0, 0, time.UTC), func(*store.Pruning) { t.Error("the only base of a history goes") })
	if err != nil {
		t.Error(err)
	}
}

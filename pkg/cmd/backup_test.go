package cmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/tunnel"
)

func TestDefaultBackupName(t *testing.T) {
	for cluster, want := range map[string]string{
		"main":           "etcd-main-20260102T120000Z.db",
		"10.0.0.1:2379":  "etcd-10.0.0.1-2379-20260102T120000Z.db",
		`a/b\c*?"<>|`:    "etcd-a-b-c-------20260102T120000Z.db",
		"[fd00::1]:2379": "etcd--fd00--1--2379-20260102T120000Z.db",
	} {
		if got := defaultBackupName(cluster, noon); got != want {
			t.Errorf("%s: got %s, want %s", cluster, got, want)
		}
	}
}

func TestParseShare(t *testing.T) {
	for text, want := range map[string]float64{"90%": 0.9, "0.9": 0.9, "100%": 1, "1": 1} {
		if got, err := parseShare(text); got != want || err != nil {
			t.Errorf("%s: %v %v", text, got, err)
		}
	}
	for _, text := range []string{"", "%", "0", "90", "101%", "-1%", "NaN", "x"} {
		if _, err := parseShare(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func TestBackupSources(t *testing.T) {
	down := errors.New("gone")
	r := &reach{sources: []etcd.Source{{Name: "a", Err: down}, {Name: "b", Quota: 5}}, clients: []*etcd.Client{nil, {}}}
	sources, err := r.backupSources()
	if err != nil || len(sources) != 1 || sources[0].Name != "b" || sources[0].Quota != 5 || sources[0].Client != r.clients[1] {
		t.Errorf("got %+v %v", sources, err)
	}
	r.sources, r.clients = r.sources[:1], r.clients[:1]
	if _, err := r.backupSources(); !errors.Is(err, down) || !strings.Contains(err.Error(), "a: gone") {
		t.Errorf("got %v", err)
	}
}

// What the flags say reaches the engine.
func TestBackupFlags(t *testing.T) {
	o := &backupOptions{target: newTarget(&session{}), from: "a", overwrite: true, quotaShare: 0.8}
	o.timeout = 7 * time.Second
	got := o.engineOptions(render.NewProgress(&bytes.Buffer{}, render.Terminal{}, ""))
	if got.From != "a" || !got.Overwrite || got.AbortAtQuota != 0.8 || got.Timeout != 7*time.Second || got.Inspect == nil {
		t.Errorf("got %+v", got)
	}
}

func TestBackupEvents(t *testing.T) {
	var out bytes.Buffer
	progress := render.NewProgress(&out, render.Terminal{}, "snapshot")
	showBackupEvent(progress, backup.Event{Source: "a", Bytes: 50, Total: 100})
	showBackupEvent(progress, backup.Event{Source: "a", Retry: errors.New("tunnel dropped")})
	showBackupEvent(progress, backup.Event{Note: "expected to take 3s"})
	want := "snapshot: 50% (50 B of 100 B)\na: tunnel dropped; trying another member from the start\nexpected to take 3s\n"
	if out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

// A refused tunnel is the reason only where no member was left.
func TestBackupErrorIsNotHiddenByARefusal(t *testing.T) {
	client, err := kubernetes.NewForConfig(&rest.Config{Host: "http://" + etcdtest.FreeAddr(t)})
	if err != nil {
		t.Fatal(err)
	}
	r := &reach{refused: &refusals{client: client}}
	r.refused.note(&tunnel.Error{Err: tunnel.ErrForbidden}, "pods/portforward", "kube-system")
	for _, err := range []error{backup.ErrWrite, backup.ErrQuota, context.Canceled} {
		if got := r.explainBackup(t.Context(), err); got != err { //nolint:errorlint // the very same
			t.Errorf("%v became %v", err, got)
		}
	}
	if got := r.explainBackup(t.Context(), backup.ErrNoMember); !errors.Is(got, tunnel.ErrForbidden) {
		t.Errorf("got %v, want the refusal", got)
	}
}

// The snapshot that was just taken is no file to choose another instead of.
func TestBackupHintsAtTheMember(t *testing.T) {
	r := &reach{refused: &refusals{}}
	for reason, code := range map[error]int{restore.ErrDamaged: exitDamaged, restore.ErrNotSnapshot: exitError, restore.ErrNoChecksum: exitError} {
		err := errors.Join(backup.ErrNoMember, fmt.Errorf("a: inspect snapshot: %w", reason))
		f := (&session{}).explain(r.explainBackup(t.Context(), err), "kubectl etcd backup")
		if hints := strings.Join(f.hints, "\n"); f.code != code || !strings.Contains(hints, "--from") || strings.Contains(hints, "restore") {
			t.Errorf("%v: code %d, hints %q", reason, f.code, hints)
		}
	}
}

func TestBackupViewWarns(t *testing.T) {
	var out bytes.Buffer
	screen := render.NewScreen(&out, render.Terminal{})
	viewBackup(screen, &backup.Report{Path: "s.db", Member: "a", Warnings: []string{"a knows no leader"}})
	if err := screen.Flush(); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); !strings.HasPrefix(text, "warning: snapshot in s.db\n") || !strings.Contains(text, "a knows no leader") {
		t.Errorf("got %s", text)
	}
}

func TestBackupView(t *testing.T) {
	report := &backup.Report{
		Path: "/srv/it's/snap 1.db", Member: "etcd-node1", MemberID: 0xabc, ClusterID: 0xdef, ServerVersion: "3.7.3",
		Size: 47395667, SHA256: strings.Repeat("ab", 32), Duration: 4321 * time.Millisecond, Tries: 2,
		Contents: &etcd.Contents{Revision: 184467, CompactRevision: 180000, Keys: 4711, Records: 5000, Hash: 0xcafe, HashKV: 99, StorageVersion: "3.7.0"},
	}
	var out bytes.Buffer
	screen := render.NewScreen(&out, render.Terminal{TTY: true, Width: 80, Unicode: true})
	viewBackup(screen, report)
	if err := screen.Flush(); err != nil {
		t.Fatal(err)
	}
	golden(t, "backup.txt", out.String())
	if want := `kubectl etcd restore --from-file '/srv/it'\''s/snap 1.db' --out-dir restored`; !strings.Contains(out.String(), want) {
		t.Errorf("%s is missing in %s", want, out.String())
	}
}

package backup

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
)

func TestGuardLimits(t *testing.T) {
	const quota = 1000
	const none = -1 // as --quota-backend-bytes=-1
	tests := []struct {
		name  string
		begin int64
		share float64
		quota int64
		note  string
		stops map[int64]bool // by the size meanwhile
	}{
		{"below", 500, 0.9, quota, "", map[int64]bool{0: false, 500: false, 899: false, 900: true, 2000: true}},
		{"above the mark already", 920, 0.9, quota, "uses 92% of its quota already; the snapshot stops if it grows to 96%",
			map[int64]bool{0: false, 900: false, 920: false, 959: false, 960: true}},
		{"at the quota already", 1000, 0.9, quota, "at its quota already", map[int64]bool{1000: false, 5000: false}},
		{"the member has none", 5000, 0.9, none, "", map[int64]bool{5000: false, 90000: false}},
		{"never", 500, -1, quota, "", map[int64]bool{5000: false}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client, err := etcd.Open(etcd.Endpoint{Name: "a", URL: "http://" + etcdtest.FreeAddr(t)}, etcd.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			a := &attempt{
				candidate: candidate{Source: Source{Name: "a", Client: client, Quota: test.quota}, status: etcd.Status{DBSize: test.begin}},
				options:   Options{AbortAtQuota: test.share}.withDefaults(),
			}
			g := a.newGuard(t.Context(), &meter{attempt: a})
			if (test.note == "") != (g.note == "") || !strings.Contains(g.note, test.note) {
				t.Errorf("note %q, want %q", g.note, test.note)
			}
			for size, stops := range test.stops {
				if err := g.check(size); errors.Is(err, ErrQuota) != stops {
					t.Errorf("at %d: %v, want a stop: %t", size, err, stops)
				}
			}
		})
	}
}

// churn puts, over and over, and compacts, until ctx ends.
func churn(ctx context.Context, t *testing.T, client *etcd.Client) {
	value := strings.Repeat("x", 100<<10)
	for i := 0; ctx.Err() == nil; i++ {
		answer, err := client.Raw().Put(ctx, fmt.Sprint("/churn/", i%20), value)
		if err == nil && i%20 == 19 {
			_, err = client.Raw().Compact(ctx, answer.Header.Revision)
		}
		if err != nil && ctx.Err() == nil {
			t.Errorf("churn: %v", err)
			return
		}
	}
}

// TestSlowReaderUnderChurn is the thing that the guard is for: a snapshot that is
// read slowly while keys change makes the database grow.
func TestSlowReaderUnderChurn(t *testing.T) {
	const quota = 64 << 20
	cluster := etcdtest.Start(t, 1, etcdtest.Options{Plain: true, Quota: quota})
	cluster.Fill(100, 100<<10)
	line := etcdtest.NewLine(cluster.Members[0].Addr())
	endpoint := cluster.Members[0].Endpoint()
	endpoint.Dial = line.Dial
	client := cluster.OpenWith(endpoint, etcd.Options{})

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	churning := make(chan struct{})
	writer := cluster.Open(0)
	dir := t.TempDir()
	var started bool
	_, err := SaveFile(ctx, []Source{{Name: "etcd-a", Client: client}}, Options{
		Path: filepath.Join(dir, "s.db"), AbortAtQuota: 0.5, PollEvery: 20 * time.Millisecond,
		OnEvent: func(Event) {
			if started {
				return
			}
			started = true
			line.Pace(256 << 10)
			go func() { defer close(churning); churn(ctx, t, writer) }()
		},
	})
	if !errors.Is(err, ErrQuota) || errors.Is(err, ErrNoMember) {
		t.Errorf("SaveFile = %v, want ErrQuota", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("left behind: %v", entries)
	}
	status, statusErr := writer.Status(ctx)
	if statusErr != nil || status.DBSize >= quota || len(status.Errors) != 0 {
		t.Errorf("the member's state %+v, %v: it was to stay below its quota", status, statusErr)
	}
	cancel()
	<-churning
}

// TestBlindGuardWarns: only the connection of the snapshot lives. The snapshot goes on,
// and it is said once, even while the reader keeps it waiting.
func TestBlindGuardWarns(t *testing.T) {
	database := make([]byte, 256<<10)
	sum := sha256.Sum256(database)
	var calls atomic.Int32
	several, warned := make(chan struct{}), make(chan struct{})
	stub := &etcdtest.Stub{Messages: etcdtest.SnapshotMessages(database, sum[:])}
	stub.OnStatus = func() (*pb.StatusResponse, error) {
		switch n := calls.Add(1); {
		case n <= 2: // when it is chosen, and when it begins
			return &pb.StatusResponse{Header: &pb.ResponseHeader{ClusterId: 7, MemberId: 2}, Leader: 1, DbSize: 1 << 20}, nil
		case n == 6:
			close(several)
		}
		return nil, status.Error(codes.Internal, "not today")
	}
	var notes []string
	_, err := WriteTo(t.Context(), []Source{{Name: "a", Client: stub.Open(t, "a")}}, waiting{several, warned}, Options{
		PollEvery: 10 * time.Millisecond,
		OnEvent: func(e Event) {
			if e.Note != "" {
				notes = append(notes, e.Note)
				close(warned)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(notes) != 1 || !strings.Contains(notes[0], "warning: a does not say") || !strings.Contains(notes[0], "not today") {
		t.Errorf("notes %q, want one warning with its reason", notes)
	}
}

// waiting takes nothing until all its channels are closed.
type waiting []chan struct{}

func (w waiting) Write(p []byte) (int, error) {
	for _, one := range w {
		select {
		case <-one:
		case <-time.After(30 * time.Second):
			return 0, errors.New("waited in vain")
		}
	}
	return len(p), nil
}

func TestStalledMemberIsGivenUp(t *testing.T) {
	t.Parallel() // it waits for a silent member
	cluster := etcdtest.Start(t, 3, etcdtest.Options{Plain: true})
	cluster.Fill(100, 100<<10)
	var sources []Source
	lines := map[string]*etcdtest.Line{}
	for _, member := range cluster.Members {
		line := etcdtest.NewLine(member.Addr())
		endpoint := member.Endpoint()
		endpoint.Dial = line.Dial
		lines[endpoint.Name] = line
		sources = append(sources, Source{Name: endpoint.Name, Client: cluster.OpenWith(endpoint, etcd.Options{})})
	}
	var stalled string
	var reason error
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	report, err := SaveFile(ctx, sources, Options{
		Path: filepath.Join(t.TempDir(), "s.db"), PollEvery: 20 * time.Millisecond, StallAfter: 4 * time.Second, Timeout: 20 * time.Second,
		OnEvent: func(e Event) {
			if stalled == "" {
				stalled = e.Source
				lines[stalled].Hold()
			}
			if e.Retry != nil {
				reason = e.Retry
				lines[stalled].Release()
			}
		},
	})
	if err != nil || report.Member == stalled || report.Tries != 2 || !errors.Is(reason, ErrStalled) {
		t.Errorf("report %+v, %v; gave up %s because of %v", report, err, stalled, reason)
	}
}

func TestEstimate(t *testing.T) {
	var events []Event
	a := &attempt{candidate: candidate{Source: Source{Name: "a"}}, options: Options{OnEvent: func(e Event) { events = append(events, e) }}}
	m := &meter{attempt: a, w: discard{}, began: time.Now().Add(-10 * time.Second), total: 4 << 20}
	for range 4 {
		if _, err := m.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if len(events) == 0 || !strings.Contains(events[0].Note, "about 40s in all at 0.1 MB/s") || events[0].Total != 4<<20 {
		t.Fatalf("events %+v", events)
	}
	for _, e := range events[1:] {
		if e.Note != "" {
			t.Errorf("told again: %+v", e)
		}
	}
	if len(events) > 2 { // four writes within a moment
		t.Errorf("%d events: progress is not throttled", len(events))
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

package relay

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
)

// options are those of a relay beside m.
func (k *kube) options(t *testing.T, m *member) Options {
	t.Helper()
	return Options{
		Place: Place{
			Namespace: "kube-system", Node: "node0", CA: "/pki/ca.crt", Cert: "/pki/client.crt", Key: "/pki/client.key",
			Members: []string{m.address}, Peers: []string{m.address},
		},
		Image: "example.com/relay:1", Client: k.client(t), Dial: k.dial, Lifetime: time.Minute,
	}
}

func startWith(t *testing.T) (*kube, *member, Options) {
	t.Helper()
	m := startMember(t, etcdtest.Leaf{}, echo)
	k := startKube(t, m.authority.ClientTLS(etcdtest.Leaf{}))
	return k, m, k.options(t, m)
}

func start(t *testing.T, options Options) *Relay {
	t.Helper()
	r, err := Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close(context.Background()) })
	return r
}

func wantEchoThrough(t *testing.T, r *Relay, m *member) net.Conn {
	t.Helper()
	conn, err := r.DialContext(t.Context(), Stream{Member: m.address, ALPN: HTTP2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	wantEcho(t, conn, "hello")
	return conn
}

func TestRelayLives(t *testing.T) {
	k, m, options := startWith(t)
	r := start(t, options)
	wantEchoThrough(t, r, m)
	if took, err := r.Connects(t.Context(), m.address, 3); err != nil || len(took) != 3 {
		t.Errorf("connects: %v, %v", took, err)
	}
	if names := k.names(); len(names) != 1 {
		t.Errorf("pods %v, want one", names)
	}
	interrupted, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Close(interrupted); err != nil {
		t.Error(err)
	}
	if names := k.names(); len(names) != 0 {
		t.Errorf("left behind: %v", names)
	}
	if _, err := r.DialContext(t.Context(), Stream{Member: m.address, ALPN: HTTP2}); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// A pod that is gone, whoever did that, has a successor with the next stream.
func TestRelayReplacesAPodThatIsGone(t *testing.T) {
	k, m, options := startWith(t)
	r := start(t, options)
	first := k.names()[0]
	k.end(first, corev1.PodFailed)
	wantEchoThrough(t, r, m)
	second := k.names()
	if len(second) != 2 {
		t.Fatalf("pods %v, want the one that failed and its successor", second)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if names := k.names(); len(names) != 0 {
		t.Errorf("left behind: %v", names)
	}
}

// An error of the member's is no reason for another pod.
func TestRelayStaysWhenTheMemberDoesNot(t *testing.T) {
	k, _, options := startWith(t)
	free := etcdtest.FreeAddr(t)
	options.Place.Members = []string{free}
	r := start(t, options)
	if _, err := r.DialContext(t.Context(), Stream{Member: free, ALPN: HTTP2}); !errors.Is(err, ErrMember) {
		t.Errorf("got %v", err)
	}
	if names := k.names(); len(names) != 1 {
		t.Errorf("pods %v, want one", names)
	}
}

// Before its end a relay has a successor; the streams of the old one go on until then,
// and its pod goes.
func TestSuccessor(t *testing.T) {
	k, m, options := startWith(t)
	options.Lifetime = 8 * time.Second
	r := start(t, options)
	first := k.names()[0]
	conn := wantEchoThrough(t, r, m)
	eventually(t, "a successor", func() bool { return len(k.names()) == 2 })
	wantEcho(t, conn, "the old one's stream")
	wantEchoThrough(t, r, m)
	eventually(t, "the old pod has gone", func() bool {
		names := k.names()
		return len(names) >= 1 && names[0] != first && (len(names) == 1 || names[1] != first)
	})
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the old one's stream lives")
	}
	wantEchoThrough(t, r, m)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in 30 s: %s", what)
		}
	}
}

// What a start that fails has made, it takes away again, and the reason is told.
func TestStartFails(t *testing.T) {
	waiting := func(reason, message string) func(*corev1.Pod) bool {
		return func(pod *corev1.Pod) bool {
			pod.Status.Phase = corev1.PodPending
			pod.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{
				Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message},
			}}}
			return false
		}
	}
	for _, test := range []struct {
		name   string
		change func(*kube, *Options)
		text   string
	}{
		{"no right", func(k *kube, _ *Options) {
			k.refuse = func(r *http.Request) int {
				if r.Method == http.MethodPost {
					return http.StatusForbidden
				}
				return 0
			}
		}, "forbidden by the test"},
		{"no image", func(k *kube, _ *Options) { k.fate = waiting("ErrImageNeverPull", "not there") }, "ErrImageNeverPull: not there"},
		{"it crashes", func(k *kube, _ *Options) {
			k.fate = func(pod *corev1.Pod) bool {
				pod.Status.Phase = corev1.PodFailed
				pod.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{
					Terminated: &corev1.ContainerStateTerminated{Reason: "Error", Message: "error: no such file"},
				}}}
				return false
			}
		}, "no such file"},
		{"evicted", func(k *kube, _ *Options) {
			k.fate = func(pod *corev1.Pod) bool {
				pod.Status = corev1.PodStatus{Phase: corev1.PodFailed, Reason: "OutOfpods", Message: "node is full"}
				return false
			}
		}, "OutOfpods node is full"},
		{"a log without a key", func(k *kube, _ *Options) {
			k.log = func(string, string) string { return "error: unknown command\n" }
		}, "unknown command"},
		{"another pod in its place", func(k *kube, _ *Options) {
			k.log = func(name, line string) string {
				k.pods[name].UID = types.UID("another")
				return line
			}
		}, "UID another"},
		{"another node", func(k *kube, _ *Options) {
			k.log = func(name, line string) string {
				k.pods[name].Spec.NodeName = "node9"
				return line
			}
		}, "node9"},
		{"a folder instead of a file", func(_ *kube, o *Options) { o.Place.CA = "/etc/kubernetes/pki/etcd/" }, "no path of a file"},
		{"no member", func(_ *kube, o *Options) { o.Place.Members = nil }, "address is not known"},
	} {
		k, _, options := startWith(t)
		test.change(k, &options)
		r, err := Start(t.Context(), options)
		if r != nil || !errors.Is(err, ErrNotStarted) || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s: got %v, want … %s", test.name, err, test.text)
		}
		for _, name := range k.names() {
			if k.pods[name].UID != "another" {
				t.Errorf("%s: left behind: %s", test.name, name)
			}
		}
	}
}

func TestStartInterrupted(t *testing.T) {
	k, _, options := startWith(t)
	ctx, cancel := context.WithCancel(t.Context())
	k.fate = func(*corev1.Pod) bool { cancel(); return false }
	if _, err := Start(ctx, options); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if names := k.names(); len(names) != 0 {
		t.Errorf("left behind: %v", names)
	}
}

// A pod that is made while the run is interrupted is waited for, and taken away; also where
// the API server makes it or answers late, or does not know what became of it.
func TestStartInterruptedWhileThePodIsMade(t *testing.T) {
	at := func(code int) func(context.Context) int { return func(context.Context) int { return code } }
	for _, test := range []struct {
		name   string
		late   time.Duration // until it is made
		answer func(gone context.Context) int
	}{
		{"it is made late", 200 * time.Millisecond, at(0)},
		{"it answers late", 0, func(context.Context) int { time.Sleep(100 * time.Millisecond); return 0 }},
		{"it answers too late", 0, func(gone context.Context) int { <-gone.Done(); return 0 }},
		{"it does not know", 0, at(http.StatusGatewayTimeout)},
		{"it failed meanwhile", 0, at(http.StatusInternalServerError)},
		{"a try before made it", 0, at(http.StatusConflict)},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			k, _, options := startWith(t)
			ctx, cancel := context.WithCancel(t.Context())
			k.linger = 500 * time.Millisecond
			k.fate = func(*corev1.Pod) bool { return false }
			k.refuse = func(r *http.Request) int {
				if r.Method == http.MethodPost {
					cancel()
					time.Sleep(test.late)
				}
				return 0
			}
			k.created = test.answer
			if _, err := Start(ctx, options); err == nil || strings.Contains(err.Error(), "delete pod") {
				t.Errorf("got %v", err)
			}
			if names := k.names(); len(names) != 0 || len(k.deleted) != 1 {
				t.Errorf("left behind: %v, deleted: %v", names, k.deleted)
			}
		})
	}
}

// The sweep takes what has ended or should have, by the API server's clock, and nothing
// that may be somebody's living relay.
func TestSweep(t *testing.T) {
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	ours := map[string]string{nameLabel: podName, managedLabel: managedBy}
	pod := func(name string, phase corev1.PodPhase, age time.Duration, labels map[string]string) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "kube-system", Labels: labels, CreationTimestamp: metav1.NewTime(now.Add(-age))},
			Spec:       corev1.PodSpec{ActiveDeadlineSeconds: new(int64(3630))},
			Status:     corev1.PodStatus{Phase: phase},
		}
	}
	unbounded := pod("no-deadline", corev1.PodRunning, 24*time.Hour, ours)
	unbounded.Spec.ActiveDeadlineSeconds = nil
	k, _, options := startWith(t)
	k.clock = now
	for _, p := range []*corev1.Pod{
		pod("ended", corev1.PodSucceeded, time.Second, ours),
		pod("failed", corev1.PodFailed, time.Hour, ours),
		pod("overdue", corev1.PodRunning, 3630*time.Second+leeway+time.Second, ours),
		pod("overdue-pending", corev1.PodPending, 2*time.Hour, ours),
		pod("living", corev1.PodRunning, time.Minute, ours),
		pod("just-due", corev1.PodRunning, 3630*time.Second+leeway, ours),
		pod("starting", corev1.PodPending, time.Second, ours),
		unbounded,
		pod("somebody-else", corev1.PodSucceeded, 24*time.Hour, map[string]string{nameLabel: podName}),
	} {
		k.add(p)
	}
	r := start(t, options)
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []string{"just-due", "living", "no-deadline", "somebody-else", "starting"}
	if diff := cmp.Diff(want, k.names()); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

// Without the right to list pods there is no sweep, and the relay serves all the same.
func TestSweepForbidden(t *testing.T) {
	k, m, options := startWith(t)
	k.refuse = func(r *http.Request) int {
		if r.Method == http.MethodGet && r.URL.Query().Get("labelSelector") != "" {
			return http.StatusForbidden
		}
		return 0
	}
	wantEchoThrough(t, start(t, options), m)
}

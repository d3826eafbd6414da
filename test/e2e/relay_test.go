//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/relay"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/tunnel"
	"github.com/kubectl-etcd/kubectl-etcd/test/cluster"
)

const relayImageName = "kubectl-etcd.dev/kubectl-etcd:e2e"

// relayImage is the relay's image as "make image" builds it.
var relayImage = sync.OnceValues(func() (archive []byte, err error) {
	dir, err := os.MkdirTemp("", "kubectl-etcd-e2e-image-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a folder of the system's own
	binary, file := filepath.Join(dir, "kubectl-etcd"), filepath.Join(dir, "image.tar")
	build := exec.Command("go", "build", "-trimpath", "-o", binary, "../../cmd/kubectl-etcd")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the relay: %w: %s", err, out)
	}
	write := exec.Command("go", "run", ".", "-name", relayImageName, "-out", file, "linux/"+runtime.GOARCH+"="+binary)
	write.Dir = "../image"
	if out, err := write.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("write the image: %w: %s", err, out)
	}
	return os.ReadFile(file)
})

// withRelayImage are the clusters whose nodes have it.
var withRelayImage = map[*cluster.Cluster]bool{}

// loadRelayImage puts it on the nodes of the shared cluster, once.
func loadRelayImage(t *testing.T) {
	t.Helper()
	if withRelayImage[shared] {
		return
	}
	archive, err := relayImage()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(file, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := shared.LoadArchive(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	withRelayImage[shared] = true
}

// relayFlags are what a user without a certificate gives.
func relayFlags(t *testing.T) []string {
	t.Helper()
	loadRelayImage(t)
	return []string{"--relay", "--relay-image", relayImageName}
}

func runWithRelay(t *testing.T, args ...string) result {
	t.Helper()
	return run(t, append(args, relayFlags(t)...)...)
}

// relayPods are the relays' pods, "name phase" each.
func relayPods(t *testing.T) []string {
	t.Helper()
	return podsCalled(t, "kubectl-etcd-relay")
}

// podsCalled are the pods of ours of that name, "name phase" each.
func podsCalled(t *testing.T, name string) []string {
	t.Helper()
	out := kubectl(t, "get", "pods", "-n", "kube-system", "-l", "app.kubernetes.io/name="+name,
		"-o", `jsonpath={range .items[*]}{.metadata.name} {.status.phase}{"\n"}{end}`)
	return strings.Split(strings.TrimSpace(out), "\n")[:strings.Count(out, "\n")]
}

func wantNoRelays(t *testing.T) {
	t.Helper()
	if pods := relayPods(t); len(pods) > 0 {
		t.Errorf("left behind: %v", pods)
	}
}

// TestRelayServesWithoutACertificate: a snapshot, as good as any, and a status with
// latencies; nothing is left.
func TestRelayServesWithoutACertificate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "snapshot.db")
	got := runWithRelay(t, "backup", "-f", path, "-o", "json")
	got.wantExit(t, 0)
	wantNoRelays(t)
	var report backupReport
	got.decode(t, &report)
	live, err := member(t, "etcd-node0").HashKV(t.Context(), report.Contents.Revision)
	if err != nil {
		t.Fatal(err)
	}
	if live.Hash != report.Contents.HashKV {
		t.Errorf("HashKV at %d: the report says %d, the live member %d", report.Contents.Revision, report.Contents.HashKV, live.Hash)
	}

	status := runWithRelay(t, "status", "-o", "json")
	status.wantExit(t, 0)
	var list statusList
	status.decode(t, &list)
	for _, m := range list.Items[0].Members {
		if m.Status == nil || m.Status.Latency <= 0 {
			t.Errorf("%s: %+v", m.Pod, m.Status)
		}
	}
	if way := list.Items[0].Way; way != "relay" {
		t.Errorf("the way is %s", way)
	}
	wantNoRelays(t)
}

func TestRelayIsNamedWhereItWouldHelp(t *testing.T) {
	got := run(t, "backup", "-f", filepath.Join(t.TempDir(), "s.db"))
	got.wantExit(t, 1)
	got.wantStderr(t, "wants a client certificate", "--relay")
	wantNoRelays(t)
	run(t, "backup", "--relay").wantExit(t, 2)
	missing := run(t, "status", "--relay", "--relay-image", "kubectl-etcd.invalid/none:1")
	missing.wantExit(t, 1)
	missing.wantStderr(t, "the relay did not start", "ImagePullBackOff", "hint:")
	wantNoRelays(t)
}

// TestRelayIsAskedForAtATerminal: a no creates nothing, a yes gives the snapshot.
func TestRelayIsAskedForAtATerminal(t *testing.T) {
	image := relayFlags(t)[1:]
	for answer, code := range map[string]int{"n": 1, "y": 0} {
		path := filepath.Join(t.TempDir(), "s.db")
		line := strings.Join(append([]string{plugin, "backup", "-f", path}, image...), " ")
		c := exec.Command("script", "--quiet", "--return", "--command", line, "/dev/null")
		c.Env = append(cleanEnv(), "KUBECONFIG="+shared.Kubeconfig(), "TERM=xterm")
		c.Stdin = strings.NewReader(answer + "\n")
		got := finish(t, c, []string{"backup, answered with", answer})
		got.wantExit(t, code)
		got.wantStdout(t, "wants a client certificate", "node0, node1, node2", "healthcheck-client.key", "Start them? [y/N]")
		if _, err := os.Stat(path); (err == nil) != (code == 0) {
			t.Errorf("answered with %s: the file: %v", answer, err)
		}
		wantNoRelays(t)
	}
}

// TestRelayInterrupted: Ctrl-C half-way takes the pods with it.
func TestRelayInterrupted(t *testing.T) {
	fill(t, 64)
	held := hold(t, relayFlags(t)...)
	held.signal(t, os.Interrupt)
	held.goOn(t).wantExit(t, 130)
	held.wantNothing(t)
	wantNoRelays(t)
}

// TestPodsOutliveNoKill: a minute after kill -9 of their callers no relay and no helper runs,
// and the next run takes away what is left.
func TestPodsOutliveNoKill(t *testing.T) {
	fill(t, 64)
	held := hold(t, relayFlags(t)...)
	held.signal(t, os.Kill)
	held.wait()
	killed := time.Now()
	if pods := relayPods(t); len(pods) != 3 {
		t.Errorf("after kill -9: %v, want three pods", pods)
	}
	signalHelper(t, os.Kill)
	helperKilled := time.Now()
	wantEnded(t, "relay", relayPods, killed, time.Minute)
	wantEnded(t, "helper", helperPods, helperKilled, 75*time.Second) // 60 s, and what the kubelet takes

	runWithRelay(t, "status").wantExit(t, 0)
	run(t, "status", "--helper").wantExit(t, 0)
	eventually(t, time.Minute, "nothing is left", func() error {
		if pods := append(relayPods(t), helperPods(t)...); len(pods) > 0 {
			return fmt.Errorf("%v", pods)
		}
		return nil
	})
}

// wantEnded waits until none of the pods runs, which may take limit since the kill.
func wantEnded(t *testing.T, what string, list func(*testing.T) []string, killed time.Time, limit time.Duration) {
	t.Helper()
	eventually(t, 2*time.Minute, "no "+what+" runs", func() error {
		if pods := strings.Join(list(t), ", "); strings.Contains(pods, "Running") || strings.Contains(pods, "Pending") {
			return errors.New(pods)
		}
		return nil
	})
	if after := time.Since(killed); after > limit {
		t.Errorf("the last %s ended only after %s", what, after)
	} else {
		t.Logf("the last %s ended after %s", what, after)
	}
}

// TestRelaySparesOthers: another caller's relays live through the runs of this one.
func TestRelaySparesOthers(t *testing.T) {
	other := pluginCommand([]string{"KUBECONFIG=" + shared.Kubeconfig()}, append([]string{"status", "--watch", "-o", "json"}, relayFlags(t)...)...)
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	before := relayPods(t)
	for range 2 {
		runWithRelay(t, "status").wantExit(t, 0)
	}
	if after := relayPods(t); len(before) != 3 || strings.Join(before, " ") != strings.Join(after, " ") {
		t.Errorf("the other caller's relays were %v, and are %v", before, after)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	_ = other.Process.Signal(os.Interrupt)
	_ = other.Wait() // 130
	wantNoRelays(t)
}

// startRelay starts a relay on a node, through the product's own tunnel.
func startRelay(t *testing.T, node string, lifetime time.Duration) (*relay.Relay, relay.Options) {
	t.Helper()
	relayFlags(t) // the image
	config, err := clientcmd.BuildConfigFromFlags("", shared.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	dialer, err := tunnel.New(config, tunnel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	client, err := shared.Client()
	if err != nil {
		t.Fatal(err)
	}
	pki := "/etc/kubernetes/pki/etcd/"
	options := relay.Options{
		Place: relay.Place{
			Namespace: "kube-system", Node: node,
			CA: pki + "ca.crt", Cert: pki + "healthcheck-client.crt", Key: pki + "healthcheck-client.key",
		},
		Image: relayImageName, Client: client, Lifetime: lifetime,
		Dial: func(ctx context.Context, namespace, pod string, port int) (net.Conn, error) {
			return dialer.DialContext(ctx, tunnel.Pod{Namespace: namespace, Name: pod}, port)
		},
	}
	for _, n := range shared.Nodes() {
		options.Place.Peers = append(options.Place.Peers, n.IP+":2380")
		if n.Name == node {
			options.Place.Members = []string{n.IP + ":2379"}
		}
	}
	r, err := relay.Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil && !errors.Is(err, relay.ErrClosed) {
			t.Error(err)
		}
	})
	return r, options
}

// behind is a client of the member that a relay is beside.
func behind(t *testing.T, r *relay.Relay, options relay.Options) *etcd.Client {
	t.Helper()
	client, _ := countedBehind(t, r, options)
	return client
}

// countedBehind also counts the client's streams.
func countedBehind(t *testing.T, r *relay.Relay, options relay.Options) (*etcd.Client, *atomic.Int32) {
	t.Helper()
	stream, streams := relay.Stream{Member: options.Place.Members[0], ALPN: relay.HTTP2}, &atomic.Int32{}
	client, err := etcd.Open(etcd.Endpoint{
		Name: options.Place.Node, URL: "http://" + stream.Member,
		Dial: func(ctx context.Context) (net.Conn, error) {
			conn, err := r.DialContext(ctx, stream)
			if err == nil {
				streams.Add(1)
			}
			return conn, err
		},
	}, etcd.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client, streams
}

// TestRelayStalledSnapshot: a snapshot that nobody reads delays no status.
func TestRelayStalledSnapshot(t *testing.T) {
	fill(t, 64)
	r, options := startRelay(t, "node0", 0)
	stalled, err := behind(t, r, options).Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stalled.Close()
	if _, err := io.ReadFull(stalled, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	other := behind(t, r, options)
	var slowest time.Duration
	for range 50 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		status, err := other.Status(ctx)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		slowest = max(slowest, status.Latency)
	}
	t.Logf("the slowest of 50 took %s", slowest)
	wantSameHash(t, other, member(t, "etcd-node0"))
	if n, err := io.Copy(io.Discard, stalled); err != nil || n < 60<<20 {
		t.Errorf("the rest of the snapshot: %d bytes, %v", n, err)
	}
}

// wantSameHash: both ways lead to the same member's data.
func wantSameHash(t *testing.T, one, other *etcd.Client) {
	t.Helper()
	status, err := one.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	a, err := one.HashKV(t.Context(), status.Revision)
	if err != nil {
		t.Fatal(err)
	}
	b, err := other.HashKV(t.Context(), status.Revision)
	if err != nil || a.Hash != b.Hash || a.MemberID != b.MemberID {
		t.Errorf("HashKV at %d: %+v and %+v, %v", status.Revision, a, b, err)
	}
}

// TestRelayMeasuresDistances: a connect to every peer, the leader or not.
func TestRelayMeasuresDistances(t *testing.T) {
	r, options := startRelay(t, "node1", 0)
	for _, peer := range options.Place.Peers {
		took, err := r.Connects(t.Context(), peer, 30)
		if err != nil || len(took) != 30 {
			t.Fatalf("%s: %v, %v", peer, took, err)
		}
		t.Logf("node1 to %s: %v", peer, took[:3])
	}
}

// TestRelayKnowsItsCaller: whoever may port-forward, and has the caller's arguments and
// the relay's log before them, gets nothing; and a relay of somebody else's is refused.
func TestRelayKnowsItsCaller(t *testing.T) {
	_, options := startRelay(t, "node0", 0)
	name, _, _ := strings.Cut(relayPods(t)[0], " ")
	log := strings.TrimSpace(kubectl(t, "logs", "-n", "kube-system", name))
	_, text, ok := strings.Cut(log, " key ")
	pin, err := relay.ParsePin(text)
	if err != nil || !ok || strings.Contains(log, "\n") {
		t.Fatalf("the log is %q: %v", log, err)
	}
	dial := func(ctx context.Context) (net.Conn, error) { return options.Dial(ctx, "kube-system", name, relay.Port) }
	stranger := relay.Caller{Dial: dial, Key: newRelayKey(t), Relay: pin}
	stream := relay.Stream{Member: options.Place.Members[0], ALPN: relay.HTTP2}
	if _, err := stranger.DialContext(t.Context(), stream); !errors.Is(err, relay.ErrForeign) {
		t.Errorf("with another key: %v", err)
	}
	if _, err := stranger.Connects(t.Context(), options.Place.Peers[1], 1); !errors.Is(err, relay.ErrForeign) {
		t.Errorf("with another key: %v", err)
	}
	plain, err := dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	_, _ = io.WriteString(plain, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	_ = plain.SetReadDeadline(time.Now().Add(20 * time.Second))
	if got, _ := io.ReadAll(plain); len(got) > 7 { // a TLS alert
		t.Errorf("in plain text: %q", got)
	}

	// The pin of a run that is not this relay's.
	foreign := relay.Caller{Dial: dial, Key: newRelayKey(t), Relay: newRelayKey(t).Pin()}
	if _, err := foreign.DialContext(t.Context(), stream); !errors.Is(err, relay.ErrForeign) {
		t.Errorf("a foreign relay: %v", err)
	}
}

func newRelayKey(t *testing.T) *relay.Key {
	t.Helper()
	key, err := relay.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

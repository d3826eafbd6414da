//go:build unix

package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/kubectl-etcd/kubectl-etcd/test/cluster"
	"github.com/kubectl-etcd/kubectl-etcd/test/cluster/binaries"
)

// sample is one snapshot of one contestant.
type sample struct {
	bytes int64
	wall  time.Duration
	cpu   time.Duration // user and system time of the contestant's own processes
}

func (s sample) rate() float64 { return float64(s.bytes) / 1e6 / s.wall.Seconds() }

// benchSnapshot takes snapshots of one member through the API server in turns: by the
// plugin, and by etcdctl over kubectl port-forward. The plugin's work holds more: it
// checks the sha256, counts keys and computes two hashes.
func benchSnapshot(ctx context.Context, c *cluster.Cluster, plugin string, mib, rounds int) error {
	kubernetes, err := binaries.Ensure(ctx, os.Stderr, binaries.Kubernetes)
	if err != nil {
		return err
	}
	b := bench{cluster: c, plugin: plugin, etcdctl: filepath.Join(kubernetes, "etcdctl")}
	if err := b.fill(ctx, mib); err != nil {
		return err
	}
	contestants := []struct {
		name string
		take func(context.Context, string) (time.Duration, error)
		got  []sample
	}{{name: "kubectl etcd backup -f", take: b.byPlugin}, {name: "kubectl port-forward + etcdctl snapshot save", take: b.byEtcdctl}}
	for round := range rounds {
		for i := range contestants {
			s, err := measure(ctx, contestants[i].take)
			if err != nil {
				return fmt.Errorf("%s: %w", contestants[i].name, err)
			}
			if _, err := fmt.Fprintf(os.Stdout, "round %d  %-45s %6.1f MB/s  %5.2f CPU-s  %d bytes\n", round+1, contestants[i].name, s.rate(), s.cpu.Seconds(), s.bytes); err != nil {
				return err
			}
			contestants[i].got = append(contestants[i].got, s)
		}
	}
	ours, theirs := contestants[0].got, contestants[1].got
	_, err = fmt.Fprintf(os.Stdout, "\nmedian of %d: %.2f times the MB/s, %.2f times the CPU-seconds of %s\n", rounds,
		medianOf(ours, sample.rate)/medianOf(theirs, sample.rate),
		medianOf(ours, sample.cpuSeconds)/medianOf(theirs, sample.cpuSeconds), contestants[1].name)
	return err
}

func (s sample) cpuSeconds() float64 { return s.cpu.Seconds() }

func medianOf[S any](samples []S, of func(S) float64) float64 {
	var values []float64
	for _, s := range samples {
		values = append(values, of(s))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func measure(ctx context.Context, take func(context.Context, string) (time.Duration, error)) (sample, error) {
	dir, err := os.MkdirTemp("", "kubectl-etcd-bench-")
	if err != nil {
		return sample{}, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a folder of the system's own
	path := filepath.Join(dir, "snapshot.db")
	begin := time.Now()
	cpu, err := take(ctx, path)
	if err != nil {
		return sample{}, err
	}
	s := sample{wall: time.Since(begin), cpu: cpu}
	info, err := os.Stat(path)
	if err != nil {
		return sample{}, err
	}
	s.bytes = info.Size()
	return s, nil
}

type bench struct {
	cluster *cluster.Cluster
	plugin  string
	etcdctl string
}

func (b bench) certs(flags ...string) []string {
	dir := b.cluster.Certs()
	return append(flags, "--cacert", filepath.Join(dir, "ca.crt"), "--cert", filepath.Join(dir, "client.crt"), "--key", filepath.Join(dir, "client.key"))
}

func (b bench) byPlugin(ctx context.Context, path string) (time.Duration, error) {
	c := exec.CommandContext(ctx, b.plugin, b.certs("backup", "-f", path, "--kubeconfig", b.cluster.Kubeconfig())...)
	return cpuOf(c)
}

// byEtcdctl counts from kubectl's start: a port-forward is part of the job.
func (b bench) byEtcdctl(ctx context.Context, path string) (time.Duration, error) {
	forward, address, err := b.forward(ctx)
	if err != nil {
		return 0, err
	}
	c := exec.CommandContext(ctx, b.etcdctl, b.certs("--endpoints", address, "snapshot", "save", path)...)
	cpu, err := cpuOf(c)
	_ = forward.Process.Signal(os.Interrupt)
	_ = forward.Wait() // it was interrupted: its error says only that
	return cpu + forward.ProcessState.UserTime() + forward.ProcessState.SystemTime(), err
}

// forward starts kubectl port-forward and returns when it listens.
func (b bench) forward(ctx context.Context) (*exec.Cmd, string, error) {
	c := exec.CommandContext(ctx, "kubectl", "--kubeconfig", b.cluster.Kubeconfig(), "-n", "kube-system", "port-forward", "pod/etcd-node0", ":2379")
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	if err := c.Start(); err != nil {
		return nil, "", err
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), "Forwarding from "); ok {
			address, _, _ := strings.Cut(rest, " ")
			return c, "https://" + address, nil
		}
	}
	return nil, "", fmt.Errorf("kubectl port-forward ended: %w", c.Wait())
}

func cpuOf(c *exec.Cmd) (time.Duration, error) {
	out, err := c.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("%s: %w: %s", filepath.Base(c.Path), err, out)
	}
	return c.ProcessState.UserTime() + c.ProcessState.SystemTime(), nil
}

// fill writes mib MiB outside of Kubernetes' own keys.
func (b bench) fill(ctx context.Context, mib int) error {
	forward, address, err := b.forward(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = forward.Process.Signal(os.Interrupt); _ = forward.Wait() }()
	tls, err := clientTLS(b.cluster.Certs())
	if err != nil {
		return err
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{address}, TLS: tls})
	if err != nil {
		return err
	}
	defer client.Close() //nolint:errcheck // nothing more is asked of it
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for i := range mib * 4 {
		group.Go(func() error {
			value := make([]byte, 256<<10)
			_, _ = rand.Read(value) // never fails
			_, err := client.Put(ctx, fmt.Sprintf("/bench/%06d", i), string(value))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("fill: %w", err)
	}
	return nil
}

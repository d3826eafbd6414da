//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/relay"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/tunnel"
	"github.com/kubectl-etcd/kubectl-etcd/test/cluster"
	"github.com/kubectl-etcd/kubectl-etcd/test/cluster/image"
)

const (
	benchImage = "kubectl-etcd.dev/kubectl-etcd:bench"
	// slowLink is a link that a person at home may have.
	slowLink = "100mbit"
)

// relayBench measures snapshots of one member through the API server, inside this
// process: through the raw tunnel, and through a relay.
type relayBench struct {
	node   *cluster.Node
	kube   kubernetes.Interface
	direct *etcd.Client
	relay  *etcd.Client
}

// flow is one snapshot's.
type flow struct {
	bytes, wire int64 // of the snapshot, and out of the node
	wall        time.Duration
}

func (f flow) rate() float64 { return float64(f.bytes) / 1e6 / f.wall.Seconds() }

// benchRelay compares a relay with the raw tunnel on a database of Kubernetes objects: on
// the link as it is, then on a slow one.
func benchRelay(ctx context.Context, c *cluster.Cluster, plugin string, mib, rounds int) (err error) {
	b := relayBench{node: c.Nodes()[0]}
	stop, err := b.open(ctx, c, plugin)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := b.fillObjects(ctx, mib); err != nil {
		return err
	}
	if err := b.compare(ctx, "link as it is", rounds); err != nil {
		return err
	}
	if err := b.node.Throttle(ctx, slowLink); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.node.Unthrottle(context.WithoutCancel(ctx))) }()
	return b.compare(ctx, "link of "+slowLink+"/s", min(rounds, 3))
}

// open makes both clients; stop takes the relay away.
func (b *relayBench) open(ctx context.Context, c *cluster.Cluster, plugin string) (stop func() error, err error) {
	im := image.Image{Ref: benchImage, Files: []image.File{{Source: plugin, Path: "/kubectl-etcd"}}, Entrypoint: []string{"/kubectl-etcd"}}
	if err := c.LoadImage(ctx, im); err != nil {
		return nil, err
	}
	if b.kube, err = c.Client(); err != nil {
		return nil, err
	}
	config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig())
	if err != nil {
		return nil, err
	}
	dialer, err := tunnel.New(config, tunnel.Options{})
	if err != nil {
		return nil, err
	}
	if err := b.openDirect(c, dialer); err != nil {
		return nil, err
	}
	return b.openRelay(ctx, dialer)
}

func (b *relayBench) openDirect(c *cluster.Cluster, dialer *tunnel.Dialer) error {
	config, err := clientTLS(c.Certs())
	if err != nil {
		return err
	}
	pod := tunnel.Pod{Namespace: "kube-system", Name: "etcd-" + b.node.Name}
	b.direct, err = etcd.Open(etcd.Endpoint{
		Name: pod.Name, URL: "https://127.0.0.1:2379", ServerName: "localhost",
		Dial: func(ctx context.Context) (net.Conn, error) { return dialer.DialContext(ctx, pod, 2379) },
	}, etcd.Options{TLS: config})
	return err
}

func clientTLS(dir string) (*tls.Config, error) {
	return transport.TLSInfo{
		TrustedCAFile: filepath.Join(dir, "ca.crt"), CertFile: filepath.Join(dir, "client.crt"), KeyFile: filepath.Join(dir, "client.key"),
	}.ClientConfig()
}

func (b *relayBench) openRelay(ctx context.Context, dialer *tunnel.Dialer) (stop func() error, err error) {
	pki, address := "/etc/kubernetes/pki/etcd/", b.node.IP+":2379"
	began := time.Now()
	r, err := relay.Start(ctx, relay.Options{
		Place: relay.Place{
			Namespace: "kube-system", Node: b.node.Name, Members: []string{address},
			CA: pki + "ca.crt", Cert: pki + "healthcheck-client.crt", Key: pki + "healthcheck-client.key",
		},
		Image: benchImage, Client: b.kube,
		Dial: func(ctx context.Context, namespace, pod string, port int) (net.Conn, error) {
			return dialer.DialContext(ctx, tunnel.Pod{Namespace: namespace, Name: pod}, port)
		},
	})
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(os.Stdout, "relay started in %s\n", time.Since(began).Round(time.Millisecond)); err != nil {
		return nil, errors.Join(err, r.Close(ctx))
	}
	b.relay, err = etcd.Open(etcd.Endpoint{
		Name: "relay", URL: "http://" + address,
		Dial: func(ctx context.Context) (net.Conn, error) {
			return r.DialContext(ctx, relay.Stream{Member: address, ALPN: relay.HTTP2})
		},
	}, etcd.Options{})
	if err != nil {
		return nil, errors.Join(err, r.Close(ctx))
	}
	return func() error { return errors.Join(b.direct.Close(), b.relay.Close(), r.Close(ctx)) }, nil
}

func (b *relayBench) compare(ctx context.Context, link string, rounds int) error {
	var raw, relayed []flow
	for round := range rounds {
		for _, contestant := range []struct {
			name   string
			client *etcd.Client
			got    *[]flow
		}{{"raw tunnel", b.direct, &raw}, {"relay", b.relay, &relayed}} {
			f, err := b.snapshot(ctx, contestant.client)
			if err != nil {
				return fmt.Errorf("%s: %w", contestant.name, err)
			}
			_, err = fmt.Fprintf(os.Stdout, "round %d  %-22s %-12s %6.1f MB/s  %d bytes, %d out of the node\n", round+1, link, contestant.name, f.rate(), f.bytes, f.wire)
			if err != nil {
				return err
			}
			*contestant.got = append(*contestant.got, f)
		}
	}
	perByte := func(f flow) float64 { return float64(f.wire) / float64(f.bytes) }
	_, err := fmt.Fprintf(os.Stdout, "%s, median of %d: relay %.2f times the MB/s of the raw tunnel, with 1/%.1f of the bytes\n\n", link, rounds,
		medianOf(relayed, flow.rate)/medianOf(raw, flow.rate), medianOf(raw, perByte)/medianOf(relayed, perByte))
	return err
}

func (b *relayBench) snapshot(ctx context.Context, client *etcd.Client) (f flow, err error) {
	before, err := b.sent(ctx)
	if err != nil {
		return f, err
	}
	began := time.Now()
	stream, err := client.Snapshot(ctx)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, stream.Close()) }()
	if f.bytes, err = io.Copy(io.Discard, stream); err != nil {
		return f, err
	}
	f.wall = time.Since(began)
	after, err := b.sent(ctx)
	f.wire = after - before
	return f, err
}

// sent is how many bytes have left the node: with one node, that is what the API server
// sends.
func (b *relayBench) sent(ctx context.Context) (int64, error) {
	out, err := b.node.Run(ctx, "cat /proc/net/dev")
	if err != nil {
		return 0, err
	}
	for lines := bufio.NewScanner(strings.NewReader(out)); lines.Scan(); {
		name, counters, _ := strings.Cut(lines.Text(), ":")
		if fields := strings.Fields(counters); strings.TrimSpace(name) == "eth0" && len(fields) > 8 {
			return strconv.ParseInt(fields[8], 10, 64) // proc_net_dev(5): bytes transmitted
		}
	}
	return 0, errors.New("the node has no eth0")
}

// secretEvery is how many objects there are to one Secret, which does not compress.
const secretEvery = 5

// fillObjects writes mib MiB of objects outside of Kubernetes' keys: pods like the
// cluster's own, of which all differs that tells one from another, and Secrets.
func (b *relayBench) fillObjects(ctx context.Context, mib int) error {
	list, err := b.kube.CoreV1().Pods("kube-system").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	encode := protobuf.NewSerializer(scheme.Scheme, scheme.Scheme)
	random := rand.New(rand.NewPCG(1, 2))
	var ops []clientv3.Op
	for written, i := 0, 0; written < mib<<20; i++ {
		var object bytes.Buffer
		if err := encode.Encode(newObject(&list.Items[i%len(list.Items)], i, random), &object); err != nil {
			return err
		}
		written += object.Len()
		ops = append(ops, clientv3.OpPut(fmt.Sprintf("/bench/objects/%08d", i), object.String()))
		if len(ops) < 50 && written < mib<<20 {
			continue
		}
		if _, err := b.direct.Raw().Txn(ctx).Then(ops...).Commit(); err != nil {
			return fmt.Errorf("fill: %w", err)
		}
		ops = nil
	}
	return nil
}

// newObject is the i-th object: a Secret of 4 KiB, or a pod like the given one.
func newObject(like *corev1.Pod, i int, r *rand.Rand) runtime.Object {
	if i%secretEvery == 0 {
		data := make([]byte, 4<<10)
		for at := range data {
			data[at] = byte(r.Uint32())
		}
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("secret-%d", i)}, Data: map[string][]byte{"release": data}}
		secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
		return secret
	}
	pod := like.DeepCopy()
	pod.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Pod"))
	individualize(pod, r)
	return pod
}

func individualize(pod *corev1.Pod, r *rand.Rand) {
	hex := func(digits int) string {
		var s strings.Builder
		for s.Len() < digits {
			fmt.Fprintf(&s, "%016x", r.Uint64())
		}
		return s.String()[:digits]
	}
	ip := func() string { return fmt.Sprintf("10.%d.%d.%d", r.IntN(256), r.IntN(256), r.IntN(256)) }
	at := func() metav1.Time { return metav1.Unix(1.7e9+r.Int64N(1e8), 0) }
	pod.Name, pod.UID = pod.Name+"-"+hex(10), types.UID(hex(8)+"-"+hex(4)+"-"+hex(4)+"-"+hex(12))
	pod.ResourceVersion, pod.CreationTimestamp = "", at()
	pod.Spec.NodeName = "node" + hex(4)
	pod.Status.PodIP, pod.Status.HostIP, pod.Status.StartTime = ip(), ip(), new(at())
	pod.Status.PodIPs, pod.Status.HostIPs = []corev1.PodIP{{IP: pod.Status.PodIP}}, []corev1.HostIP{{IP: pod.Status.HostIP}}
	for i := range pod.Status.Conditions {
		pod.Status.Conditions[i].LastTransitionTime = at()
	}
	for i := range pod.Status.ContainerStatuses {
		pod.Status.ContainerStatuses[i].ContainerID = "containerd://" + hex(64)
	}
	for i := range pod.Spec.Containers {
		pod.Spec.Containers[i].Env = append(pod.Spec.Containers[i].Env, corev1.EnvVar{Name: "TOKEN", Value: hex(32)})
	}
	for i := range pod.ManagedFields {
		pod.ManagedFields[i].Time = new(at())
	}
}

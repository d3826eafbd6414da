package cmd

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/url"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/discover"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/health"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/tunnel"
)

// sources are the ways to what health looks at.
func (o *healthOptions) sources(r *reach) health.Sources {
	s := health.Sources{
		Timeout: o.timeout, Sample: o.sample, Deep: o.deep, Now: o.now,
		WithoutKubernetes: "etcd was reached without Kubernetes",
		Archive:           func(ctx context.Context) health.Fact[health.Archive] { return o.archived(ctx, o.session, r) },
	}
	s.Members = r.memberSources()
	if r.kube != nil {
		k := &kubeHealth{kubeTarget: r.kube, reach: r, deep: o.deep, timeout: o.timeout}
		s.Kubernetes = k.look
	}
	return s
}

// memberSources are the ways to the members.
func (r *reach) memberSources() []health.Source {
	list := make([]health.Source, len(r.sources))
	for i := range list {
		list[i] = r.memberSource(i)
	}
	return list
}

// memberSource is the way to one member: its client, and what its pod is known to be.
func (r *reach) memberSource(i int) health.Source {
	source := health.Source{
		Source: r.sources[i], Client: r.clients[i], Flags: discover.EtcdFlags,
		Spec:             health.Unknown[map[string]string]("its pod is not known"),
		PeerCertificates: func(ctx context.Context) health.Fact[[]etcd.Certificate] { return r.peekPeers(ctx, i) },
	}
	pod := r.podOf(i)
	if pod == nil {
		return source
	}
	source.Spec, source.Written = specOf(pod.Settings), writtenIn(pod.Settings)
	if r.kube == nil { // a manifest does not tell how the pod runs
		return source
	}
	source.Pod = healthPod(*pod)
	if pod.MetricsPort > 0 {
		id := tunnel.Pod{Namespace: pod.Namespace, Name: pod.Name}
		source.Pages = func(ctx context.Context, path string) (etcd.Page, error) {
			return etcd.PageAt(ctx, func(ctx context.Context) (net.Conn, error) {
				return r.kube.dialer.DialContext(ctx, id, pod.MetricsPort)
			}, path)
		}
	}
	return source
}

// podOf is the pod of source i, as the API server or, of the own member, the node's disk has
// it; nil: it is not known.
func (r *reach) podOf(i int) *discover.Pod {
	switch {
	case r.own != nil && i == 0:
		return &r.cluster.Pods[0]
	case r.kube != nil && i < len(r.cluster.Pods) && r.cluster.Pods[i].Name == r.sources[i].Pod:
		return &r.cluster.Pods[i]
	}
	return nil
}

func healthPod(pod discover.Pod) *health.Pod {
	return &health.Pod{
		Name: pod.Name, Node: pod.Node, Zone: pod.Zone, NodeReady: pod.NodeReady, Ready: pod.Ready,
		Started: pod.Started, Restarts: pod.Restarts, LastEnd: pod.LastEnd, LastReason: pod.LastReason,
		PriorityClass: pod.PriorityClass, CPURequest: pod.CPURequest, MemoryLimit: pod.MemoryLimit, NodeMemory: pod.NodeMemory,
	}
}

// specOf are the settings that a pod's spec tells. What stands in a file on the node's disk
// it does not.
func specOf(settings discover.Settings) health.Fact[map[string]string] {
	values := map[string]string{}
	for name, setting := range settings {
		values[name] = setting.Value
	}
	if file, ok := settings["config-file"]; ok && len(settings) == 1 {
		return health.Unknown[map[string]string]("they are in " + file.Value + " on its node")
	}
	return health.Known(values)
}

// writtenIn are those that are etcd's own flags in the pod's spec, not a script's.
func writtenIn(settings discover.Settings) map[string]string {
	flags := map[string]string{}
	for name, setting := range settings {
		if setting.From == discover.FromFlag {
			flags[name] = setting.Value
		}
	}
	return flags
}

// peekPeers looks at the certificate of a member's peer port, where that is reached: a
// tunnel ends at the node's loopback, where kubeadm's peers do not listen.
func (r *reach) peekPeers(ctx context.Context, i int) health.Fact[[]etcd.Certificate] {
	unknown := health.Unknown[[]etcd.Certificate]
	if r.way != wayDirect && r.way != wayNode {
		return unknown("no tunnel leads to its peer port")
	}
	urls := r.sources[i].Peers
	if len(urls) == 0 && r.sources[i].Reader != nil {
		urls = peersOf(ctx, r.sources[i].Reader)
	}
	var shown []etcd.Certificate
	for _, text := range urls {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "https" {
			continue
		}
		certificate, err := peek(ctx, u.Host)
		if err != nil {
			return unknown(etcd.Shorten(err))
		}
		shown = append(shown, certificate)
	}
	if len(shown) == 0 {
		return unknown("it has no peer URL with TLS")
	}
	return health.Known(shown)
}

func peek(ctx context.Context, address string) (etcd.Certificate, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return etcd.Certificate{}, err
	}
	certificate, err := etcd.PeekCertificate(ctx, conn)
	return certificate, errors.Join(err, ignoreClosed(conn.Close()))
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// peersOf are the peer URLs of the member that reader reaches.
func peersOf(ctx context.Context, reader etcd.Reader) []string {
	status, err := reader.Status(ctx)
	if err != nil {
		return nil
	}
	members, err := reader.Members(ctx)
	if err != nil {
		return nil
	}
	for _, m := range members {
		if m.ID == status.MemberID {
			return m.PeerURLs
		}
	}
	return nil
}

// archived is what the archive has of a cluster.
func (f *archiveFlags) archived(ctx context.Context, s *session, r *reach) health.Fact[health.Archive] {
	unknown := health.Unknown[health.Archive]
	if f.location == "" {
		return unknown("no --archive was given")
	}
	quiet := *s
	quiet.ErrOut = &bytes.Buffer{} // whose archive it is stands in the check
	etcdName := r.cluster.Name
	if r.way == wayDirect {
		etcdName = "" // the name is an address there
	}
	a, closeArchive, err := f.read(ctx, &quiet, etcdName, store.Keys{})
	if err != nil {
		return unknown(etcd.Shorten(err))
	}
	defer func() { _ = closeArchive() }() // it was only read
	found, err := newestOf(ctx, a)
	if err != nil {
		return unknown(etcd.Shorten(err))
	}
	return health.Known(found)
}

// newestOf is the newest that any of the archive's timelines has.
func newestOf(ctx context.Context, a *store.Archive) (health.Archive, error) {
	found := health.Archive{Location: a.Location()}
	timelines, err := a.Timelines(ctx)
	if err != nil {
		return found, err
	}
	for _, t := range timelines {
		h, err := readHistory(ctx, a, t)
		if err != nil {
			return found, err
		}
		found.LastCapture = latest(found.LastCapture, h.LastTime)
		if n := len(h.Bases); n > 0 {
			found.LastBase = latest(found.LastBase, h.Bases[n-1].Time)
		}
		if h.Verified != nil && h.Verified.Faults == 0 {
			found.LastVerify = latest(found.LastVerify, h.Verified.At)
		}
	}
	return found, nil
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

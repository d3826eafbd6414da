package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/discover"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/relay"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/runbook"
)

const (
	onNodeHint = "on a control plane node, as root, nothing but its disk is needed: kubectl etcd status --on-node"
	asRootHint = "only root may read that: sudo kubectl-etcd status --on-node"
)

// nodeReaders reaches every cluster that is meant and that this node has a member of.
func (t *target) nodeReaders(ctx context.Context) ([]*reach, error) {
	local, err := t.readNode()
	if err != nil {
		return nil, err
	}
	var reached []*reach
	for _, cluster := range local.Clusters {
		r, err := t.onNodeOf(ctx, local, cluster)
		switch {
		case err != nil && len(local.Clusters) == 1:
			return nil, err
		case err != nil: // it hides no other cluster
			r = unreachedCluster(cluster.Cluster, err)
		}
		reached = append(reached, r)
	}
	return reached, nil
}

// nodeOne reaches exactly one.
func (t *target) nodeOne(ctx context.Context) (*reach, error) {
	local, err := t.readNode()
	if err != nil {
		return nil, err
	}
	if len(local.Clusters) > 1 {
		return nil, errSeveral(nodeClusters(local))
	}
	return t.onNodeOf(ctx, local, local.Clusters[0])
}

// readNode reads the node's disk and keeps what --etcd names.
func (t *target) readNode() (*discover.Local, error) {
	local, err := discover.ReadNode(t.nodeRoot)
	if errors.Is(err, fs.ErrPermission) {
		return nil, withHint(err, asRootHint)
	}
	if err != nil {
		return nil, err
	}
	chosen, err := choose(nodeClusters(local), t.name)
	if err != nil {
		return nil, err
	}
	local.Clusters = slices.DeleteFunc(local.Clusters, func(c discover.LocalCluster) bool {
		return !slices.ContainsFunc(chosen, func(kept discover.Cluster) bool {
			return kept.Namespace == c.Namespace && kept.Name == c.Name
		})
	})
	return local, nil
}

func nodeClusters(local *discover.Local) []discover.Cluster {
	clusters := make([]discover.Cluster, len(local.Clusters))
	for i, c := range local.Clusters {
		clusters[i] = c.Cluster
	}
	return clusters
}

// onNodeOf reaches the node's own member, and the others as any member lists them. When
// none answers they are those that the disk tells of.
func (t *target) onNodeOf(ctx context.Context, local *discover.Local, cluster discover.LocalCluster) (*reach, error) {
	bundle, notes, err := t.nodeCredentials(cluster)
	if err != nil {
		return nil, err
	}
	options, err := t.clientOptions(bundle)
	if err != nil {
		return nil, err
	}
	n := &nodeSearch{cluster: cluster, root: t.nodeRoot, options: options, timeout: t.timeout}
	notes = slices.Concat(local.Notes, notes, n.readData(ctx), n.ownState(ctx))
	known, origin := n.known()

	r := n.reach(known)
	from, members, err := etcd.AnyMembers(ctx, r.sources, t.timeout)
	if ctx.Err() != nil {
		return nil, errors.Join(ctx.Err(), r.Close())
	}
	if err != nil {
		t.log.Info("no member answers", "because", err)
		r.notes = append(append(notes, n.loopback()...), "no member answers: those shown are from "+origin)
		return r, nil
	}
	t.log.Info("members found", "as listed by", from)
	if err := r.Close(); err != nil {
		return nil, err
	}
	r = n.reach(members)
	r.notes = append(notes, n.checkOwn(ctx, &r.sources[0], members)...)
	return r, nil
}

// nodeSearch looks for the members of a cluster from one of its nodes.
type nodeSearch struct {
	cluster discover.LocalCluster
	root    string // of the node's disk
	options etcd.Options
	timeout time.Duration
	data    *restore.DataDir // nil where it could not be read
}

// readData reads the own member's database, or says why it can't: damage there may be why
// etcd does not run.
func (n *nodeSearch) readData(ctx context.Context) []string {
	if n.cluster.Database == "" {
		return nil
	}
	data, err := restore.ReadDatabase(ctx, n.cluster.Database)
	switch {
	case errors.Is(err, fs.ErrNotExist), ctx.Err() != nil:
		return nil
	case err != nil:
		return []string{"this node's member can't be looked into: " + err.Error()}
	}
	n.data = data
	return nil
}

// known is who the disk says is a member, and where that stands: the member's own
// database, else what it was started with, else what the API server uses.
func (n *nodeSearch) known() (members []etcd.Member, origin string) {
	if n.data != nil && len(n.data.Members) > 0 {
		return n.data.Members, n.data.Database + ", as this node's member last knew them"
	}
	for _, peer := range n.cluster.Peers {
		members = append(members, etcd.Member{Name: peer.Name, PeerURLs: peer.URLs, ClientURLs: n.guessClients(peer)})
	}
	origin = "--initial-cluster in " + n.cluster.Manifest + ", as of when this node's member was made: there may be others by now"
	for _, server := range n.cluster.Servers {
		if !slices.ContainsFunc(members, func(m etcd.Member) bool { return slices.Contains(m.ClientURLs, server) }) {
			members = append(members, etcd.Member{Name: strings.TrimPrefix(server, "https://"), ClientURLs: []string{server}})
			origin = "--initial-cluster, and the API server's --etcd-servers"
		}
	}
	return members, origin
}

// guessClients takes a member to serve clients where it serves peers, on the port and
// with the scheme of the node's own.
func (n *nodeSearch) guessClients(peer discover.Peer) []string {
	var urls []string
	own := n.cluster.Pods[0]
	for _, text := range peer.URLs {
		u, err := url.Parse(text)
		if err != nil || u.Hostname() == "" {
			continue
		}
		scheme := "http"
		if own.TLS {
			scheme = "https"
		}
		urls = append(urls, scheme+"://"+net.JoinHostPort(u.Hostname(), strconv.Itoa(own.ClientPort)))
	}
	return urls
}

// ownState is what to say of an own member that does not run.
func (n *nodeSearch) ownState(ctx context.Context) []string {
	u, err := url.Parse(n.cluster.URL)
	if err != nil {
		return nil // opening it says so
	}
	conn, err := (&net.Dialer{Timeout: n.timeout}).DialContext(ctx, "tcp", u.Host)
	if err == nil {
		_ = conn.Close() // nothing was sent
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return nil
	}
	return []string{"this node's etcd does not run: nothing listens on " + u.Host + n.dataLeft()}
}

// dataLeft tells of the data of a member that does not run, to go on with a sentence.
func (n *nodeSearch) dataLeft() string {
	dir := n.cluster.DataDir
	if dir == "" {
		return ""
	}
	note := "; its data is in " + dir
	if n.data != nil {
		note += fmt.Sprintf(", up to revision %d and what its log holds besides", n.data.Revision)
	}
	return note + "; keep a copy of it before anything is changed: cp -a " + runbook.Quote(dir) + " " + runbook.Quote(dir+".copy")
}

// reach opens the own member on this node and the others by their client URLs.
func (n *nodeSearch) reach(members []etcd.Member) *reach {
	r := &reach{cluster: n.cluster.Cluster, way: wayNode, refused: &refusals{}, own: &n.cluster}
	own := podSource(n.cluster.Pods[0])
	own.Name, own.Pod = cmp.Or(n.cluster.MemberName, own.Name), "" // the others' pods are not known
	r.open(own, etcd.Endpoint{Name: own.Name, URL: n.cluster.URL, ServerName: n.cluster.ServerName}, n.options)
	r.probes = []peerProbe{relay.Connects} // this node is that member's
	for _, m := range members {
		if n.isOwn(m, own) || len(m.ClientURLs) == 0 { // without: it was added and never started
			continue
		}
		source := etcd.Source{Name: cmp.Or(m.Name, m.ID.String()), Quota: own.Quota, Peers: m.PeerURLs, Clients: m.ClientURLs}
		if n.cluster.Distro == "kubeadm" { // which names a member by its node
			source.Node = m.Name
		}
		r.open(source, etcd.Endpoint{Name: source.Name, URL: remoteURL(m.ClientURLs)}, n.options)
	}
	return r
}

// isOwn knows the own member in a list by its name, else by its peer URLs, else by
// where it serves clients.
func (n *nodeSearch) isOwn(m etcd.Member, own etcd.Source) bool {
	switch {
	case m.Name != "" && m.Name == n.cluster.MemberName:
		return true
	case len(m.PeerURLs) > 0 && len(own.Peers) > 0:
		return share(m.PeerURLs, own.Peers)
	}
	return share(m.ClientURLs, append([]string{n.cluster.URL}, own.Clients...))
}

func share(some, others []string) bool {
	return slices.ContainsFunc(some, func(a string) bool { return slices.Contains(others, a) })
}

// remoteURL is the one of a member's client URLs that another node can use: not its
// loopback, where there is a choice.
func remoteURL(urls []string) string {
	for _, text := range urls {
		u, err := url.Parse(text)
		if err != nil {
			continue
		}
		if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return text
		}
	}
	return urls[0]
}

// explainOnNode says what is left where no member gives a snapshot.
func (r *reach) explainOnNode(err error) error {
	hints := plainHints(err)
	if hints == nil {
		hints = []string{"see why etcd does not run: crictl ps -a --name etcd, and its log below /var/log/pods; its manifest is " + r.own.Manifest}
	}
	return withHint(err, hints...)
}

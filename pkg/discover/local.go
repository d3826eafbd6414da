package discover

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Local is what a control plane node's own disk tells, without any API server.
type Local struct {
	Node     string // its host name, as kubelet takes it
	Clusters []LocalCluster
	Notes    []string // what could not be read, and why
}

// LocalCluster is one etcd cluster with this node's own member. Paths are as this
// process opens them.
type LocalCluster struct {
	Cluster // Pods holds the node's own

	Manifest   string // the own member's static pod
	MemberName string // --name; empty where nothing says it
	// URL is where the own member serves clients on this node, and ServerName what its
	// certificate must carry there; empty: the URL's host.
	URL, ServerName string
	DataDir         string // empty where nothing says it
	// Database is the file in DataDir that etcd keeps its state in.
	Database string
	// Peers are the members of --initial-cluster, as of when the member was made.
	Peers []Peer
	// Servers are the API server's --etcd-servers on other nodes.
	Servers []string
	// Certificates are the client certificates that the node is known to have, best
	// first. They are paths only: none was read, and one may be missing.
	Certificates []CertificateFiles
}

// databaseFile is where the database stands in a data directory (etcd
// server/storage/datadir).
const databaseFile = "member/snap/db"

// Peer is a member by its name and peer URLs.
type Peer struct {
	Name string
	URLs []string
}

// CertificateFiles are paths of PEM files.
type CertificateFiles struct{ CA, Cert, Key string }

// ReadNode finds the etcd that a control plane node runs as a static pod, from the disk
// at root ("/", or where a rescue system has it mounted). It returns *NotFoundError,
// which names the paths, where there is none, and an error that wraps fs.ErrPermission
// where it may not look.
func ReadNode(root string) (*Local, error) {
	d := disk{root}
	if _, err := os.Stat(root); err != nil {
		return nil, fmt.Errorf("read the node's disk: %w", bareOp(err))
	}
	node, err := d.nodeName()
	if err != nil {
		return nil, err
	}
	manifests, looked, notes, err := d.readManifests(node)
	if err != nil {
		return nil, err
	}
	manifests, doubles := onePerPod(manifests)
	local := &Local{Node: node, Notes: slices.Concat(notes, doubles)}
	seen := d.recogniseLocal(manifests, local)
	servers := readAPIServers(podsIn(manifests))
	if len(seen) == 0 {
		if moved := d.movedAway(node); moved != nil {
			return nil, moved
		}
		return nil, d.notOnNode(manifests, servers, looked, notes)
	}
	for _, cluster := range groupClusters(seen, servers, nil) {
		local.Clusters = append(local.Clusters, d.localCluster(cluster, seen, manifests, servers))
	}
	return local, nil
}

// nodeName is the host's name in lower case, as kubelet takes it (util/node, GetHostname).
func (d disk) nodeName() (string, error) {
	name, err := os.Hostname()
	if d.at("/") != "/" {
		var data []byte
		if data, err = d.read("/etc/hostname"); errors.Is(err, fs.ErrNotExist) {
			data, err = []byte("localhost"), nil
		}
		name = string(data)
	}
	if err != nil {
		return "", fmt.Errorf("find the node's name: %w", err)
	}
	return strings.ToLower(strings.TrimSpace(name)), nil
}

// recogniseLocal finds the pods that run etcd, with their config files read.
func (d disk) recogniseLocal(manifests []manifest, local *Local) []sighting {
	rows := distros()
	var seen []sighting
	for i := range manifests {
		pod := &manifests[i].pod
		row, container := recognise(rows, pod)
		if row == nil {
			continue
		}
		p := newProcess(pod, container)
		p.config = func(name string) Settings {
			settings, err := d.readConfigFile(hostPath(pod, container, name))
			if err != nil {
				local.Notes = append(local.Notes, err.Error())
			}
			return settings
		}
		seen = append(seen, describe(row, p))
	}
	return seen
}

func podsIn(manifests []manifest) []corev1.Pod {
	pods := make([]corev1.Pod, len(manifests))
	for i := range manifests {
		pods[i] = manifests[i].pod
	}
	return pods
}

// localCluster adds to a cluster what its first pod's manifest and the API server's say.
func (d disk) localCluster(cluster Cluster, seen []sighting, manifests []manifest, servers []APIServer) LocalCluster {
	pod := &cluster.Pods[0]
	at := slices.IndexFunc(seen, func(s sighting) bool { return s.pod.Namespace == pod.Namespace && s.pod.Name == pod.Name })
	own := seen[at]
	c := LocalCluster{
		Cluster: cluster, MemberName: pod.Settings["name"].Value,
		Peers:   parseInitialCluster(pod.Settings["initial-cluster"].Value),
		Servers: otherServers(cluster.Name, servers),
	}
	for _, m := range manifests {
		if m.pod.Namespace == pod.Namespace && m.pod.Name == pod.Name {
			c.Manifest = m.path
		}
	}
	c.URL, c.ServerName = ownURL(pod)
	if dir := pod.Settings["data-dir"].Value; dir != "" {
		dir = hostPath(own.object, containerOf(own), dir)
		c.DataDir, c.Database = d.at(dir), d.at(path.Join(dir, databaseFile))
	}
	c.Certificates = d.certificates(own, manifests)
	return c
}

func containerOf(s sighting) *corev1.Container {
	at := slices.IndexFunc(s.object.Spec.Containers, func(c corev1.Container) bool { return c.Name == s.pod.Container })
	return &s.object.Spec.Containers[at]
}

// ownURL is where a member serves clients as seen from its own node. A certificate
// carries the row's name on the loopback, and the address itself elsewhere.
func ownURL(pod *Pod) (url, serverName string) {
	a := pod.Settings.clientAddress().dialable()
	if !a.isConcrete() || a.port == 0 {
		a = address{host: "127.0.0.1", port: pod.ClientPort}
	}
	a.scheme = "http"
	if pod.TLS {
		a.scheme = "https"
	}
	if a.isLoopback() {
		serverName = pod.ServerName
	}
	return a.String(), serverName
}

// parseInitialCluster reads NAME=URL,NAME=URL; a name that comes again has several URLs.
func parseInitialCluster(list string) []Peer {
	var peers []Peer
	for _, entry := range splitList(list, ",") {
		name, url, ok := strings.Cut(entry, "=")
		if !ok {
			continue
		}
		at := slices.IndexFunc(peers, func(p Peer) bool { return p.Name == name })
		if at < 0 {
			peers = append(peers, Peer{Name: name})
			at = len(peers) - 1
		}
		peers[at].URLs = append(peers[at].URLs, url)
	}
	return peers
}

// otherServers are the URLs under which the API servers know the cluster of that name,
// but for this node's own.
func otherServers(name string, servers []APIServer) []string {
	var urls []string
	for _, server := range servers {
		lists := [][]string{}
		if name == mainStore {
			lists = append(lists, server.EtcdServers)
		}
		for resource, override := range server.EtcdOverrides {
			if strings.HasSuffix(resource, "/"+name) {
				lists = append(lists, override)
			}
		}
		for _, a := range parseAddresses(strings.Join(slices.Concat(lists...), ",")) {
			if a.isConcrete() && !a.isLocal() {
				a.port = cmp.Or(a.port, defaultClientPort)
				urls = append(urls, a.String())
			}
		}
	}
	slices.Sort(urls)
	return slices.Compact(urls)
}

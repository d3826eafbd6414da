package discover

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// groupKey is what the pods of one cluster have in common by their labels and owners.
type groupKey struct{ namespace, distro, instance, app string }

func keyOf(s sighting) groupKey {
	return groupKey{s.object.Namespace, s.row.id, instanceOf(s.object), s.object.Labels["k8s-app"]}
}

// groupClusters makes clusters of pods. servers decide which of the control plane's
// pods hold which cluster.
func groupClusters(seen []sighting, servers []APIServer, nodes nodeSet) []Cluster {
	groups, order := map[groupKey][]sighting{}, []groupKey{}
	for _, s := range seen {
		key := keyOf(s)
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], s)
	}
	var clusters []Cluster
	for _, key := range order {
		clusters = append(clusters, clustersOf(key, groups[key], servers, nodes)...)
	}
	slices.SortStableFunc(clusters, compareClusters)
	return clusters
}

// clustersOf is one cluster of a group; for a control plane one for each that its
// API servers tell apart.
func clustersOf(key groupKey, group []sighting, servers []APIServer, nodes nodeSet) []Cluster {
	row := group[0].row
	if name := row.cluster(group[0].object); name != "" {
		return []Cluster{newCluster(name, group, nodes)}
	}
	if !row.controlPlane {
		return workloadClusters(key, group, nodes)
	}
	var clusters []Cluster
	for name, part := range splitControlPlane(group, servers) {
		clusters = append(clusters, newCluster(name, part, nodes))
	}
	return clusters
}

// workloadClusters is the cluster of a workload's pods. Those of a Deployment are one each:
// they have no names by which members could know each other.
func workloadClusters(key groupKey, group []sighting, nodes nodeSet) []Cluster {
	if kind, _ := controllerOf(group[0].object); kind != "Deployment" || len(group) == 1 {
		return []Cluster{newCluster(cmp.Or(key.instance, key.app, group[0].object.Name), group, nodes)}
	}
	clusters := make([]Cluster, len(group))
	for i := range group {
		clusters[i] = newCluster(group[i].object.Name, group[i:i+1], nodes)
	}
	return clusters
}

func newCluster(name string, group []sighting, nodes nodeSet) Cluster {
	row := group[0].row
	objects := make([]*corev1.Pod, len(group))
	pods := make([]Pod, len(group))
	for i, s := range group {
		objects[i], pods[i] = s.object, s.pod
	}
	slices.SortFunc(pods, func(a, b Pod) int { return cmp.Compare(a.Name, b.Name) })
	return Cluster{
		Name: name, Namespace: group[0].object.Namespace, Distro: row.id,
		Owner: row.owner(objects, nodes),
		// kOps runs one for Cilium beside the API servers' own.
		ControlPlane: row.controlPlane && name != "cilium",
		Pods:         pods,
	}
}

// splitControlPlane tells the clusters apart whose pods look alike. In this order: what
// the API servers say; the peers that a pod was started with; names and ports.
func splitControlPlane(group []sighting, servers []APIServer) map[string][]sighting {
	known := readStores(servers)
	names := make([]string, len(group))
	for i := range group {
		names[i] = known.nameOf(&group[i].pod)
	}
	spreadToPeers(group, names)
	nameTheRest(group, names)

	split := map[string][]sighting{}
	for i, s := range group {
		split[names[i]] = append(split[names[i]], s)
	}
	return split
}

// spreadToPeers gives pods without a name that of their peers, where these agree.
func spreadToPeers(group []sighting, names []string) {
	for changed := true; changed; {
		changed = false
		for i := range group {
			if names[i] != "" {
				continue
			}
			names[i] = peersName(group, names, i)
			changed = changed || names[i] != ""
		}
	}
}

func peersName(group []sighting, names []string, i int) string {
	agreed := ""
	for j := range group {
		if names[j] == "" || !arePeers(&group[i].pod, &group[j].pod) {
			continue
		}
		if agreed != "" && agreed != names[j] {
			return ""
		}
		agreed = names[j]
	}
	return agreed
}

// arePeers: one was started with the other in its --initial-cluster.
func arePeers(a, b *Pod) bool { return startedWith(a, b) || startedWith(b, a) }

func startedWith(a, b *Pod) bool {
	for entry := range strings.SplitSeq(a.Settings["initial-cluster"].Value, ",") {
		_, url, _ := strings.Cut(entry, "=")
		if url != "" && slices.Contains(b.PeerURLs, url) {
			return true
		}
	}
	return false
}

// nameTheRest names pods that the API servers say nothing about: those that call
// themselves events, then by the port, etcd's own being main.
func nameTheRest(group []sighting, names []string) {
	for i := range group {
		if names[i] == "" && strings.Contains(group[i].pod.Name, "events") {
			names[i] = "events"
		}
	}
	onePort := !slices.ContainsFunc(group, func(s sighting) bool { return s.pod.ClientPort != group[0].pod.ClientPort })
	for i := range group {
		switch port := group[i].pod.ClientPort; {
		case names[i] != "":
		case onePort, port == defaultClientPort:
			names[i] = mainStore
		default:
			names[i] = fmt.Sprintf("etcd-%d", port)
		}
	}
}

// compareClusters: the control plane's main, its events, its others, then the rest.
func compareClusters(a, b Cluster) int {
	return cmp.Or(
		cmp.Compare(rank(a), rank(b)),
		cmp.Compare(a.Namespace, b.Namespace),
		cmp.Compare(a.Name, b.Name),
	)
}

func rank(c Cluster) int {
	switch {
	case !c.ControlPlane:
		return 3
	case c.Name == mainStore:
		return 0
	case c.Name == "events":
		return 1
	}
	return 2
}

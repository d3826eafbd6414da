package discover

import (
	"fmt"
	"maps"
	"path"
	"slices"
)

// mainStore is the name of the cluster that --etcd-servers names.
const mainStore = "main"

// stores says which etcd cluster API servers mean by an address: name by "host:port", a
// loopback address being one of the server's own node.
type stores struct {
	byAddress map[string]string
	byPort    map[int]string // ports that only one cluster uses
}

// readStores gathers what the API servers say about their etcds. The cluster that holds
// a resource of its own has the resource's name: "events", "leases".
func readStores(servers []APIServer) stores {
	s := stores{map[string]string{}, map[int]string{}}
	for _, server := range servers {
		for _, resource := range slices.Sorted(maps.Keys(server.EtcdOverrides)) {
			s.add(path.Base(resource), server.Node, server.EtcdOverrides[resource])
		}
	}
	// Last, so that an override that points to the main cluster is the main cluster.
	for _, server := range servers {
		s.add(mainStore, server.Node, server.EtcdServers)
	}
	s.countPorts(servers)
	return s
}

func (s stores) add(name, node string, urls []string) {
	for _, url := range urls {
		for _, a := range parseAddresses(url) {
			s.byAddress[addressKey(a, node)] = name
		}
	}
}

// countPorts keeps the ports whose every address is of one cluster.
func (s stores) countPorts(servers []APIServer) {
	for _, server := range servers {
		urls := slices.Clone(server.EtcdServers)
		for _, override := range server.EtcdOverrides {
			urls = append(urls, override...)
		}
		for _, url := range urls {
			for _, a := range parseAddresses(url) {
				name := s.byAddress[addressKey(a, server.Node)]
				if known, ok := s.byPort[a.port]; ok && known != name {
					name = "" // shared: says nothing
				}
				s.byPort[a.port] = name
			}
		}
	}
}

// addressKey is host:port; on the loopback it is only good on its node.
func addressKey(a address, node string) string {
	if a.isLocal() {
		return fmt.Sprintf("%s@%d", node, a.port)
	}
	return a.hostPort()
}

// nameOf is the cluster that pod serves, by the exact address or else by a port that
// only one cluster uses; "" when the API servers don't say.
func (s stores) nameOf(p *Pod) string {
	served := slices.Concat(p.Settings.addresses("advertise-client-urls"), p.Settings.addresses("listen-client-urls"))
	for _, a := range served {
		if name := s.byAddress[addressKey(a, p.Node)]; name != "" {
			return name
		}
		if name := s.byAddress[address{host: p.HostIP, port: a.port}.hostPort()]; name != "" && a.isWildcard() {
			return name
		}
	}
	return s.byPort[p.ClientPort]
}

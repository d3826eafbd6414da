package restore

import (
	"net"
	"net/url"
	"path"
	"slices"
	"strings"
)

// PKIDir is where kubeadm keeps etcd's certificates on a node.
const PKIDir = "/etc/kubernetes/pki/etcd"

// command is the etcd command line for target. With the data in place etcd reads
// members, IDs and token from its log, and ignores the --initial flags (embed/etcd.go,
// isMemberInitialized); they are there so that the line tells the whole truth.
// For https the certificates are those of kubeadm's layout.
func command(plan *Plan, target Target) []string {
	clients := clientURLs(plan, target)
	args := []string{
		"etcd",
		"--name=" + target.Name,
		"--data-dir=" + target.Dir,
		"--initial-cluster=" + initialCluster(plan.Members),
		"--initial-cluster-token=" + plan.Token,
		"--initial-cluster-state=new",
		"--initial-advertise-peer-urls=" + strings.Join(target.PeerURLs, ","),
		"--listen-peer-urls=" + strings.Join(listenURLs(target.PeerURLs), ","),
		"--advertise-client-urls=" + strings.Join(clients, ","),
		"--listen-client-urls=" + strings.Join(listenURLs(clients), ","),
	}
	if isHTTPS(target.PeerURLs) {
		args = append(args, certificates("peer-", "peer")...)
	}
	if isHTTPS(clients) {
		args = append(args, certificates("", "server")...)
	}
	return args
}

func certificates(prefix, name string) []string {
	return []string{
		"--" + prefix + "cert-file=" + path.Join(PKIDir, name+".crt"),
		"--" + prefix + "key-file=" + path.Join(PKIDir, name+".key"),
		"--" + prefix + "trusted-ca-file=" + path.Join(PKIDir, "ca.crt"),
		"--" + prefix + "client-cert-auth",
	}
}

// clientURLs are those that the same member had, else port 2379 on the hosts of its
// peer URLs: under other peer URLs it is elsewhere.
func clientURLs(plan *Plan, target Target) []string {
	for _, m := range plan.Snapshot.Members {
		if m.Name == target.Name && len(m.ClientURLs) > 0 && slices.Equal(m.PeerURLs, target.PeerURLs) {
			return m.ClientURLs
		}
	}
	var urls []string
	for _, peer := range target.PeerURLs {
		if u, err := url.Parse(peer); err == nil {
			u.Host = net.JoinHostPort(u.Hostname(), "2379")
			urls = append(urls, u.String())
		}
	}
	return urls
}

// listenURLs have an address where the advertised ones have a host's name: etcd binds
// to addresses only.
func listenURLs(advertised []string) []string {
	var urls []string
	for _, s := range advertised {
		u, err := url.Parse(s)
		if err == nil && u.Hostname() != "localhost" && net.ParseIP(u.Hostname()) == nil && strings.HasPrefix(u.Scheme, "http") {
			u.Host = net.JoinHostPort("0.0.0.0", u.Port())
			s = u.String()
		}
		urls = append(urls, s)
	}
	return urls
}

func isHTTPS(urls []string) bool {
	return len(urls) > 0 && strings.HasPrefix(urls[0], "https:")
}

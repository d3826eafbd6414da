package health

import (
	"cmp"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"
)

// etcdAddress is the host and port of a URL, as far as they tell servers apart: a scheme,
// the case, a last slash, ways to write an address and etcd's own port don't.
type etcdAddress struct{ host, port string }

const etcdPort = "2379"

func parseEtcdAddress(text string) (_ etcdAddress, ok bool) {
	if !strings.Contains(text, "://") {
		text = "//" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return etcdAddress{}, false
	}
	return etcdAddress{plainHost(u.Hostname()), cmp.Or(u.Port(), etcdPort)}, true
}

func plainHost(host string) string {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().String()
	}
	return strings.TrimSuffix(strings.ToLower(host), ".")
}

func parseEtcdAddresses(urls []string) []etcdAddress {
	var addresses []etcdAddress
	for _, text := range urls {
		if a, ok := parseEtcdAddress(strings.TrimSpace(text)); ok {
			addresses = append(addresses, a)
		}
	}
	return addresses
}

func (a etcdAddress) isLoopback() bool {
	ip, err := netip.ParseAddr(a.host)
	return a.host == "localhost" || err == nil && ip.IsLoopback()
}

// form is what kind of address it is: two of different forms may be the same server.
// A loopback address and 0.0.0.0 have none: they name nobody to others.
func (a etcdAddress) form() string {
	ip, err := netip.ParseAddr(a.host)
	switch {
	case a.isLoopback(), err == nil && ip.IsUnspecified():
		return ""
	case err != nil:
		return "a name"
	case ip.Is4():
		return "an IPv4 address"
	}
	return "an IPv6 address"
}

// addresses are those at which m serves clients: as listed, and as it was told to.
func (m Member) addresses() []etcdAddress {
	var urls []string
	if m.View.Member != nil {
		urls = slices.Clone(m.View.Member.ClientURLs)
	}
	for _, flag := range []string{"advertise-client-urls", "listen-client-urls"} {
		urls = append(urls, strings.Split(m.Settings.Value[flag], ",")...)
	}
	return parseEtcdAddresses(urls)
}

// node is that of its pod; empty: it is not known.
func (m Member) node() string {
	if m.Pod != nil {
		return m.Pod.Node
	}
	return m.View.Node
}

// place is where a URL that an API server was given leads.
type place struct {
	url    string
	local  bool    // it stays on the API server's own node
	member *Member // nil: none
	why    string  // why it can't be told whether there is one; empty: it can
}

// places are those at which server has this etcd: of --etcd-servers, or of the override
// for the resource that is in it.
func (f *Facts) places(server APIServer) []place {
	urls := server.EtcdServers
	if f.Kubernetes.Serves != mainEtcd {
		urls = server.overridden(f.Kubernetes.Serves)
	}
	places := make([]place, len(urls))
	for i, text := range urls {
		places[i] = f.locate(server, text)
	}
	return places
}

// overridden are the URLs of the override for a resource, by its name without the group.
func (s APIServer) overridden(resource string) []string {
	for _, name := range sortedKeys(s.Overrides) {
		if path.Base(name) == resource {
			return s.Overrides[name]
		}
	}
	return nil
}

// isOwn tells whether a is on the node of s.
func (s APIServer) isOwn(a etcdAddress) bool {
	return a.isLoopback() || a.host == plainHost(s.Flags["advertise-address"])
}

func (f *Facts) locate(server APIServer, text string) place {
	p := place{url: text}
	a, ok := parseEtcdAddress(text)
	if !ok {
		p.why = "it has no host"
		return p
	}
	p.local = server.isOwn(a)
	listed := f.listed()
	switch {
	case len(listed) == 0:
		p.why = noList
	case a.isLoopback():
		p.member, p.why = findBeside(server, a, listed)
	default:
		p.member, p.why = findAt(a, listed)
		p.local = p.local || p.member != nil && server.Node != "" && p.member.node() == server.Node
	}
	return p
}

// findBeside is the member on server's node that listens on the port of a.
func findBeside(server APIServer, a etcdAddress, members []Member) (_ *Member, why string) {
	if server.Node == "" {
		return nil, "the API server's node is not known"
	}
	for i, m := range members {
		ofPort := func(its etcdAddress) bool { return its.port == a.port }
		switch {
		case m.node() == "":
			why = "the node of member " + m.Name() + " is not known"
		case m.node() == server.Node && slices.ContainsFunc(m.addresses(), ofPort):
			return &members[i], ""
		}
	}
	if why == "" && strings.Contains(server.Flags["etcd-cafile"], "/rancher/rke2/") {
		why = "RKE2 runs a proxy there where a server has no member, and where that leads is not seen"
	}
	return nil, why
}

// findAt is the member with the address a. That there is none can be said where each one
// is known by an address of that form: a name may be anybody's.
func findAt(a etcdAddress, members []Member) (_ *Member, why string) {
	for i, m := range members {
		its := m.addresses()
		if slices.Contains(its, a) {
			return &members[i], ""
		}
		ofForm := func(other etcdAddress) bool { return other.form() == a.form() }
		if len(its) > 0 && !slices.ContainsFunc(its, ofForm) {
			why = "it is " + a.form() + ", and " + m.Name() + " is not known by one"
		}
	}
	return nil, why
}

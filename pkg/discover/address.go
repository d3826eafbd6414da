package discover

import (
	"cmp"
	"net"
	"slices"
	"strconv"
	"strings"
)

// address is one URL of etcd's, as far as discovery needs it. Its host may still be a
// placeholder (${X}, __name__), which package url refuses.
type address struct {
	scheme, host string
	port         int // 0: none
}

// parseAddresses reads a comma-separated list of URLs. Unix sockets and what has no
// scheme are left out.
func parseAddresses(list string) []address {
	var found []address
	for raw := range strings.SplitSeq(list, ",") {
		scheme, rest, ok := strings.Cut(strings.TrimSpace(raw), "://")
		if !ok || strings.HasPrefix(scheme, "unix") {
			continue
		}
		rest, _, _ = strings.Cut(rest, "/")
		host, port, err := net.SplitHostPort(rest)
		if err != nil {
			host, port = strings.Trim(rest, "[]"), ""
		}
		a := address{scheme: scheme, host: host}
		a.port, _ = strconv.Atoi(port)
		found = append(found, a)
	}
	return found
}

func (a address) hostPort() string { return net.JoinHostPort(a.host, strconv.Itoa(a.port)) }

func (a address) String() string { return a.scheme + "://" + a.hostPort() }

func (a address) isLoopback() bool {
	ip := net.ParseIP(a.host)
	return a.host == "localhost" || ip != nil && ip.IsLoopback()
}

func (a address) isWildcard() bool {
	ip := net.ParseIP(a.host)
	return a.host == "" || ip != nil && ip.IsUnspecified()
}

// isLocal: a connection to the pod's localhost reaches it, as a port-forward makes it.
func (a address) isLocal() bool { return a.isLoopback() || a.isWildcard() }

// isConcrete: the host is a name or an IP, not something that is filled in later.
func (a address) isConcrete() bool {
	return !strings.ContainsAny(a.host, "${}()") && !strings.Contains(a.host, "__")
}

// dialable is a as a client inside the pod would dial it.
func (a address) dialable() address {
	if !a.isWildcard() {
		return a
	}
	loopback := "127.0.0.1"
	if strings.Contains(a.host, ":") {
		loopback = "::1"
	}
	return address{a.scheme, loopback, a.port}
}

// addresses are the URLs that the setting name holds.
func (s Settings) addresses(name string) []address { return parseAddresses(s[name].Value) }

// concreteURLs are the URLs of the setting name whose hosts are known.
func (s Settings) concreteURLs(name string) []string {
	var urls []string
	for _, a := range s.addresses(name) {
		if a.isConcrete() {
			urls = append(urls, a.String())
		}
	}
	return urls
}

// clientAddress is where clients are served, best as seen through the pod. Its port
// is 0 when the settings don't say.
func (s Settings) clientAddress() address {
	listen := s.addresses("listen-client-urls")
	if i := slices.IndexFunc(listen, address.isLocal); i >= 0 {
		return listen[i]
	}
	for _, a := range append(listen, s.addresses("advertise-client-urls")...) {
		return a
	}
	return address{}
}

// serverName is a name to expect in the server's certificate: the name that clients are told.
// Where that is just an address, the certificate may be older than the pod that has it, and
// the loopback's, if it is served, is the better guess.
func (s Settings) serverName() string {
	ip := ""
	for _, a := range s.addresses("advertise-client-urls") {
		switch {
		case !a.isConcrete() || a.isLocal():
		case net.ParseIP(a.host) == nil:
			return a.host
		case ip == "":
			ip = a.host
		}
	}
	listen := s.addresses("listen-client-urls")
	if i := slices.IndexFunc(listen, address.isLoopback); i >= 0 && ip != "" {
		return listen[i].host
	}
	return cmp.Or(ip, "localhost")
}

// servesTLS: the client URL says so, or where none is set, a certificate.
func (s Settings) servesTLS() bool {
	if scheme := s.clientAddress().scheme; scheme != "" {
		return scheme == "https"
	}
	return s["cert-file"].Value != "" || s.isTrue("auto-tls")
}

// wantsCertificate: etcd asks clients for a certificate when it has a CA to check it.
func (s Settings) wantsCertificate() bool {
	return s.servesTLS() && (s.isTrue("client-cert-auth") || s["trusted-ca-file"].Value != "")
}

func (s Settings) peerPort() int {
	for _, name := range []string{"listen-peer-urls", "initial-advertise-peer-urls"} {
		for _, a := range s.addresses(name) {
			return a.port
		}
	}
	return 0
}

// metricsPort is a plain http port on the pod's localhost that serves /metrics.
func (s Settings) metricsPort() int {
	urls := append(s.addresses("listen-metrics-urls"), s.addresses("listen-client-http-urls")...)
	for _, a := range urls {
		if a.scheme == "http" && a.isLocal() {
			return a.port
		}
	}
	if client := s.clientAddress(); len(urls) == 0 && client.scheme == "http" && client.isLocal() {
		return client.port
	}
	return 0
}

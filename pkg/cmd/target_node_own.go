package cmd

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// checkOwn makes sure that who answers on this machine is the member of the disk, and
// takes it out of source where it is another: the machine may be a node itself, and the
// disk that of a dead one.
func (n *nodeSearch) checkOwn(ctx context.Context, source *etcd.Source, members []etcd.Member) []string {
	if source.Err != nil {
		return nil // it says why
	}
	ctx, cancel := context.WithTimeout(ctx, n.timeout)
	defer cancel()
	status, err := source.Reader.Status(ctx)
	if err != nil {
		return n.loopback()
	}
	at := slices.IndexFunc(members, func(m etcd.Member) bool { return m.ID == status.MemberID })
	if at < 0 || n.isOwn(members[at], *source) {
		return nil // where no list has it, status shows it so
	}
	source.Reader = nil
	source.Err = fmt.Errorf("%s is member %s, not this disk's %s", n.host(), members[at].Name, source.Name)
	return append([]string{source.Err.Error() + n.dataLeft()}, n.loopback()...)
}

// loopback says whose 127.0.0.1 is asked where the disk may be that of another machine.
func (n *nodeSearch) loopback() []string {
	host, _, err := net.SplitHostPort(n.host())
	if err != nil || filepath.Clean(n.root) == "/" {
		return nil
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil
	}
	return []string{n.host() + " is asked on the machine that this runs on, whichever one the disk at " + n.root + " belongs to"}
}

// host is where the own member serves, HOST:PORT.
func (n *nodeSearch) host() string {
	u, err := url.Parse(n.cluster.URL)
	if err != nil {
		return n.cluster.URL
	}
	return u.Host
}

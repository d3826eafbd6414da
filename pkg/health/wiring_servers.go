package health

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

func judgeEtcdServers(f *Facts, _ Limits, o *outcome) {
	well := 0
	for _, server := range f.apiServers(o) {
		places := f.places(server)
		if len(places) == 0 {
			o.unknown(server.name(), "it was given no URL of this etcd")
		} else if judgePlaces(server, places, o) {
			well++
			f.showReach(server, places, o)
		}
	}
	if well > 0 {
		o.ok("%s: every URL is a member's", plural(well, "API server"))
	}
}

// judgePlaces tells whether each of them is a member that serves API servers.
func judgePlaces(server APIServer, places []place, o *outcome) bool {
	well := true
	for _, p := range places {
		switch {
		case p.why != "":
			o.unknown(server.name()+", "+p.url, p.why)
		case p.member == nil:
			o.critical("%s is given %s, and no member of this etcd is there", server.name(), p.url)
			o.mend("take %s out of the flags of %s, unless it is a proxy of yours; kubeadm: /etc/kubernetes/manifests/kube-apiserver.yaml", p.url, server.name())
		case p.member.View.Member.Learner:
			o.critical("%s is given %s, which is learner %s: it refuses what API servers ask", server.name(), p.url, p.member.Name())
			o.mend("kubectl etcd member promote %s, or take %s out of the flags of %s", p.member.View.Member.ID, p.url, server.name())
		default:
			continue
		}
		well = false
	}
	return well
}

// showReach says what the choice of URLs means. None is wrong.
func (f *Facts) showReach(server APIServer, places []place, o *outcome) {
	voters := len(f.voters())
	switch named := countMembers(places); {
	case allLocal(places):
		o.shows("the API server on node %s fails with its member", server.Node)
	case named == voters && voters == 1:
		o.shows("%s has the only member", server.name())
	case named == voters:
		o.shows("%s has all %d members: requests go to them in turn, and each through a follower costs one more round trip (+1 RTT)", server.name(), voters)
	default:
		o.info("%s has %d of %d members: it fails with them, whatever the others do", server.name(), named, voters)
	}
}

func countMembers(places []place) int {
	names := map[string]bool{}
	for _, p := range places {
		if p.member != nil {
			names[p.member.View.Member.ID.String()] = true
		}
	}
	return len(names)
}

func allLocal(places []place) bool {
	return !slices.ContainsFunc(places, func(p place) bool { return !p.local })
}

func judgeOverrides(f *Facts, limits Limits, o *outcome) {
	servers := f.apiServers(o)
	if len(servers) == 0 {
		return
	}
	apart := map[string]bool{}
	for _, server := range servers {
		judgeSpelling(server, o)
		for _, resource := range sortedKeys(server.Overrides) {
			apart[resource] = true
			judgeApart(server, resource, o)
		}
	}
	if !slices.ContainsFunc(servers, hasEventsApart) {
		f.adviseEvents(limits, o)
	}
	if len(apart) == 0 {
		o.ok("all resources are in one etcd")
		return
	}
	o.ok("an etcd of their own have: %s", strings.Join(sortedKeys(apart), ", "))
	o.shows("each etcd has a quorum, a quota and backups to be looked after: kubectl etcd status --etcd NAME")
}

func hasEventsApart(s APIServer) bool { return len(s.overridden("events")) > 0 }

func judgeSpelling(server APIServer, o *outcome) {
	right, problem := respellOverrides(server.OverridesRaw)
	if problem == "" {
		return
	}
	o.critical("%s can't start with --etcd-servers-overrides=%s: %s", server.name(), server.OverridesRaw, problem)
	if right != "" {
		o.mend("--etcd-servers-overrides=%s", right)
	}
}

// respellOverrides says why kube-apiserver refuses value (EtcdOptions.Validate; the flag is
// a list with commas), and how it was meant, where that can be told.
func respellOverrides(value string) (right, problem string) {
	if value == "" {
		return "", ""
	}
	var overrides []string
	for part := range strings.SplitSeq(value, ",") {
		part = strings.TrimSpace(part)
		resource, urls, isOverride := strings.Cut(part, "#")
		switch {
		case isOverride && strings.Count(resource, "/") == 1 && urls != "" && !strings.Contains(urls, "#"):
			overrides = append(overrides, part)
		case !isOverride && len(overrides) > 0 && strings.Contains(part, "://"):
			problem = "servers are separated by semicolons, commas separate resources"
			overrides[len(overrides)-1] += ";" + part
		default:
			return "", fmt.Sprintf("%q is not group/resource#URL;URL", part)
		}
	}
	return strings.Join(overrides, ","), problem
}

// judgeApart looks whether the etcd of a resource is another than that of all others.
func judgeApart(server APIServer, resource string, o *outcome) {
	rest := parseEtcdAddresses(server.EtcdServers)
	for _, a := range parseEtcdAddresses(server.Overrides[resource]) {
		if slices.Contains(rest, a) {
			o.info("%s: the override of %s leads to the etcd of all others, and does nothing", server.name(), resource)
			return
		}
	}
	o.shows("%s has %s at %s", server.name(), resource, strings.Join(server.Overrides[resource], " "))
}

// adviseEvents looks whether events are so many that an etcd of their own is worth it.
func (f *Facts) adviseEvents(limits Limits, o *outcome) {
	k := f.Kubernetes
	switch {
	case !k.Counts.Known():
		o.unknown("keys of events", k.Counts.Because)
		return
	case !k.Nodes.Known():
		o.unknown("number of nodes", k.Nodes.Because)
		return
	}
	share, total := eventsShare(k.Counts.Value)
	if share >= limits.at("events-share") && float64(k.Nodes.Value) >= limits.at("events-nodes") {
		o.info("events are %.0f%% of %d keys on %d nodes", share*100, total, k.Nodes.Value)
		o.mend("an etcd of their own, on other disks, takes their writes off this one: --etcd-servers-overrides=/events#URL;URL")
		return
	}
	o.shows("events are %.0f%% of %d keys, on %s", share*100, total, plural(k.Nodes.Value, "node"))
}

// eventsShare is that of events among all keys that could be counted.
func eventsShare(counts map[string]int64) (share float64, total int64) {
	for _, n := range counts {
		total += max(n, 0)
	}
	if total == 0 {
		return 0, 0
	}
	return float64(max(counts["events"], 0)) / float64(total), total
}

func judgeServersAgree(f *Facts, _ Limits, o *outcome) {
	servers := f.apiServers(o)
	if len(servers) == 0 {
		return
	}
	f.compareReach(servers, o)
	for _, aspect := range []struct {
		what string
		of   func(APIServer) string
	}{
		{"--etcd-servers-overrides", describeOverrides},
		{"--etcd-prefix", func(s APIServer) string { return "/" + strings.Trim(s.Prefix, "/") }},
		{"--encryption-provider-config", func(s APIServer) string { return cmp.Or(s.encryptionFile(), "none") }},
		{"--etcd-compaction-interval", describeInterval},
	} {
		groups := map[string][]string{}
		for _, server := range servers {
			groups[aspect.of(server)] = append(groups[aspect.of(server)], server.name())
		}
		demandOne(o, aspect.what, groups)
	}
	o.ok("%s: what they say of etcd is the same", plural(len(servers), "API server"))
}

// demandOne finds fault with more than one group.
func demandOne(o *outcome, what string, groups map[string][]string) {
	if len(groups) > 1 {
		o.critical("the API servers differ in %s", what)
		showEach(o, what, groups)
	}
}

// compareReach: each its own member, all of them, or the same ones. The URLs themselves
// may differ, and with the same URLs there is no more to be known.
func (f *Facts) compareReach(servers []APIServer, o *outcome) {
	urls, kinds := map[string]bool{}, map[string][]string{}
	unclear := map[string]string{}
	for _, server := range servers {
		places := f.places(server)
		urls[describePlaces(places)] = true
		kind, why := f.kindOf(places)
		if why != "" {
			unclear[server.name()] = why
			continue
		}
		kinds[kind] = append(kinds[kind], server.name())
	}
	if len(urls) == 1 {
		return
	}
	for _, name := range sortedKeys(unclear) {
		o.unknown(name, unclear[name])
	}
	demandOne(o, "the URLs of this etcd", kinds)
}

// kindOf is which members are meant. Loopback needs no member to be known for that.
func (f *Facts) kindOf(places []place) (kind, why string) {
	voters := len(f.voters())
	switch {
	case len(places) == 0:
		return "none", ""
	case voters > 0 && countMembers(places) == voters:
		return "every member", ""
	case allLocal(places):
		return "its own node's member", ""
	}
	for _, p := range places {
		if p.why != "" && !p.local {
			return "", p.url + ": " + p.why
		}
	}
	return describePlaces(places), ""
}

func describePlaces(places []place) string {
	urls := make([]string, len(places))
	for i, p := range places {
		urls[i] = p.url
	}
	return describeURLs(urls)
}

// describeURLs is the same text for URLs of the same servers.
func describeURLs(urls []string) string {
	texts := []string{}
	for _, a := range parseEtcdAddresses(urls) {
		texts = append(texts, a.host+" port "+a.port)
	}
	slices.Sort(texts)
	return strings.Join(slices.Compact(texts), ", ")
}

// describeOverrides is the same text for the same overrides. An etcd on each API server's
// own node is the same for all of them.
func describeOverrides(s APIServer) string {
	texts := []string{}
	for _, resource := range sortedKeys(s.Overrides) {
		text := describeURLs(s.Overrides[resource])
		if own := parseEtcdAddresses(s.Overrides[resource]); len(own) == 1 && s.isOwn(own[0]) {
			text = "its own node port " + own[0].port
		}
		texts = append(texts, resource+" at "+text)
	}
	return cmp.Or(strings.Join(texts, "; "), "none")
}

// describeInterval is the interval with kube-apiserver's default (storagebackend
// DefaultCompactInterval).
func describeInterval(s APIServer) string {
	text := cmp.Or(s.Flags["etcd-compaction-interval"], "5m")
	if d, err := time.ParseDuration(text); err == nil {
		return d.String()
	}
	return text
}

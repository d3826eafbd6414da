package health

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// settled are the members whose settings are known.
func (f *Facts) settled(o *outcome) []Member {
	var known []Member
	for _, m := range f.Members {
		if why := missing(m, m.Settings, m.Settings.Value == nil); why != "" {
			o.unknown(m.Name(), why)
			continue
		}
		known = append(known, m)
	}
	return known
}

func judgeFlags(f *Facts, _ Limits, o *outcome) {
	var found findings
	newest := f.newestMinor()
	members := f.settled(o)
	for _, m := range members {
		minor := newest // a member that does not answer may be one that a flag keeps from starting
		if version, err := m.version(); err == nil {
			minor = version.Minor
		}
		for _, flag := range sortedKeys(m.Settings.Value) {
			if minor > 0 {
				judgeRemoved(&found, m, flag, minor, o)
			}
			if level, text := dangerous(flag, m.Settings.Value[flag]); text != "" {
				found.add(level, m.Name(), "--%s=%s: %s", flag, m.Settings.Value[flag], text)
			}
		}
	}
	found.tell(o)
	switch {
	case newest == 0:
		o.unknown("", "no member answers, so which flags its version refuses is not known")
	case len(members) > 0:
		o.ok("no flag that this etcd refuses")
	}
}

// newestMinor is that of the members that answer: 6 of 3.6; 0: none does.
func (f *Facts) newestMinor() (minor int64) {
	for _, m := range f.Members {
		if version, err := m.version(); err == nil {
			minor = max(minor, version.Minor)
		}
	}
	return minor
}

// judgeRemoved looks for a flag that some minor refuses: etcd then does not start. A member that
// runs has it from its environment or a file, where etcd passes over what it does not know.
func judgeRemoved(found *findings, m Member, flag string, minor int64, o *outcome) {
	refusedBy := int64(0)
	switch {
	case strings.HasPrefix(flag, "experimental-"):
		refusedBy = 7
	case flag == "max-snapshots" || flag == "v2-deprecation":
		refusedBy = 8
	case flag == "snapshot-count": // kubeadm sets it
		o.shows("%s: --%s stays in 3.8, which was to remove it (etcd #21162)", m.Name(), flag)
		return
	default:
		return
	}
	switch {
	case minor >= refusedBy && m.silent() == "":
		found.add(Warning, m.Name(), "--%s: 3.%d passes over it, and what it did is off", flag, refusedBy)
	case minor >= refusedBy:
		found.add(Critical, m.Name(), "--%s: 3.%d does not start with it", flag, refusedBy)
	case refusedBy == 8:
		o.shows("%s: --%s has to go before the upgrade to 3.8", m.Name(), flag)
	case minor+1 == refusedBy:
		found.add(Warning, m.Name(), "--%s: 3.%d, the next minor, does not start with it", flag, refusedBy)
	default:
		found.add(Info, m.Name(), "--%s: 3.%d does not start with it", flag, refusedBy)
	}
}

// dangerous says what is wrong with a flag's value, whatever the version.
func dangerous(flag, value string) (level Level, text string) {
	switch {
	case flag == "unsafe-no-fsync" && isTrue(value):
		return Critical, "a crash loses data that was acknowledged"
	case flag == "force-new-cluster" && isTrue(value):
		return Critical, "at each start it throws the other members out"
	case flag == "pre-vote" && !isTrue(value):
		return Warning, "a member that comes back may depose the leader"
	case flag == "strict-reconfig-check" && !isTrue(value):
		return Warning, "a change of members may cost the quorum"
	case flag == "max-wals" && value == "0", flag == "max-snapshots" && value == "0":
		return Warning, "old files are never removed"
	case flag == "enable-pprof" && isTrue(value):
		return Warning, "every client may read the process' memory profile"
	}
	return OK, ""
}

func isTrue(value string) bool {
	b, err := strconv.ParseBool(value)
	return err == nil && b
}

// agreement is a setting that has to be the same for all members.
type agreement struct {
	flag      string
	level     Level                     // of a difference
	otherwise func(minor int64) string  // etcd's default
	canonical func(value string) string // the same text for the same value
}

func agreements() []agreement {
	always := func(value string) func(int64) string { return func(int64) string { return value } }
	before := func(minor int64, old, value string) func(int64) string {
		return func(m int64) string {
			if m < minor {
				return old
			}
			return value
		}
	}
	as := strings.ToLower
	return []agreement{
		{"heartbeat-interval", Critical, always("100ms"), milliseconds},
		{"election-timeout", Critical, always("1s"), milliseconds},
		{"quota-backend-bytes", Warning, always("2147483648"), quotaBytes},
		{"snapshot-count", Warning, before(6, "100000", "10000"), as},
		{"auto-compaction-mode", Warning, always("periodic"), as},
		{"auto-compaction-retention", Warning, always("0s"), duration},
		{"feature-gates", Warning, always(""), list},
		{"max-request-bytes", Warning, always("1572864"), as},
		{"max-txn-ops", Warning, always("128"), as},
		{"pre-vote", Warning, before(5, "false", "true"), as},
		{"strict-reconfig-check", Warning, always("true"), as},
		{"client-cert-auth", Warning, always("false"), as},
		{"peer-client-cert-auth", Warning, always("false"), as},
		{"auth-token", Warning, always("simple"), as},
		{"max-learners", Warning, always("1"), as},
		{"corrupt-check-time", Warning, always("0s"), duration},
		{"compact-hash-check-time", Warning, always("1m0s"), duration},
		{"watch-progress-notify-interval", Warning, always("10m0s"), duration},
	}
}

// milliseconds reads a flag's number, and the log's duration.
func milliseconds(value string) string {
	if n, err := strconv.ParseInt(value, 10, 64); err == nil {
		return (time.Duration(n) * time.Millisecond).String()
	}
	return duration(value)
}

func duration(value string) string {
	if d, err := time.ParseDuration(value); err == nil {
		return d.String()
	}
	return value
}

// quotaBytes: 0 is the default (server/v3 storage, DefaultQuotaBytes).
func quotaBytes(value string) string {
	if value == "0" {
		return "2147483648"
	}
	return value
}

func list(value string) string {
	parts := strings.Split(value, ",")
	slices.Sort(parts)
	return strings.Join(parts, ",")
}

func judgeDrift(f *Facts, _ Limits, o *outcome) {
	members := f.settled(o)
	newest := f.newestMinor()
	for _, m := range members {
		for _, flag := range sortedKeys(m.Pending) {
			o.info("restart pending: %s, --%s: %s (its spec ≠ its process)", m.Name(), flag, m.Pending[flag])
			o.mend("restart the member: its process runs with other settings than its pod's spec has")
		}
	}
	if len(members) == 1 && len(f.Members) > 1 {
		o.unknown("", "the settings of one member alone are known")
		return
	}
	for _, a := range agreements() {
		judgeAgreement(a, members, newest, o)
	}
	if len(members) > 0 {
		o.ok("%s run with the same settings", plural(len(members), "member"))
	}
}

func judgeAgreement(a agreement, members []Member, newest int64, o *outcome) {
	values := map[string][]string{}
	for _, m := range members {
		minor := newest
		if version, err := m.version(); err == nil {
			minor = version.Minor
		}
		if a.flag == "feature-gates" && minor > 0 && minor < 6 {
			continue // it has none yet, but flags of their own
		}
		value := a.otherwise(minor)
		for _, name := range []string{"experimental-" + a.flag, a.flag} { // the older name, up to 3.6
			if set, ok := m.Settings.Value[name]; ok {
				value = a.canonical(set)
			}
		}
		values[value] = append(values[value], m.Name())
	}
	if len(values) < 2 {
		return
	}
	var parts []string
	for _, value := range sortedKeys(values) {
		parts = append(parts, fmt.Sprintf("%q of %s", value, strings.Join(values[value], ", ")))
	}
	o.say(a.level, "--%s differs: %s", a.flag, strings.Join(parts, "; "))
	o.remedy = "" // the catalogue's, whatever else is pending
}

func judgeAccess(f *Facts, _ Limits, o *outcome) {
	var found findings
	members := f.settled(o)
	for _, m := range members {
		s := m.Settings.Value
		clients := cmp.Or(s["listen-client-urls"], "http://localhost:2379") + "," + s["listen-client-http-urls"]
		judgePort(&found, m, "client", clients, isTrue(s["client-cert-auth"]) || s["trusted-ca-file"] != "")
		peers := cmp.Or(s["listen-peer-urls"], "http://localhost:2380")
		judgePort(&found, m, "peer", peers, isTrue(s["peer-client-cert-auth"]) || s["peer-trusted-ca-file"] != "")
		for _, u := range parseURLs(s["listen-metrics-urls"]) {
			if u.Scheme == "http" && slices.Contains([]string{"", "0.0.0.0", "::"}, u.Hostname()) {
				found.add(Warning, m.Name(), "metrics are served to everybody at %s", u)
			}
		}
	}
	found.tell(o)
	if len(members) > 0 {
		o.ok("clients and peers have to show a certificate")
	}
}

// judgePort judges the URLs of one of the ports. A CA to trust makes etcd ask for a certificate
// as well (client/pkg/v3 transport, TLSInfo).
func judgePort(found *findings, m Member, port, urls string, asks bool) {
	secure := false
	for _, u := range parseURLs(urls) {
		switch {
		case u.Scheme == "https":
			secure = true
		case u.Scheme != "http": // a socket
		case onLoopback(u.Hostname()):
			found.add(Warning, m.Name(), "the %s port has no TLS on the loopback, where every process of the node reaches it", port)
		default:
			found.add(Critical, m.Name(), "the %s port has no TLS: who reaches it has all of etcd", port)
		}
	}
	if secure && !asks {
		found.add(Critical, m.Name(), "the %s port asks for no certificate: who reaches it has all of etcd", port)
	}
}

func parseURLs(text string) []*url.URL {
	var urls []*url.URL
	for _, part := range strings.Split(text, ",") {
		if u, err := url.Parse(strings.TrimSpace(part)); err == nil && u.Scheme != "" {
			urls = append(urls, u)
		}
	}
	return urls
}

func onLoopback(host string) bool {
	return host == "localhost" || host == "::1" || strings.HasPrefix(host, "127.")
}

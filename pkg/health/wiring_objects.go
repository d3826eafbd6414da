package health

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

func judgeEncryption(f *Facts, _ Limits, o *outcome) {
	k := f.wired(o)
	switch {
	case k == nil:
		return
	case k.Serves != mainEtcd:
		o.unknown("", "the Secrets are in the main etcd")
		return
	case !k.Encryption.Known():
		o.unknown("Secrets in etcd", k.Encryption.Because)
		judgeUnsampled(k.Servers, o)
		return
	case k.Encryption.Value.Sampled == 0:
		o.unknown("", "there is no Secret to look at")
		return
	}
	judgeSample(k.Encryption.Value, k.Servers, o)
}

// judgeUnsampled says what the flags alone do: without them nothing is encrypted, with them
// it depends on the file and on when a Secret was written.
func judgeUnsampled(servers []APIServer, o *outcome) {
	if len(servers) > 0 && !slices.ContainsFunc(servers, func(s APIServer) bool { return !isPlain(s) }) {
		o.info("no API server has --encryption-provider-config: Secrets are stored as they are")
	}
}

func isPlain(s APIServer) bool { return s.encryptionFile() == "" }

func judgeSample(e Encryption, servers []APIServer, o *outcome) {
	for _, provider := range sortedKeys(e.By) {
		o.shows("%s: %d of %d", provider, e.By[provider], e.Sampled)
	}
	switch {
	case e.Plain == e.Sampled:
		o.warn("Secrets are stored as they are: all %d that were looked at", e.Sampled)
	case e.Plain > 0:
		o.warn("%d of %d Secrets are stored as they are, the others are encrypted", e.Plain, e.Sampled)
		if !slices.ContainsFunc(servers, isPlain) {
			o.mend(rewriteSecrets)
		}
	case len(e.By) > 1:
		o.info("Secrets are encrypted with %d keys: no old one may go before they are all written anew", len(e.By))
		o.mend(rewriteSecrets)
	default:
		o.ok("all %d Secrets that were looked at are encrypted", e.Sampled)
	}
	if e.Plain < e.Sampled {
		o.shows("%s", restoreNeeds(e))
	}
}

func restoreNeeds(e Encryption) string {
	if slices.ContainsFunc(sortedKeys(e.By), func(provider string) bool { return strings.HasPrefix(provider, "kms") }) {
		return "a restore needs the KMS key: in etcd, and so in its backups, there is none"
	}
	return "a restore needs the keys of --encryption-provider-config: in etcd, and so in its backups, there are none"
}

// shownResources is how many resources and objects are worth a line.
const shownResources = 10

func judgeCounts(f *Facts, limits Limits, o *outcome) {
	k := f.wired(o)
	switch {
	case k == nil:
		return
	case !k.Counts.Known():
		o.unknown("", k.Counts.Because)
		return
	case len(k.Counts.Value) == 0:
		o.unknown("", "no resource was counted")
		return
	}
	counts := k.Counts.Value
	for _, resource := range sortedKeys(counts) {
		if counts[resource] < 0 {
			o.warn("the API server can't count %s: it fails to read them", resource)
		}
	}
	share, total := eventsShare(counts)
	if k.Serves == mainEtcd && share >= limits.at("events-share") {
		o.info("events are %.0f%% of %d keys", share*100, total)
	}
	o.ok("%d keys of %s", total, plural(len(counts), "resource"))
	for _, resource := range mostKeys(counts) {
		o.shows("%s: %d", resource, counts[resource])
	}
}

// mostKeys are the resources with most keys, most first.
func mostKeys(counts map[string]int64) []string {
	resources := slices.DeleteFunc(sortedKeys(counts), func(r string) bool { return counts[r] < 0 })
	slices.SortStableFunc(resources, func(a, b string) int { return cmp.Compare(counts[b], counts[a]) })
	return resources[:min(len(resources), shownResources)]
}

func judgeLarge(f *Facts, limits Limits, o *outcome) {
	k := f.wired(o)
	switch {
	case k == nil:
		return
	case !k.Large.Known():
		o.unknown("", k.Large.Because)
		return
	case len(k.Large.Value) == 0:
		o.unknown("", "no object was seen")
		return
	}
	objects := slices.SortedStableFunc(slices.Values(k.Large.Value), func(a, b Object) int { return cmp.Compare(b.Size, a.Size) })
	warning, critical := limits.at("object-size"), limits.at("object-size-critical")
	for _, object := range objects[:min(len(objects), shownResources)] {
		if size := float64(object.Size); size >= warning {
			o.graded(size, warning, critical, "%s has %d KiB", object.Key, object.Size>>10)
		}
	}
	o.ok("the largest object, %s, has %d KiB", objects[0].Key, objects[0].Size>>10)
}

const currentRevision = "etcd_debugging_mvcc_current_revision"

func judgeChurn(f *Facts, limits Limits, o *outcome) {
	if f.wired(o) == nil {
		return
	}
	if f.Sample == 0 {
		o.unknown("", lookedOnce)
		return
	}
	for _, m := range f.answering(o) {
		rate := f.rate(m, currentRevision)
		if !rate.Known() {
			o.unknown(m.Name(), rate.Because)
			continue
		}
		const text = "%.0f revisions a second, by %s"
		if rate.Value >= limits.at("revision-rate") {
			o.info(text, rate.Value, m.Name())
			o.mend("kubectl etcd tail shows which keys change")
		} else {
			o.ok(text, rate.Value, m.Name())
		}
		f.showOperations(m, o)
	}
}

// showOperations adds what the member counts. Writes are every member's, reads its own.
func (f *Facts) showOperations(m Member, o *outcome) {
	var rates []string
	for _, operation := range []string{"put", "delete", "range", "txn"} {
		if rate := f.rate(m, "etcd_mvcc_"+operation+"_total"); rate.Known() {
			rates = append(rates, fmt.Sprintf("%.0f %ss", rate.Value, operation))
		}
	}
	if len(rates) > 0 {
		o.shows("%s: %s a second", m.Name(), strings.Join(rates, ", "))
	}
}

package health

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

func healthyWiringMetrics() string {
	return `etcd_debugging_mvcc_current_revision 5000
etcd_mvcc_put_total 4000
etcd_mvcc_delete_total 500
etcd_mvcc_range_total 90000
etcd_mvcc_txn_total 2000
`
}

// healthyKubernetes is the API server's side of healthy: kubeadm's, on the nodes of its members.
func healthyKubernetes() *Kubernetes {
	k := &Kubernetes{
		Serves:     "main",
		Encryption: Known(Encryption{Sampled: 40, By: map[string]int{"aescbc:v1:key1": 40}}),
		Counts:     Known(map[string]int64{"pods": 400, "events": 300, "leases": 60, "apps/deployments": 40}),
		Large:      Known([]Object{{Key: "/registry/configmaps/default/big", Size: 90 << 10}}),
		Jobs:       Known([]BackupJob{backupJob(time.Hour, 6*time.Hour)}),
		Nodes:      Known(20),
	}
	for i := range 3 {
		k.Servers = append(k.Servers, healthyServer(i))
	}
	return k
}

func healthyServer(i int) APIServer {
	return APIServer{
		Pod: fmt.Sprintf("kube-apiserver-node%d", i), Node: fmt.Sprintf("node%d", i), Prefix: "/registry",
		EtcdServers: []string{"https://127.0.0.1:2379"},
		Flags: map[string]string{
			"advertise-address": fmt.Sprintf("10.0.0.%d", i+1), "etcd-servers": "https://127.0.0.1:2379",
			"etcd-cafile": "/etc/kubernetes/pki/etcd/ca.crt", "encryption-provider-config": "/etc/kubernetes/encryption.yaml",
		},
	}
}

func backupJob(ago, every time.Duration) BackupJob {
	return BackupJob{Kind: "CronJob", Namespace: "kube-system", Name: "etcd-backup", LastSuccess: noon.Add(-ago), Every: every}
}

func wiringCases() []checkCase {
	cases := slices.Concat(
		etcdServersCases(), overridesCases(), agreementCases(), encryptionCases(),
		countsCases(), largeCases(), churnCases(), backupsCases(), podsCases(),
	)
	for _, id := range []string{"H50", "H51", "H52", "H53", "H54", "H55", "H56", "H58"} {
		cases = append(cases,
			checkCase{id: id, name: "without Kubernetes", change: withoutKubernetes, level: Unmeasured, says: "reached by --endpoints"},
			checkCase{id: id, name: "an application's", change: as(""), level: Unmeasured, says: foreignEtcd},
		)
	}
	for _, id := range []string{"H50", "H51", "H52"} {
		cases = append(cases, checkCase{id: id, name: "no API server is seen", level: Unmeasured, says: "no pod of a kube-apiserver", change: func(f *Facts) {
			f.Kubernetes.Servers = nil
		}})
	}
	return cases
}

func withoutKubernetes(f *Facts) {
	f.Kubernetes, f.WithoutKubernetes = nil, "reached by --endpoints"
}

// as makes the etcd one that serves a role.
func as(role string) func(*Facts) { return func(f *Facts) { f.Kubernetes.Serves = role } }

// given sets --etcd-servers of API server i.
func given(f *Facts, i int, urls ...string) {
	f.Kubernetes.Servers[i].EtcdServers = urls
}

// givenAll sets --etcd-servers of all of them.
func givenAll(urls ...string) func(*Facts) {
	return func(f *Facts) {
		for i := range f.Kubernetes.Servers {
			given(f, i, urls...)
		}
	}
}

// override sets --etcd-servers-overrides of API server i to one for events.
func override(f *Facts, i int, urls ...string) {
	f.Kubernetes.Servers[i].OverridesRaw = "/events#" + strings.Join(urls, ";")
	f.Kubernetes.Servers[i].Overrides = map[string][]string{"/events": urls}
}

// eventsApart gives the events an etcd of their own, beside the main one, as kOps does.
func eventsApart(f *Facts) {
	for i := range f.Kubernetes.Servers {
		override(f, i, "https://127.0.0.1:4002")
	}
}

// asEvents makes it the etcd of the events, and the main one another.
func asEvents(f *Facts) {
	givenAll("https://127.0.0.1:4001")(f)
	for i := range f.Kubernetes.Servers {
		override(f, i, "https://127.0.0.1:2379")
	}
	f.Kubernetes.Serves = "events"
	f.Kubernetes.Counts = Known(map[string]int64{"events": 3000})
}

// byName gives the members client URLs with names, and no address.
func byName(f *Facts) {
	for i := range f.Members {
		member := *f.Members[i].View.Member
		member.ClientURLs = []string{fmt.Sprintf("https://etcd-%d.example:2379", i)}
		f.Members[i].View.Member = &member
		f.Members[i].Settings = Unknown[map[string]string]("not read")
	}
}

func setFlag(f *Facts, i int, name, value string) {
	f.Kubernetes.Servers[i].Flags = maps.Clone(f.Kubernetes.Servers[i].Flags)
	f.Kubernetes.Servers[i].Flags[name] = value
}

func unsetFlag(f *Facts, name string) {
	for i := range f.Kubernetes.Servers {
		delete(f.Kubernetes.Servers[i].Flags, name)
	}
}

func etcdServersCases() []checkCase {
	all := []string{"https://10.0.0.1:2379", "https://10.0.0.2:2379", "https://10.0.0.3:2379"}
	return []checkCase{
		{id: "H50", name: "kubeadm's", change: resize(3), level: OK, says: "the API server on node node1 fails with its member"},
		{id: "H50", name: "IPv6 loopback", change: givenAll("https://[::1]:2379"), level: OK, says: "every URL is a member's"},
		{id: "H50", name: "loopback by name", change: givenAll("https://LOCALHOST"), level: OK, says: "the API server on node node2 fails with its member"},
		{id: "H50", name: "each its node's address", level: OK, says: "on node node2 fails with its member", change: func(f *Facts) {
			for i := range f.Kubernetes.Servers {
				given(f, i, all[i])
			}
		}},
		{id: "H50", name: "all", change: givenAll(all...), level: OK, says: "+1 RTT"},
		{id: "H50", name: "all, written otherwise", level: OK, says: "kube-apiserver-node0 has all 3 members",
			change: givenAll("HTTPS://10.0.0.1:2379/", "https://10.0.0.2", "10.0.0.3:2379")},
		{id: "H50", name: "names, written otherwise", level: OK, says: "has all 3", change: func(f *Facts) {
			byName(f)
			givenAll("https://ETCD-0.example:2379", "https://etcd-1.example.", "https://etcd-2.Example/")(f)
		}},
		{id: "H50", name: "an address that etcd listens on and does not advertise", level: Info, says: "has 1 of 3 members", change: func(f *Facts) {
			f.Members[1].Settings.Value["listen-client-urls"] = "https://192.168.0.2:2379"
			givenAll("https://192.168.0.2:2379")(f)
		}},
		{id: "H50", name: "some", change: givenAll(all[:2]...), level: Info, says: "has 2 of 3 members"},
		{id: "H50", name: "the only one", level: OK, says: "kube-apiserver-node1 has the only member", change: func(f *Facts) {
			*f = *healthy(1)
			givenAll(all[0])(f)
		}},
		{id: "H50", name: "a node that is gone", level: Critical, says: "kube-apiserver-node1 is given https://10.0.0.9:2379, and no member", mends: "take https://10.0.0.9:2379 out", change: func(f *Facts) {
			given(f, 1, all[0], "https://10.0.0.9:2379")
		}},
		{id: "H50", name: "another port", change: givenAll("https://10.0.0.1:2380"), level: Critical, says: "no member"},
		{id: "H50", name: "another port of the node", change: givenAll("https://127.0.0.1:4002"), level: Critical, says: "no member"},
		{id: "H50", name: "the name of no member", level: Critical, says: "etcd-7.example", change: func(f *Facts) {
			byName(f)
			givenAll("https://etcd-7.example:2379")(f)
		}},
		{id: "H50", name: "loopback without a member", level: Critical, says: "is given https://127.0.0.1:2379", mends: "a proxy of yours", change: func(f *Facts) {
			f.Kubernetes.Servers[2].Node = "node7"
		}},
		{id: "H50", name: "loopback without a member on RKE2", level: OK, says: "RKE2 runs a proxy", change: func(f *Facts) {
			f.Kubernetes.Servers[2].Node = "node7"
			setFlag(f, 2, "etcd-cafile", "/var/lib/rancher/rke2/server/tls/etcd/server-ca.crt")
		}},
		{id: "H50", name: "learner", level: Critical, says: "is given https://10.0.0.3:2379, which is learner etcd-node2", mends: "member promote 12", change: func(f *Facts) {
			asLearner(2)(f)
			given(f, 0, all...)
		}},
		{id: "H50", name: "a name, and the members have addresses", change: givenAll("https://etcd.example:2379"), level: Unmeasured, says: "it is a name, and etcd-node2 is not known by one"},
		{id: "H50", name: "IPv6, and the members have IPv4", change: givenAll("https://[fd00::1]:2379"), level: Unmeasured, says: "it is an IPv6 address"},
		{id: "H50", name: "one name does not hide what is wrong", level: Critical, says: "etcd.example", change: func(f *Facts) {
			given(f, 0, "https://etcd.example:2379", "https://10.0.0.9:2379")
		}},
		{id: "H50", name: "a silent member is still one", level: OK, says: "on node node1 fails", change: func(f *Facts) { kill(f, 1) }},
		{id: "H50", name: "and does not hide another's fault", level: Critical, says: "10.0.0.9", change: func(f *Facts) {
			kill(f, 1)
			given(f, 0, "https://10.0.0.9:2379")
		}},
		{id: "H50", name: "a member's node is not known", level: OK, says: "the node of member node1 is not known", change: func(f *Facts) {
			f.Members[1].Pod, f.Members[1].View.Node, f.Members[1].View.Pod = nil, "", ""
		}},
		{id: "H50", name: "no list", change: noListAtAll, level: Unmeasured, says: noList},
		{id: "H50", name: "no URL", change: givenAll(), level: Unmeasured, says: "no URL"},
		{id: "H50", name: "a URL that is none", change: givenAll("unix:///run/etcd.sock"), level: Unmeasured, says: "no host"},
		{id: "H50", name: "events'", change: asEvents, level: OK, says: "node node0 fails with its member"},
		{id: "H50", name: "events' URL is none", level: Critical, says: "is given https://10.0.0.9:4002", change: func(f *Facts) {
			asEvents(f)
			override(f, 1, "https://10.0.0.9:4002")
		}},
	}
}

func overridesCases() []checkCase {
	raw := func(value string) func(*Facts) {
		return func(f *Facts) { f.Kubernetes.Servers[1].OverridesRaw = value }
	}
	many := func(f *Facts) {
		f.Kubernetes.Counts.Value["events"] = 5000
		f.Kubernetes.Nodes = Known(200)
	}
	return []checkCase{
		{id: "H51", name: "none", change: resize(3), level: OK, says: "events are 38% of 800 keys, on 20 nodes"},
		{id: "H51", name: "events apart", change: eventsApart, level: OK, says: "kube-apiserver-node2 has /events at https://127.0.0.1:4002"},
		{id: "H51", name: "two resources apart", level: OK, says: "all resources", change: raw("/events#https://a:1;https://b:1,coordination.k8s.io/leases#https://a:2")},
		{id: "H51", name: "commas between servers", level: Critical, says: "kube-apiserver-node1 can't start", mends: "--etcd-servers-overrides=/events#https://a:2379;https://b:2379,/pods#https://c:2379",
			change: raw("/events#https://a:2379,https://b:2379,/pods#https://c:2379")},
		{id: "H51", name: "no resource", change: raw("https://a:2379"), level: Critical, says: `"https://a:2379" is not group/resource#URL;URL`, mends: "commas between resources"},
		{id: "H51", name: "no group", change: raw("events#https://a:2379"), level: Critical, says: "not group/resource"},
		{id: "H51", name: "no server", change: raw("/events#"), level: Critical, says: "not group/resource"},
		{id: "H51", name: "a comma too many", change: raw("/events#https://a:2379,"), level: Critical, says: `"" is not`},
		{id: "H51", name: "apart in name only", level: Info, says: "leads to the etcd of all others", change: func(f *Facts) {
			override(f, 0, "https://127.0.0.1")
		}},
		{id: "H51", name: "mostly events", change: many, level: Info, says: "events are 91% of 5500 keys on 200 nodes", mends: "--etcd-servers-overrides=/events#"},
		{id: "H51", name: "mostly events, by our own limit", change: many, limits: []string{"events-share=95%"}, level: OK},
		{id: "H51", name: "mostly events, on few nodes", level: OK, says: "on 20 nodes", change: func(f *Facts) { f.Kubernetes.Counts.Value["events"] = 5000 }},
		{id: "H51", name: "mostly events, and they are apart", level: OK, says: "an etcd of their own have: /events", change: func(f *Facts) {
			many(f)
			eventsApart(f)
		}},
		{id: "H51", name: "events' own", level: OK, says: "an etcd of their own", change: func(f *Facts) {
			asEvents(f)
			f.Kubernetes.Nodes = Known(200)
		}},
		{id: "H51", name: "not counted", level: OK, says: "keys of events: 403", change: func(f *Facts) { f.Kubernetes.Counts = Unknown[map[string]int64]("403") }},
		{id: "H51", name: "nodes not counted", level: OK, says: "number of nodes: 403", change: func(f *Facts) { f.Kubernetes.Nodes = Unknown[int]("403") }},
	}
}

func agreementCases() []checkCase {
	return []checkCase{
		{id: "H52", name: "same", change: resize(3), level: OK, says: "3 API servers"},
		{id: "H52", name: "each its node's address", level: OK, change: func(f *Facts) {
			given(f, 1, "https://10.0.0.2:2379")
			given(f, 2, "https://10.0.0.3:2379")
		}},
		{id: "H52", name: "each its node's address, and no list", level: OK, change: func(f *Facts) {
			noListAtAll(f)
			given(f, 1, "https://10.0.0.2:2379")
		}},
		{id: "H52", name: "all, in another order", level: OK, change: func(f *Facts) {
			givenAll("https://10.0.0.1:2379", "https://10.0.0.2:2379", "https://10.0.0.3:2379")(f)
			given(f, 1, "https://10.0.0.3:2379", "https://127.0.0.1:2379", "https://10.0.0.1:2379/")
		}},
		{id: "H52", name: "one and all", level: Critical, says: "every member: kube-apiserver-node1", mends: "same flags", change: func(f *Facts) {
			given(f, 1, "https://10.0.0.1:2379", "https://10.0.0.2:2379", "https://10.0.0.3:2379")
		}},
		{id: "H52", name: "one has other members", level: Critical, says: "10.0.0.1 port 2379, 10.0.0.9 port 2379: kube-apiserver-node1", change: func(f *Facts) {
			given(f, 1, "https://10.0.0.9:2379", "https://10.0.0.1:2379")
		}},
		{id: "H52", name: "one member for all", change: givenAll("https://10.0.0.1:2379"), level: OK},
		{id: "H52", name: "the same name is the same", change: givenAll("https://etcd.example:2379"), level: OK},
		{id: "H52", name: "whose names they are is not known", level: OK, says: "kube-apiserver-node1: https://etcd-1.example:2379: it is a name", change: func(f *Facts) {
			given(f, 1, "https://etcd-1.example:2379")
		}},
		{id: "H52", name: "overrides", level: Critical, says: "none: kube-apiserver-node0, kube-apiserver-node2", change: func(f *Facts) {
			override(f, 1, "https://127.0.0.1:4002")
		}},
		{id: "H52", name: "overrides to the own node", level: OK, change: func(f *Facts) {
			eventsApart(f)
			override(f, 1, "https://10.0.0.2:4002")
		}},
		{id: "H52", name: "overrides in another order", level: OK, change: func(f *Facts) {
			for i := range f.Kubernetes.Servers {
				override(f, i, "https://10.1.0.1:2379", "https://10.1.0.2:2379")
			}
			override(f, 1, "https://10.1.0.2:2379", "https://10.1.0.1:2379")
		}},
		{id: "H52", name: "prefix", level: Critical, says: "--etcd-prefix /kubernetes: kube-apiserver-node2", change: func(f *Facts) {
			f.Kubernetes.Servers[2].Prefix = "/kubernetes"
		}},
		{id: "H52", name: "prefix, written otherwise", level: OK, change: func(f *Facts) { f.Kubernetes.Servers[2].Prefix = "registry/" }},
		{id: "H52", name: "encryption", level: Critical, says: "--encryption-provider-config none: kube-apiserver-node1", change: func(f *Facts) {
			setFlag(f, 1, "encryption-provider-config", "")
		}},
		{id: "H52", name: "encryption by the old flag", level: OK, change: func(f *Facts) {
			setFlag(f, 1, "experimental-encryption-provider-config", "/etc/kubernetes/encryption.yaml")
			delete(f.Kubernetes.Servers[1].Flags, "encryption-provider-config")
		}},
		{id: "H52", name: "compaction", level: Critical, says: "--etcd-compaction-interval 0s: kube-apiserver-node1", change: func(f *Facts) {
			setFlag(f, 1, "etcd-compaction-interval", "0")
		}},
		{id: "H52", name: "compaction, the default written out", level: OK, change: func(f *Facts) { setFlag(f, 1, "etcd-compaction-interval", "300s") }},
		{id: "H52", name: "one", change: func(f *Facts) { f.Kubernetes.Servers = f.Kubernetes.Servers[:1] }, level: OK, says: "1 API server"},
		{id: "H52", name: "a silent member", change: func(f *Facts) { kill(f, 1) }, level: OK},
		{id: "H52", name: "events'", change: asEvents, level: OK},
		{id: "H52", name: "one keeps its events in main", level: Critical, says: "none: kube-apiserver-node1", change: func(f *Facts) {
			asEvents(f)
			f.Kubernetes.Servers[1].Overrides, f.Kubernetes.Servers[1].OverridesRaw = nil, ""
		}},
	}
}

func encryptionCases() []checkCase {
	sampled := func(e Encryption) func(*Facts) { return func(f *Facts) { f.Kubernetes.Encryption = Known(e) } }
	notSampled := func(f *Facts) { f.Kubernetes.Encryption = Unknown[Encryption]("needs --deep") }
	return []checkCase{
		{id: "H53", name: "all", change: resize(3), level: OK, says: "all 40 Secrets"},
		{id: "H53", name: "by KMS", change: sampled(Encryption{Sampled: 9, By: map[string]int{"kms:v2:vault": 9}}), level: OK, says: "a restore needs the KMS key"},
		{id: "H53", name: "with two keys", level: Info, says: "with 2 keys", mends: rewriteSecrets,
			change: sampled(Encryption{Sampled: 9, By: map[string]int{"aescbc:v1:key1": 4, "aescbc:v1:key2": 5}})},
		{id: "H53", name: "plain", level: Warning, says: "all 9 that were looked at", mends: "--encryption-provider-config", change: func(f *Facts) {
			sampled(Encryption{Sampled: 9, Plain: 9})(f)
			unsetFlag(f, "encryption-provider-config")
		}},
		{id: "H53", name: "mixed", change: sampled(Encryption{Sampled: 9, Plain: 2, By: map[string]int{"aescbc:v1:key1": 7}}), level: Warning, says: "2 of 9", mends: rewriteSecrets},
		{id: "H53", name: "mixed, since one API server does not encrypt", level: Warning, says: "2 of 9", mends: "every API server the same", change: func(f *Facts) {
			sampled(Encryption{Sampled: 9, Plain: 2, By: map[string]int{"aescbc:v1:key1": 7}})(f)
			setFlag(f, 1, "encryption-provider-config", "")
		}},
		{id: "H53", name: "not sampled", change: notSampled, level: Unmeasured, says: "needs --deep"},
		{id: "H53", name: "not sampled, and not configured", level: Info, says: "no API server has --encryption-provider-config", change: func(f *Facts) {
			notSampled(f)
			unsetFlag(f, "encryption-provider-config")
		}},
		{id: "H53", name: "not sampled, and no API server seen", level: Unmeasured, says: "needs --deep", change: func(f *Facts) {
			notSampled(f)
			f.Kubernetes.Servers = nil
		}},
		{id: "H53", name: "no Secret", change: sampled(Encryption{}), level: Unmeasured, says: "no Secret"},
		{id: "H53", name: "events'", change: asEvents, level: Unmeasured, says: "in the main etcd"},
	}
}

func countsCases() []checkCase {
	count := func(resource string, n int64) func(*Facts) {
		return func(f *Facts) { f.Kubernetes.Counts.Value[resource] = n }
	}
	return []checkCase{
		{id: "H54", name: "all", change: resize(3), level: OK, says: "800 keys of 4 resources"},
		{id: "H54", name: "one fails", change: count("example.com/widgets", -1), level: Warning, says: "can't count example.com/widgets", mends: "kubectl logs"},
		{id: "H54", name: "what fails is no number of keys", level: Warning, says: "events are 50% of 600 keys", change: func(f *Facts) {
			f.Kubernetes.Counts = Known(map[string]int64{"events": 300, "pods": 300, "example.com/widgets": -1})
		}},
		{id: "H54", name: "mostly events", change: count("events", 5000), level: Info, says: "events are 91% of 5500 keys"},
		{id: "H54", name: "mostly events, by our own limit", change: resize(3), limits: []string{"events-share=30%"}, level: Info, says: "events are 38%"},
		{id: "H54", name: "events' own", change: asEvents, level: OK, says: "3000 keys of 1 resource"},
		{id: "H54", name: "a failure does not hide the others", level: Warning, says: "pods: 400", change: count("events", -1)},
		{id: "H54", name: "not counted", level: Unmeasured, says: "403", change: func(f *Facts) { f.Kubernetes.Counts = Unknown[map[string]int64]("403") }},
		{id: "H54", name: "nothing counted", level: Unmeasured, says: "no resource", change: func(f *Facts) { f.Kubernetes.Counts = Known(map[string]int64{}) }},
	}
}

func largeCases() []checkCase {
	with := func(sizes ...int64) func(*Facts) {
		return func(f *Facts) {
			f.Kubernetes.Large = Known([]Object{})
			for i, size := range sizes {
				f.Kubernetes.Large.Value = append(f.Kubernetes.Large.Value, Object{Key: fmt.Sprintf("/registry/secrets/default/s%d", i), Size: size})
			}
		}
	}
	return []checkCase{
		{id: "H55", name: "none", change: resize(3), level: OK, says: "/registry/configmaps/default/big, has 90 KiB"},
		{id: "H55", name: "half a MiB", change: with(1000, 512<<10), level: Warning, says: "s1 has 512 KiB", mends: "split it"},
		{id: "H55", name: "a MiB", change: with(600<<10, 1<<20), level: Critical, says: "s0 has 600 KiB"},
		{id: "H55", name: "by our own limit", change: resize(3), limits: []string{"object-size=64KiB"}, level: Warning, says: "90 KiB"},
		{id: "H55", name: "events'", level: Warning, says: "600 KiB", change: func(f *Facts) {
			asEvents(f)
			with(600 << 10)(f)
		}},
		{id: "H55", name: "not looked for", level: Unmeasured, says: "needs --deep", change: func(f *Facts) { f.Kubernetes.Large = Unknown[[]Object]("needs --deep") }},
		{id: "H55", name: "none was seen", change: with(), level: Unmeasured, says: "no object was seen"},
	}
}

func churnCases() []checkCase {
	busy := func(f *Facts) {
		set(f, 1, currentRevision+" 25000", "etcd_mvcc_put_total 23000", "etcd_mvcc_delete_total 1500", "etcd_mvcc_range_total 90010")
	}
	return []checkCase{
		{id: "H56", name: "quiet", change: resize(3), level: OK, says: "0 revisions a second"},
		{id: "H56", name: "some", level: OK, says: "etcd-node0: 9 puts, 1 deletes, 0 ranges, 0 txns a second", change: func(f *Facts) {
			set(f, 0, currentRevision+" 5100", "etcd_mvcc_put_total 4090", "etcd_mvcc_delete_total 510")
		}},
		{id: "H56", name: "much", change: busy, level: Info, says: "2000 revisions a second, by etcd-node1", mends: "kubectl etcd tail"},
		{id: "H56", name: "much is more by our own limit", change: busy, limits: []string{"revision-rate=5000"}, level: OK},
		{id: "H56", name: "one is silent", level: Info, says: "etcd-node2: no answer in 5s", change: func(f *Facts) {
			kill(f, 2)
			busy(f)
		}},
		{id: "H56", name: "started anew", level: OK, says: "etcd-node1: its process started anew", change: func(f *Facts) { set(f, 1, currentRevision+" 0") }},
		{id: "H56", name: "the look before failed", level: OK, says: "etcd-node1: EOF", change: func(f *Facts) {
			f.Members[1].Before = Unknown[*etcd.Metrics]("EOF")
		}},
		{id: "H56", name: "no such metric", level: OK, says: "shows no " + currentRevision, change: func(f *Facts) { drop(f, 1, currentRevision) }},
		{id: "H56", name: "one look", change: func(f *Facts) { f.Sample = 0 }, level: Unmeasured, says: "--sample"},
		{id: "H56", name: "no metrics", change: noMetrics, level: Unmeasured, says: "connection refused"},
		{id: "H56", name: "silence", change: killAll, level: Unmeasured, says: "no answer"},
	}
}

func backupsCases() []checkCase {
	captured := func(ago time.Duration) func(*Facts) {
		return func(f *Facts) { f.Archive.Value.LastCapture = noon.Add(-ago) }
	}
	jobs := func(jobs ...BackupJob) func(*Facts) {
		return func(f *Facts) {
			f.Archive = Unknown[Archive]("none was given")
			f.Kubernetes.Jobs = Known(jobs)
		}
	}
	return []checkCase{
		{id: "H57", name: "followed", change: resize(3), level: OK, says: "in archive /backup is 5s ago"},
		{id: "H57", name: "a day late", change: captured(26 * time.Hour), level: Warning, says: "26h0m ago", mends: "agent manifest"},
		{id: "H57", name: "three days late", change: captured(80 * time.Hour), level: Critical, says: "80h0m ago"},
		{id: "H57", name: "late by our own limit", change: captured(5 * time.Minute), limits: []string{"backup-age=1m"}, level: Warning},
		{id: "H57", name: "never read back", level: Info, says: "never read back", mends: "kubectl etcd verify --archive /backup", change: func(f *Facts) {
			f.Archive.Value.LastVerify = time.Time{}
		}},
		{id: "H57", name: "late and never read back", level: Warning, says: "never read back", mends: "--follow", change: func(f *Facts) {
			captured(26 * time.Hour)(f)
			f.Archive.Value.LastVerify = time.Time{}
		}},
		{id: "H57", name: "an archive of nothing", level: Warning, says: "holds no moment", mends: "backup --follow", change: func(f *Facts) {
			f.Archive = Known(Archive{Location: "/backup"})
		}},
		{id: "H57", name: "job", change: jobs(backupJob(time.Hour, 6*time.Hour)), level: OK, says: "CronJob kube-system/etcd-backup succeeded 1h0m ago, and is due every 6h0m"},
		{id: "H57", name: "job missed", change: jobs(backupJob(12*time.Hour, 6*time.Hour)), level: Warning, says: "12h0m ago"},
		{id: "H57", name: "job missed twice", change: jobs(backupJob(time.Hour, 6*time.Hour), backupJob(18*time.Hour, 6*time.Hour)), level: Critical, says: "18h0m ago"},
		{id: "H57", name: "job without an interval", change: jobs(backupJob(26*time.Hour, 0)), level: Warning, says: "how often it is due is not known"},
		{id: "H57", name: "job that never succeeded", change: jobs(BackupJob{Kind: "CronJob", Namespace: "a", Name: "b"}), level: Warning, says: "CronJob a/b has never succeeded"},
		{id: "H57", name: "none", change: jobs(), level: Warning, says: "Velero, can't be seen", mends: "kubectl etcd backup --follow"},
		{id: "H57", name: "none of the events'", level: Info, says: "what is lost with it are events", change: func(f *Facts) {
			asEvents(f)
			jobs()(f)
		}},
		{id: "H57", name: "without Kubernetes, with an archive", change: withoutKubernetes, level: OK, says: "5s ago"},
		{id: "H57", name: "without either", level: Unmeasured, says: "backup jobs: reached by --endpoints", change: func(f *Facts) {
			jobs()(f)
			withoutKubernetes(f)
		}},
		{id: "H57", name: "an application's, with an archive", change: as(""), level: OK, says: "5s ago"},
		{id: "H57", name: "an application's, without", level: Unmeasured, says: foreignEtcd, change: func(f *Facts) {
			jobs()(f)
			as("")(f)
		}},
		{id: "H57", name: "jobs can't be listed", level: Unmeasured, says: "backup jobs: 403", change: func(f *Facts) {
			jobs()(f)
			f.Kubernetes.Jobs = Unknown[[]BackupJob]("403")
		}},
		{id: "H57", name: "silent members don't matter", change: killAll, level: OK, says: "5s ago"},
	}
}

func podsCases() []checkCase {
	ended := func(ago time.Duration, reason string) func(*Facts) {
		return func(f *Facts) {
			f.Members[1].Pod.Restarts, f.Members[1].Pod.LastEnd, f.Members[1].Pod.LastReason = 3, noon.Add(-ago), reason
		}
	}
	return []checkCase{
		{id: "H58", name: "kubeadm's", change: resize(3), level: OK, says: "etcd-node1 requests 0.1 of a core"},
		{id: "H58", name: "RKE2's class", change: func(f *Facts) { f.Members[1].Pod.PriorityClass = "system-cluster-critical" }, level: OK},
		{id: "H58", name: "no class", level: Warning, says: "etcd-node1 has priority class none", mends: "system-node-critical", change: func(f *Facts) {
			f.Members[1].Pod.PriorityClass = ""
		}},
		{id: "H58", name: "ended today", change: ended(2*time.Hour, "Error"), level: Warning, says: "etcd-node1 ended 2h0m ago: Error; 3 restarts in all", mends: "--previous"},
		{id: "H58", name: "killed for memory today", change: ended(2*time.Hour, "OOMKilled"), level: Warning, says: "OOMKilled", mends: "memory"},
		{id: "H58", name: "ended long ago", change: ended(48*time.Hour, "Error"), level: OK, says: "ended 48h0m ago"},
		{id: "H58", name: "long ago is less by our own limit", change: ended(48*time.Hour, "Error"), limits: []string{"restart-window=72h"}, level: Warning},
		{id: "H58", name: "killed for memory long ago", change: ended(48*time.Hour, "OOMKilled"), level: Info, says: "OOMKilled"},
		{id: "H58", name: "ended at a time that is not known", level: OK, says: "etcd-node1 has 1 restart;", change: func(f *Facts) { f.Members[1].Pod.Restarts = 1 }},
		{id: "H58", name: "a silent member has a pod", level: Warning, says: "OOMKilled", change: func(f *Facts) {
			ended(time.Minute, "OOMKilled")(f)
			kill(f, 1)
		}},
		{id: "H58", name: "one pod is not known", level: Warning, says: "etcd-node0: its pod is not known", change: func(f *Facts) {
			f.Members[0].Pod = nil
			ended(time.Minute, "Error")(f)
		}},
		{id: "H58", name: "no pod is known", level: Unmeasured, says: "its pod is not known", change: func(f *Facts) {
			for i := range f.Members {
				f.Members[i].Pod = nil
			}
		}},
	}
}

// TestMostKeys: ten of them, and what could not be counted is none.
func TestMostKeys(t *testing.T) {
	counts := map[string]int64{"failed": -1}
	for i := range 12 {
		counts[fmt.Sprintf("r%02d", i)] = int64(i)
	}
	got := mostKeys(counts)
	if len(got) != 10 || got[0] != "r11" || got[9] != "r02" {
		t.Errorf("%q", got)
	}
}

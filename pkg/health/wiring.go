package health

import "cmp"

// wiringChecks are those of how Kubernetes uses its etcd, and how it looks after it.
func wiringChecks() []Check {
	return []Check{
		{
			ID: "H50", Title: "API servers' etcd", Category: Wiring, judge: judgeEtcdServers,
			Measures: "--etcd-servers of each API server (for an etcd of its own: the override) against the members' client URLs, their learners and their nodes",
			Source:   "kubeadm (each API server has its node's member); client/v3 resolver (round_robin over all URLs)",
			Remedy:   "name members' client URLs alone in --etcd-servers of that API server; kubeadm: /etc/kubernetes/manifests/kube-apiserver.yaml",
		},
		{
			ID: "H51", Title: "etcd for single resources", Category: Wiring, judge: judgeOverrides, Limits: []string{"events-share", "events-nodes"},
			Measures: "--etcd-servers-overrides as kube-apiserver reads it; events among all keys, and nodes",
			Source:   "kube-apiserver --help (servers are separated by semicolons); kubernetes #18819 (50 nodes); kubespray #2385 (the same disk gains nothing)",
			Remedy:   "write it as group/resource#URL;URL, with commas between resources alone",
		},
		{
			ID: "H52", Title: "API servers agree", Category: Wiring, judge: judgeServersAgree,
			Measures: "what of etcd each API server uses, its overrides, prefix, encryption file and compaction interval; what is in a file can't be seen",
			Source:   "kube-apiserver --help: one Kubernetes has one storage",
			Remedy:   "give all API servers the same flags; kubeadm: kubeadm init phase control-plane apiserver on each node, from the ClusterConfiguration",
		},
		{
			ID: "H53", Title: "encryption at rest", Category: Wiring, judge: judgeEncryption,
			Measures: "the first bytes of sampled Secrets in etcd, and --encryption-provider-config",
			Source:   "kubernetes.io, Encrypting Confidential Data at Rest",
			Remedy:   "give every API server the same --encryption-provider-config, then write each Secret anew: " + rewriteSecrets,
		},
		{
			ID: "H54", Title: "keys by resource", Category: Wiring, judge: judgeCounts, Limits: []string{"events-share"},
			Measures: "keys of each resource, from the API server's metrics or counted in etcd",
			Source:   "kube-apiserver metric apiserver_resource_objects (-1: the count failed); the share is ours",
			Remedy:   "see the API server's log for why it can't list that resource: kubectl logs of its pod",
		},
		{
			ID: "H55", Title: "large objects", Category: Wiring, judge: judgeLarge, Limits: []string{"object-size", "object-size-critical"},
			Measures: "the largest values in etcd",
			Source:   "etcd --max-request-bytes (1.5 MiB for a whole request); the numbers are ours",
			Remedy:   "split it, or keep what is in it elsewhere: see who writes it with kubectl get -o yaml --show-managed-fields",
		},
		{
			ID: "H56", Title: "churn", Category: Wiring, judge: judgeChurn, Limits: []string{"revision-rate"},
			Measures: "revisions, puts, deletes and ranges a second, of each member, between two looks at its metrics",
			Source:   "server/v3 mvcc metrics; the number is ours",
			Remedy:   "kubectl etcd tail shows which keys change",
		},
		{
			ID: "H57", Title: "backups", Category: Wiring, judge: judgeBackups,
			Limits:   []string{"backup-age", "backup-age-critical", "backup-late", "backup-late-critical"},
			Measures: "the newest moment in the archive, else the last success of what in the cluster backs etcd up",
			Source:   kubeClusters + " (back up periodically); Gardener (2 and 3 times the interval); the ages are ours",
			Remedy:   makeBackups,
		},
		{
			ID: "H58", Title: "members' pods", Category: Wiring, judge: judgePods, Limits: []string{"restart-window"},
			Measures: "priority class, last end and CPU request of each member's pod",
			Source:   "kubeadm (system-node-critical); kubernetes.io, Guaranteed Scheduling For Critical Add-On Pods; the time is ours",
			Remedy:   "see why it ended: kubectl logs --previous of its pod",
		},
	}
}

const (
	rewriteSecrets = "kubectl get secrets -A -o json | kubectl replace -f -"
	makeBackups    = "kubectl etcd backup --follow, whose whole command kubectl etcd keygen names; as a pod: kubectl etcd agent manifest --help"
)

func wiringLimits() []Limit {
	const hour = 3600
	return []Limit{
		{"events-share", 0.5, Share, "H51", Info, "ours"},
		{"events-nodes", 50, Count, "H51", Info, "kubernetes #18819"},
		{"object-size", 512 << 10, Bytes, "H55", Warning, "ours: a third of etcd's limit of a request"},
		{"object-size-critical", 1 << 20, Bytes, "H55", Critical, "ours: two thirds of etcd's limit of a request"},
		{"revision-rate", 1000, Count, "H56", Info, "ours"},
		{"backup-age", 25 * hour, Duration, "H57", Warning, "ours: a daily backup, an hour late"},
		{"backup-age-critical", 72 * hour, Duration, "H57", Critical, "ours: three daily backups missed"},
		{"backup-late", 2, Count, "H57", Warning, "Gardener, of the interval"},
		{"backup-late-critical", 3, Count, "H57", Critical, "Gardener, of the interval"},
		{"restart-window", 24 * hour, Duration, "H58", Warning, "ours"},
	}
}

// mainEtcd is what Kubernetes.Serves calls the etcd of --etcd-servers.
const mainEtcd = "main"

const foreignEtcd = "it serves no API server of this Kubernetes"

// wired is Kubernetes' side of an etcd that is its own; nil, and noted why: there is none.
func (f *Facts) wired(o *outcome) *Kubernetes {
	switch {
	case f.Kubernetes == nil:
		o.unknown("", f.WithoutKubernetes)
		return nil
	case f.Kubernetes.Serves == "":
		o.unknown("", foreignEtcd)
		return nil
	}
	return f.Kubernetes
}

// apiServers are those that use this etcd; none, and noted why: nothing is known of them.
func (f *Facts) apiServers(o *outcome) []APIServer {
	k := f.wired(o)
	if k == nil {
		return nil
	}
	if len(k.Servers) == 0 {
		o.unknown("", "no pod of a kube-apiserver was seen")
	}
	return k.Servers
}

// name is what people know an API server by.
func (s APIServer) name() string { return cmp.Or(s.Pod, s.Node) }

// encryptionFile is --encryption-provider-config; empty: it has none.
func (s APIServer) encryptionFile() string {
	return cmp.Or(s.Flags["encryption-provider-config"], s.Flags["experimental-encryption-provider-config"])
}

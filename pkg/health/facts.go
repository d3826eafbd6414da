package health

import (
	"context"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// Fact is something that was measured, or why it was not.
type Fact[T any] struct {
	Value   T
	Because string // why there is no Value; empty: there is one
}

// Known is a fact that was measured.
func Known[T any](value T) Fact[T] { return Fact[T]{Value: value} }

// Unknown is one that was not, and why, in few words.
func Unknown[T any](because string) Fact[T] { return Fact[T]{Because: because} }

// Known tells whether it was measured.
func (f Fact[T]) Known() bool { return f.Because == "" }

// Facts are what one etcd cluster, and what is around it, showed at about one moment.
type Facts struct {
	At     time.Time
	Sample time.Duration // between the two looks at counts; 0: there was one
	// Overview is what status shows.
	Overview etcd.Overview
	// Members has one for each row of Overview, in that order.
	Members []Member
	// Kubernetes is nil where etcd was reached without it.
	Kubernetes *Kubernetes
	// WithoutKubernetes says why, where it is nil.
	WithoutKubernetes string
	Archive           Fact[Archive]
	Deep              bool // the costly questions were asked too
}

// Member is one member, or a pod that is in no list.
type Member struct {
	View etcd.MemberView
	// Statuses are its answers, the first and, where something was unsteady, later ones about
	// a second apart. Empty: it did not answer.
	Statuses []etcd.Status
	List     Fact[[]etcd.Member] // as this member has it
	// Before and Now are its metrics, Sample apart; without a sample there is only Now.
	Before, Now Fact[*etcd.Metrics]
	Vars        Fact[etcd.Vars] // what its process says of itself
	Reads       Fact[Reads]
	Clock       Fact[Clock]
	Ready       Fact[map[string]bool] // the checks of /livez and /readyz, by name: did it pass?
	Hash        Fact[etcd.Hash]
	Pod         *Pod // nil: there is none, or none is known
	// Settings are what its process runs with, by flag name: from the pod, the environment,
	// the file, the process or its log. A flag that is not there has etcd's default.
	Settings Fact[map[string]string]
	// Pending are settings of the pod's spec that its process does not run with: flag → "spec ≠ process".
	Pending map[string]string
	// PeerCertificates are those of its peer port; Unknown where it can't be reached.
	PeerCertificates Fact[[]etcd.Certificate]
}

// Name is what people know it by.
func (m Member) Name() string {
	if m.View.Pod != "" {
		return m.View.Pod
	}
	return m.View.Name
}

// silent is why a member that did not answer has no facts; empty: it did.
func (m Member) silent() string {
	switch {
	case m.View.Status != nil:
		return ""
	case m.View.Error != "":
		return m.View.Error
	}
	return "it does not answer"
}

// Reads are how long small reads through a member took, over an open connection.
type Reads struct {
	Linearizable, Serializable []time.Duration // sorted
}

// Clock is a member's clock against ours: ours was between Asked and Answered while its own
// showed At, which has no more than whole seconds.
type Clock struct {
	At, Asked, Answered time.Time
}

// Pod is the pod of a member.
type Pod struct {
	Name, Node, Zone string
	NodeReady, Ready bool
	Started          time.Time
	Restarts         int32
	LastEnd          time.Time // of the container before this one; zero: there was none
	LastReason       string    // "OOMKilled"
	PriorityClass    string
	CPURequest       float64 // cores; 0: none
	MemoryLimit      int64   // bytes; 0: none
	NodeMemory       int64   // allocatable bytes of its node; 0: unknown
}

// Kubernetes is what the API server's side shows.
type Kubernetes struct {
	Servers []APIServer
	// Serves tells whether this etcd is that of these API servers, and in which role:
	// "main", "events", or empty for an etcd of somebody else's.
	Serves string
	// Metrics are those of the one API server that the kubeconfig leads to; Again reads them
	// anew, and Before are then those from before the sample.
	Before, Metrics Fact[*etcd.Metrics]
	Again           func(ctx context.Context) Fact[*etcd.Metrics]
	Encryption      Fact[Encryption]
	Counts          Fact[map[string]int64] // keys by resource, as kubectl takes it: "deployments.apps"
	Large           Fact[[]Object]         // the largest values
	Jobs            Fact[[]BackupJob]
	Nodes           Fact[int]
}

// APIServer is one kube-apiserver.
type APIServer struct {
	Pod, Node    string
	EtcdServers  []string
	Overrides    map[string][]string // "/events" → URLs
	OverridesRaw string              // --etcd-servers-overrides as it is written
	Prefix       string              // "/registry"
	Flags        map[string]string
}

// Encryption is how sampled Secrets are stored.
type Encryption struct {
	Sampled int
	Plain   int
	By      map[string]int // provider, as "aescbc:v1:key1" → values
}

// Object is a key and the size of its value, in bytes.
type Object struct {
	Key  string
	Size int64
}

// BackupJob is something in the cluster that backs etcd up.
type BackupJob struct {
	Kind, Namespace, Name string
	LastSuccess           time.Time     // zero: never
	Every                 time.Duration // 0: unknown
}

// Archive is what the archive that was given holds of this cluster.
type Archive struct {
	Location    string
	LastBase    time.Time
	LastCapture time.Time // the newest moment that can be restored
	LastVerify  time.Time // zero: never
}

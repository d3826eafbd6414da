// Package tune says which of etcd's settings suit a cluster's network and disks.
//
// It is given Facts and does no I/O. Its one idea: what was not measured stays unknown,
// with the reason, and nothing that hangs on it is called well.
package tune

import (
	"cmp"
	"time"
)

// Fact is something that was found out, or why it was not. Its zero value is unknown.
type Fact[T any] struct {
	Value   *T     `json:"value,omitempty"`
	Missing string `json:"notMeasured,omitempty"` // why there is no Value
}

// Known is a fact that was found out.
func Known[T any](value T) Fact[T] { return Fact[T]{Value: &value} }

// Unknown is a fact that was not, and why.
func Unknown[T any](reason string) Fact[T] { return Fact[T]{Missing: reason} }

func (f Fact[T]) why() string { return cmp.Or(f.Missing, "nobody looked") }

// Facts are what is known of one cluster.
type Facts struct {
	Members []Member `json:"members"`
	RTTs    []RTT    `json:"rtts"`
	// Kubernetes: it holds a Kubernetes key space.
	Kubernetes Fact[bool] `json:"kubernetes"`
	// Compaction is kube-apiserver's --etcd-compaction-interval; 0: it doesn't compact.
	Compaction Fact[time.Duration] `json:"apiServerCompaction"`
}

// Member is one member, and how it was started.
type Member struct {
	Name    string `json:"name"`
	Node    string `json:"node,omitempty"`
	Leader  bool   `json:"leader"`
	Learner bool   `json:"learner"`
	Version string `json:"version,omitempty"` // "3.7.3"; empty: not known
	// Settings are what its specification sets: the next start takes them.
	Settings Settings `json:"settings,omitempty"`
	Unread   string   `json:"settingsNotRead,omitempty"` // why there are no Settings; empty: they were read
	// Running is what is known of the process that runs, from its command line; nil: nothing,
	// and Settings are taken for it.
	Running Settings `json:"running,omitempty"`
	// Logged is what the process said of itself when it started; nil: that was not read.
	// It counts where it differs from the above.
	Logged Settings            `json:"logged,omitempty"`
	Fsync  Fact[time.Duration] `json:"fsyncP99"`  // of etcd_disk_wal_fsync_duration_seconds
	Commit Fact[time.Duration] `json:"commitP99"` // of etcd_disk_backend_commit_duration_seconds
	DBSize Fact[int64]         `json:"dbSize"`    // bytes
}

// Settings are by flag name without dashes ("heartbeat-interval").
type Settings map[string]Setting

// Setting is a value and where it stands.
type Setting struct {
	Value string `json:"value"`
	From  Origin `json:"from"`
}

// Origin is where a setting was read.
type Origin string

// The origins. A value that nobody set is the default of the member's version.
const (
	FromFlag        Origin = "flag"
	FromScript      Origin = "script"      // a flag in a shell script
	FromEnvironment Origin = "environment" // ETCD_*
	FromFile        Origin = "file"        // --config-file, beside which etcd reads neither flags nor environment
	FromConfigMap   Origin = "configmap"   // of the environment, or a file
	FromProcess     Origin = "process"     // the running process' command line
	FromLog         Origin = "log"         // its line "starting an etcd server"
	FromDefault     Origin = "default"
)

// RTT is the time of a round trip between two members, by their names.
type RTT struct {
	From       string              `json:"from"`
	To         string              `json:"to"`
	P50        Fact[time.Duration] `json:"p50"`
	P99        Fact[time.Duration] `json:"p99"`
	Samples    int                 `json:"samples"`
	Method     Method              `json:"method"`
	Confidence string              `json:"confidence,omitempty"` // the probe's own words
	// Unreliable: what was measured varies as much as it comes to. Nothing goes by it.
	Unreliable bool `json:"unreliable,omitempty"`
}

// Method is how a round trip was measured.
type Method string

// The methods, best first.
const (
	MethodConnect   Method = "connect"   // a TCP connect takes one, without TLS and disk
	MethodReadIndex Method = "readindex" // linearizable reads less others; pairs with the leader only
	MethodMetric    Method = "metric"    // etcd's own, corrected: of all the time since it started, rather too long (etcd-io/etcd#17837)
	MethodSimulated Method = "simulated" // somebody's word
)

var methods = []Method{MethodConnect, MethodReadIndex, MethodMetric, MethodSimulated}

// voters are the members that take part in elections.
func (f Facts) voters() []Member {
	var voters []Member
	for _, m := range f.Members {
		if !m.Learner {
			voters = append(voters, m)
		}
	}
	return voters
}

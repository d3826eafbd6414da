package tune

import (
	"maps"
	"slices"
	"strings"
)

// Removal is a flag that is set, and that a version of etcd doesn't have any more.
type Removal struct {
	Flag    string `json:"flag"`
	In      Minor  `json:"removedIn"`
	Instead string `json:"instead,omitempty"` // empty: nothing takes its place
	From    Origin `json:"from"`
	Level   Level  `json:"level"`
	Reason  string `json:"reason"`
}

// removal is a flag's end. Each was looked up in the flag sets of 3.5.35, 3.6.16, 3.7.3 and
// 3.8.0-alpha.0.
type removal struct {
	in      Minor
	instead string
}

// becameGates are 3.6's features.ExperimentalFlagToFeatureMap.
func becameGates() map[string]string {
	return map[string]string{
		"experimental-stop-grpc-service-on-defrag":       "StopGRPCServiceOnDefrag",
		"experimental-initial-corrupt-check":             "InitialCorruptCheck",
		"experimental-compact-hash-check-enabled":        "CompactHashCheck",
		"experimental-txn-mode-write-with-shared-buffer": "TxnModeWriteWithSharedBuffer",
		"experimental-enable-lease-checkpoint":           "LeaseCheckpoint",
		"experimental-enable-lease-checkpoint-persist":   "LeaseCheckpointPersist",
	}
}

// lostPrefix are those that 3.7 has without "experimental-".
func lostPrefix() []string {
	return []string{
		"bootstrap-defrag-threshold-megabytes", "compact-hash-check-time", "compaction-batch-limit",
		"compaction-sleep-interval", "corrupt-check-time", "distributed-tracing-address",
		"distributed-tracing-instance-id", "distributed-tracing-sampling-rate", "distributed-tracing-service-name",
		"downgrade-check-time", "enable-distributed-tracing", "memory-mlock", "peer-skip-client-san-verification",
		"snapshot-catchup-entries", "warning-apply-duration", "warning-unary-request-duration",
		"watch-progress-notify-interval",
	}
}

// removals are by flag. --snapshot-count is none of them: 3.8 was to remove it and keeps it
// (etcd-io/etcd#21162), while --max-snapshots and --v2-deprecation go (#22306).
func removals() map[string]removal {
	all := map[string]removal{
		"discovery":       {7, "--discovery-endpoints and --discovery-token"},
		"discovery-proxy": {7, ""},
		"max-snapshots":   {8, ""},
		"v2-deprecation":  {8, ""},
	}
	for _, name := range []string{
		"enable-v2", "experimental-enable-v2v3", "proxy", "proxy-dial-timeout", "proxy-failure-wait",
		"proxy-read-timeout", "proxy-refresh-interval", "proxy-write-timeout",
	} {
		all[name] = removal{6, ""}
	}
	for name, gate := range becameGates() {
		all[name] = removal{7, "--feature-gates=" + gate + "=true"}
	}
	for _, name := range lostPrefix() {
		all["experimental-"+name] = removal{7, "--" + name}
	}
	return all
}

// Lint finds the settings that a version doesn't have any more, and those that the next one
// won't. A removed flag keeps etcd from starting; in the environment or a config file it is
// passed over, and what it did is off.
func Lint(settings Settings, target Minor) []Removal {
	all := removals()
	var found []Removal
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		gone, known := all[name]
		if !known && strings.HasPrefix(name, "experimental-") {
			gone, known = removal{7, ""}, true // of an older version still
		}
		if !known || gone.in > target+1 {
			continue
		}
		set := settings[name]
		if gate := becameGates()[name]; gate != "" {
			gone.instead = "--feature-gates=" + gate + "=" + set.Value
		}
		found = append(found, newRemoval(name, set.From, gone, target))
	}
	return found
}

func newRemoval(name string, from Origin, gone removal, target Minor) Removal {
	r := Removal{Flag: name, In: gone.in, Instead: gone.instead, From: from}
	passedOver := from == FromEnvironment || from == FromConfigMap || from == FromFile
	switch {
	case gone.in > target:
		r.Level, r.Reason = LevelSuggest, "etcd "+gone.in.String()+" removes it"
	case passedOver:
		r.Level, r.Reason = LevelWarning, "etcd "+target.String()+" passes over it, and starts without it"
	default:
		r.Level, r.Reason = LevelCritical, "etcd "+target.String()+" does not start with it: flag provided but not defined"
	}
	return r
}

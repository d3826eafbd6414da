package discover

import (
	"maps"
	"slices"
	"strings"
)

// Settings are etcd's settings by flag name without dashes ("quota-backend-bytes"),
// gathered the way etcd itself reads them: flags before ETCD_* environment, and a
// config file in place of both.
//
// $(VAR) and, in scripts, ${VAR} are replaced where the pod says what they hold.
type Settings map[string]Setting

// Setting is one value and where it stands.
type Setting struct {
	Value string
	From  Origin
}

// Origin is where a setting was read.
type Origin string

// The five ways in which etcd's settings arrive.
const (
	FromFlag   Origin = "flag"
	FromScript Origin = "script"      // a flag inside a shell script
	FromEnv    Origin = "environment" // ETCD_*
	FromFile   Origin = "file"        // --config-file: the values themselves are on the node's disk
	FromConfig Origin = "configmap"
)

// readSettings gathers the settings of an etcd process from its environment, then
// from its script, then from its flags: the later wins.
func readSettings(p process) Settings {
	run, _ := p.etcd()
	settings, origin, env := Settings{}, FromFlag, maps.Clone(p.env)
	settings.addEnv(p.configMap, FromConfig)
	settings.addEnv(p.env, FromEnv)
	if run.script {
		origin = FromScript
		for name, value := range run.env {
			env[name] = expandVariables(value, p.env)
			settings.addEnv(map[string]string{name: env[name]}, FromScript)
		}
	}
	for _, f := range parseFlags(run.args) {
		value := f.value
		if run.script {
			value = expandVariables(value, env)
		}
		settings[f.name] = Setting{value, origin}
	}
	return settings.orFile(p.config)
}

// addEnv adds what ETCD_* variables set. etcd takes an empty one for unset.
func (s Settings) addEnv(env map[string]string, from Origin) {
	for variable, value := range env {
		if name, ok := settingOf(variable); ok && value != "" {
			s[name] = Setting{value, from}
		}
	}
}

// settingOf maps ETCD_QUOTA_BACKEND_BYTES to quota-backend-bytes, as package flags of
// etcd does the other way round. Distributions use the prefix for things of their own;
// those that hold a password never become a setting.
func settingOf(variable string) (string, bool) {
	name, ok := strings.CutPrefix(variable, "ETCD_")
	foreign := name == "" || slices.Contains(foreignVariables, name) ||
		strings.HasPrefix(name, "MANAGER_") || strings.Contains(name, "PASSWORD")
	return strings.ToLower(strings.ReplaceAll(name, "_", "-")), ok && !foreign
}

// foreignVariables are what OpenShift, and then Bitnami's scripts (rootfs/opt/bitnami/scripts/etcd-env.sh),
// call after etcd, less ETCD_.
var foreignVariables = []string{
	"IMAGE", "STATIC_POD_VERSION",
	"ON_K8S", "CLUSTER_DOMAIN", "START_FROM_SNAPSHOT", "DISASTER_RECOVERY", "INIT_SNAPSHOT_FILENAME",
	"INIT_SNAPSHOTS_DIR", "SNAPSHOTS_DIR", "SNAPSHOT_HISTORY_LIMIT", "DISABLE_STORE_MEMBER_ID", "DISABLE_PRESTOP",
	"VOLUME_DIR", "CONF_FILE",
}

// orFile is s, or only the config file where there is one: etcd then ignores flags
// and environment. What it holds is known where config can read it.
func (s Settings) orFile(config func(path string) Settings) Settings {
	file, ok := s["config-file"]
	if !ok {
		return s
	}
	settings := Settings{"config-file": {file.Value, FromFile}}
	if config != nil {
		maps.Copy(settings, config(file.Value))
	}
	return settings
}

// isTrue: the setting is there and on.
func (s Settings) isTrue(name string) bool {
	value := s[name].Value
	return value == "true" || value == "1" || strings.EqualFold(value, "t")
}

package discover

// Settings are etcd's settings by flag name without dashes ("quota-backend-bytes"),
// gathered the way etcd itself reads them: flags before ETCD_* environment, and a
// config file in place of both.
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

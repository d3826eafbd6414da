package tune

import (
	"fmt"
	"regexp"
	"strconv"
)

// Minor is a minor version of etcd 3: 7 is 3.7.
type Minor int

// The versions whose flags and defaults are known here.
const (
	oldest Minor = 4
	newest Minor = 8
)

// featureGates is where --feature-gates came, and where flags lost their "experimental-".
const featureGates Minor = 6

// ungated tells whether a version has flags for what are feature gates later: 3.6 knows both,
// and does not start with both (embed SetFeatureGatesFromExperimentalFlags).
func ungated(version string) bool {
	minor, err := ParseMinor(version)
	return err != nil || minor < featureGates
}

// hashChecked tells whether a version has --experimental-compact-hash-check-enabled: from 3.5.5 on.
func hashChecked(version string) bool {
	return ungated(version) && !tooOldForHashes.MatchString(version)
}

var tooOldForHashes = regexp.MustCompile(`^v?3\.5\.[0-4](?:[.+-].*)?$`)

var versionText = regexp.MustCompile(`^v?3\.([0-9]{1,3})(?:[.+-].*)?$`)

// ParseMinor reads "3.7", "3.7.3" or "v3.8.0-alpha.0".
func ParseMinor(text string) (Minor, error) {
	match := versionText.FindStringSubmatch(text)
	if match == nil {
		return 0, fmt.Errorf("parse etcd version %q: it is not like 3.7", text)
	}
	n, err := strconv.Atoi(match[1])
	if err != nil {
		return 0, fmt.Errorf("parse etcd version %q: %w", text, err)
	}
	return Minor(n), nil
}

func (m Minor) String() string { return fmt.Sprintf("3.%d", int(m)) }

// MarshalText gives "3.7".
func (m Minor) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// since is a default from a minor version on.
type since struct {
	from  Minor
	value string
}

// at is the default in a version, false for a version that is not known here.
func at(defaults []since, minor Minor) (value string, ok bool) {
	if minor < oldest || minor > newest {
		return "", false
	}
	for _, d := range defaults {
		if d.from <= minor {
			value, ok = d.value, true
		}
	}
	return value, ok
}

package restore

import (
	"fmt"
	"slices"
	"strings"

	"github.com/coreos/go-semver/semver"
	bolt "go.etcd.io/bbolt"
)

// targetVersions are the minors that restored data was started on.
var targetVersions = []string{"3.4", "3.5", "3.6", "3.7"}

// setVersion takes the minor from the options, else the snapshot's own: its storage
// version, which 3.6 brought, else its cluster version, which 3.5 brought.
func (p *Plan) setVersion(options Options) error {
	p.TargetVersion = options.TargetVersion
	if p.TargetVersion == "" {
		p.TargetVersion = minor(p.Snapshot.Contents.StorageVersion)
	}
	if p.TargetVersion == "" {
		p.TargetVersion = minor(p.Snapshot.Version)
	}
	if p.TargetVersion == "" && options.TargetVersion == "" {
		return nil
	}
	if !slices.Contains(targetVersions, p.TargetVersion) {
		return fmt.Errorf("target version %q: known are %s", p.TargetVersion, strings.Join(targetVersions, ", "))
	}
	return nil
}

// minor is "3.6" of "3.6.0", and empty where there is none.
func minor(version string) string {
	v, err := semver.NewVersion(version)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%d.%d", v.Major, v.Minor)
}

// setVersion makes the data one that target starts with. etcd refuses data of a newer
// minor than its own: 3.6 by the storage version, which older minors do not know, all
// by the cluster version. Data of an older minor it upgrades by itself. A downgrade that
// was under way in the old cluster is not in the new one.
func setVersion(tx *bolt.Tx, target string) error {
	if cluster := tx.Bucket([]byte(clusterBucket)); cluster != nil {
		if err := cluster.Delete([]byte(downgradeKey)); err != nil {
			return err
		}
		if newer(string(cluster.Get([]byte(clusterVersionKey))), target) {
			if err := cluster.Delete([]byte(clusterVersionKey)); err != nil {
				return err
			}
		}
	}
	meta := tx.Bucket([]byte(metaBucket))
	switch {
	case !newer(string(meta.Get([]byte(storageVersionKey))), target):
		return nil
	case target < "3.6":
		return meta.Delete([]byte(storageVersionKey))
	}
	return meta.Put([]byte(storageVersionKey), []byte(target+".0"))
}

// newer says whether version ("3.7.0", or empty) is of a later minor than target ("3.6").
func newer(version, target string) bool {
	v, err := semver.NewVersion(version)
	if err != nil {
		return false
	}
	return semver.New(target + ".0").LessThan(semver.Version{Major: v.Major, Minor: v.Minor})
}

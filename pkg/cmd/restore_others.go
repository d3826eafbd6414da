package cmd

import (
	"path/filepath"
	"strconv"
	"strings"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
)

// other is a member of the new cluster that a plan leaves to be made by itself.
type other struct {
	Name    string   `json:"name"`
	Command []string `json:"command"` // makes it, to one cluster with what this plan makes
}

// others are the commands that complete a plan of one member. There are none for a plan
// that was given its token: it is itself one of them.
func (o *restoreOptions) others(plan *restore.Plan) []other {
	if plan.Complete() || o.token != "" {
		return nil
	}
	made := map[string]bool{}
	for _, target := range plan.Build {
		made[target.Name] = true
	}
	var others []other
	for _, target := range plan.Members {
		if !made[target.Name] {
			others = append(others, other{target.Name, o.commandFor(plan, target.Name)})
		}
	}
	return others
}

// commandFor pins whatever another run would find out anew, and maybe otherwise: a
// running cluster goes on meanwhile, so --live becomes what it said.
func (o *restoreOptions) commandFor(plan *restore.Plan, name string) []string {
	argv := []string{"kubectl", "etcd", "restore", "--from-file", absolute(plan.Snapshot.Path)}
	if o.outDir != "" {
		argv = append(argv, "--out-dir", absolute(o.outDir))
	} else {
		argv = append(argv, "--data-dir", absolute(o.dataDir)+"-"+strings.NewReplacer("/", "_", `\`, "_").Replace(name))
	}
	argv = append(argv, "--member", name, "--initial-cluster-token", plan.Token)
	if o.initialCluster != "" || o.live {
		argv = append(argv, "--initial-cluster", joinInitialCluster(plan.Members))
	}
	bump := int64(0)
	if plan.Bump > 0 {
		bump = plan.NewRevision - plan.Snapshot.Contents.Revision
	}
	argv = append(argv, "--bump-revision", strconv.FormatInt(bump, 10))
	if o.targetVersion != "" {
		argv = append(argv, "--target-version", o.targetVersion)
	}
	if o.clearAlarms {
		argv = append(argv, "--clear-alarms")
	}
	return argv
}

// absolute is path for a shell that may be in another folder.
func absolute(path string) string {
	if whole, err := filepath.Abs(path); err == nil {
		return whole
	}
	return path
}

// joinInitialCluster is what parseInitialCluster reads.
func joinInitialCluster(members []restore.Target) string {
	var pairs []string
	for _, member := range members {
		for _, peer := range member.PeerURLs {
			pairs = append(pairs, member.Name+"="+peer)
		}
	}
	return strings.Join(pairs, ",")
}

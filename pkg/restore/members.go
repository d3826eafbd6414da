package restore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"unicode"

	"go.etcd.io/etcd/client/pkg/v3/types"
)

// setMembers takes the new cluster's members from the options, else from the snapshot.
func (p *Plan) setMembers(options Options) error {
	p.Members = slices.Clone(options.Members)
	if len(p.Members) == 0 {
		p.Members = p.snapshotMembers()
	}
	if len(p.Members) == 0 {
		return fmt.Errorf("%w: the snapshot names none that ever started: name them, with their peer URLs", ErrMembers)
	}
	if options.DataDir != "" && options.Only == "" {
		if len(p.Members) > 1 {
			return fmt.Errorf("%w: %s can hold one, and there are %s: say which", ErrMembers, options.DataDir, strings.Join(names(p.Members), ", "))
		}
		p.Members[0].Dir = options.DataDir
	}
	sort.Slice(p.Members, func(i, j int) bool { return p.Members[i].Name < p.Members[j].Name })
	return checkMembers(p.Members)
}

// snapshotMembers are the snapshot's own members that have started once. All become
// voters: they get the same data, so none has anything to learn.
func (p *Plan) snapshotMembers() []Target {
	var members []Target
	for _, m := range p.Snapshot.Members {
		if m.Name == "" {
			p.warn("member %x (%s) is left out: it had been added but never started", uint64(m.ID), strings.Join(m.PeerURLs, ", "))
			continue
		}
		if m.Learner {
			p.warn("member %s was a learner: it becomes a voter", m.Name)
		}
		members = append(members, Target{Name: m.Name, PeerURLs: slices.Clone(m.PeerURLs)})
	}
	return members
}

// checkMembers refuses what etcd would refuse or, worse, understand differently.
func checkMembers(members []Target) error {
	seenName, seenURL := map[string]bool{}, map[string]string{}
	for _, m := range members {
		if err := checkName(m.Name); err != nil {
			return err
		}
		if seenName[m.Name] {
			return fmt.Errorf("%w: two are named %s", ErrMembers, m.Name)
		}
		seenName[m.Name] = true
		urls, err := types.NewURLs(m.PeerURLs)
		if err != nil {
			return fmt.Errorf("%w: peer URLs of %s: %w", ErrMembers, m.Name, err)
		}
		for _, url := range urls.StringSlice() {
			if other, ok := seenURL[url]; ok {
				return fmt.Errorf("%w: %s and %s both have the peer URL %s", ErrMembers, other, m.Name, url)
			}
			seenURL[url] = m.Name
		}
	}
	return nil
}

// checkName keeps --initial-cluster readable: name=url,name=url.
func checkName(name string) error {
	odd := strings.IndexFunc(name, func(r rune) bool {
		return r == '=' || r == ',' || unicode.IsSpace(r) || !unicode.IsPrint(r)
	})
	if name == "" || odd >= 0 {
		return fmt.Errorf("%w: %q can't be a name", ErrMembers, name)
	}
	return nil
}

func names(members []Target) []string {
	var all []string
	for _, m := range members {
		all = append(all, m.Name)
	}
	return all
}

// initialCluster is the value of --initial-cluster: name=url,name=url.
func initialCluster(members []Target) string {
	var parts []string
	for _, m := range members {
		for _, url := range m.PeerURLs {
			parts = append(parts, m.Name+"="+url)
		}
	}
	return strings.Join(parts, ",")
}

// vacant returns ErrExists unless dir may become a data directory: it is not there, or
// an empty directory, as kubeadm leaves one.
func vacant(dir string) error {
	if _, err := os.Lstat(filepath.Join(dir, "member")); err == nil {
		return fmt.Errorf("%s %w", filepath.Join(dir, "member"), ErrExists)
	}
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Lstat(dir); err == nil {
			return fmt.Errorf("%s %w, and leads nowhere", dir, ErrExists)
		}
		return nil
	case err != nil:
		if info, statErr := os.Stat(dir); statErr == nil && !info.IsDir() {
			return fmt.Errorf("%s %w, and is no directory", dir, ErrExists)
		}
		return err
	case len(entries) > 0:
		return fmt.Errorf("%s %w, and is not empty", dir, ErrExists)
	}
	return nil
}

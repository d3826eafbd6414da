//go:build unix

package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/kubectl-etcd/kubectl-etcd/test/cluster/binaries"
)

// state is what is known of a cluster before anything of it is made, so that a
// crash at any point leaves enough to remove it. All else (namespaces, control
// groups, processes) is found through names and inodes that follow from it.
type state struct {
	Name  string `json:"name"`
	Nodes int    `json:"nodes"`
	// Events: every node has a second etcd, for events.
	Events bool `json:"events,omitempty"`
	// Slot is this cluster's alone among those of the cache: subnet and port hang on it.
	Slot int `json:"slot"`
	// Boot is the kernel's boot id: after a reboot nothing of the cluster runs.
	Boot string `json:"boot"`
	// Complete: Up came to its end.
	Complete bool `json:"complete"`
}

const (
	slots     = 250
	firstPort = 16443
)

var nameRule = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?$`)

func checkName(name string) error {
	if !nameRule.MatchString(name) {
		return fmt.Errorf("name cluster %q: want 1 to 30 of a-z, 0-9 and -", name)
	}
	return nil
}

// subnet is the /24 of the lab's bridge. It exists only inside the cluster's own
// network namespaces; it differs between clusters so that what one cluster was
// given (certificates, kubeconfigs) never fits another.
func (s state) subnet() string { return fmt.Sprintf("10.250.%d", s.Slot) }

// gateway is the lab's own address, and that of the load balancer.
func (s state) gateway() string { return s.subnet() + ".1" }

func (s state) nodeIP(i int) string { return s.subnet() + "." + strconv.Itoa(10+i) }

func (s state) endpoint() string { return net.JoinHostPort(s.gateway(), "6443") }

// loopback is where the load balancer listens on the machine itself.
func (s state) loopback() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+s.Slot))
}

func clustersDir() (string, error) {
	cache, err := binaries.CacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "clusters")
	return dir, os.MkdirAll(dir, 0o700)
}

func readState(dir string) (state, error) {
	var s state
	raw, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return s, fmt.Errorf("read %s: %w", filepath.Join(dir, "state.json"), err)
	}
	return s, nil
}

// writeState puts the state in place whole.
func writeState(dir string, s state) error {
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encode state of cluster %s: %w", s.Name, err)
	}
	temp := filepath.Join(dir, "state.json.tmp")
	if err := os.WriteFile(temp, raw, 0o600); err != nil {
		return fmt.Errorf("write state of cluster %s: %w", s.Name, err)
	}
	return os.Rename(temp, filepath.Join(dir, "state.json"))
}

// claimSlot records s in dir with a slot that no other cluster has and whose
// port is free. It starts at one that follows from the name, so that a cluster
// made again mostly comes back under the same addresses. The caller holds the
// lock over all clusters.
func claimSlot(clusters string, s state) (state, error) {
	taken, err := takenSlots(clusters, s.Name)
	if err != nil {
		return s, err
	}
	first := slotOf(s.Name)
	for i := range slots {
		s.Slot = 1 + (first+i)%slots
		if taken[s.Slot] || !free(s.loopback()) {
			continue
		}
		dir := filepath.Join(clusters, s.Name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return s, fmt.Errorf("create %s: %w", dir, err)
		}
		return s, writeState(dir, s)
	}
	return s, fmt.Errorf("start cluster %s: all %d slots are taken", s.Name, slots)
}

// slotOf hashes name (FNV-1a) into [0, slots).
func slotOf(name string) int {
	h := uint32(2166136261)
	for _, b := range []byte(name) {
		h = (h ^ uint32(b)) * 16777619
	}
	return int(h % slots)
}

func takenSlots(clusters, except string) (map[int]bool, error) {
	entries, err := os.ReadDir(clusters)
	if err != nil {
		return nil, fmt.Errorf("list clusters: %w", err)
	}
	taken := map[int]bool{}
	for _, e := range entries {
		if !e.IsDir() || e.Name() == except {
			continue
		}
		s, err := readState(filepath.Join(clusters, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // being removed, or never begun
		}
		if err != nil {
			return nil, err
		}
		taken[s.Slot] = true
	}
	return taken, nil
}

func free(address string) bool {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	return l.Close() == nil
}

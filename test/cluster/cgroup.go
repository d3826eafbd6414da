//go:build unix

package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// hierarchies are the mount points of the machine's cgroup v1 hierarchies, and of
// the unified one that may be beside them without controllers (runc makes groups
// there, too). Each node has one group in each, named after cluster and node:
// every process of the node is in there, which makes it the surest list of them.
type hierarchies []string

// errCgroupV2 is returned where only the unified hierarchy is mounted.
var errCgroupV2 = fmt.Errorf("%w; this machine has cgroup v2 only, which it does not know yet", ErrUnsupported)

func findHierarchies(mountinfo io.Reader) (hierarchies, error) {
	var found, unified hierarchies
	scanner := bufio.NewScanner(mountinfo)
	for scanner.Scan() {
		// 36 35 98:0 /root /mount/point options… - fstype source options, proc(5)
		before, after, ok := strings.Cut(scanner.Text(), " - ")
		fields := strings.Fields(before)
		if !ok || len(fields) < 5 {
			continue
		}
		switch fsType, _, _ := strings.Cut(after, " "); fsType {
		case "cgroup":
			found = append(found, fields[4])
		case "cgroup2":
			unified = append(unified, fields[4])
		}
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	if len(found) == 0 {
		return nil, errCgroupV2
	}
	return append(found, unified...), nil
}

func machineHierarchies() (hierarchies, error) {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // only read
	return findHierarchies(file)
}

// dirs are the directories of group name.
func (h hierarchies) dirs(name string) []string {
	var dirs []string
	for _, root := range h {
		dirs = append(dirs, filepath.Join(root, name))
	}
	return dirs
}

// create makes group name, with a child "init" for what is not a pod.
func (h hierarchies) create(name string) error {
	for _, root := range h {
		for _, dir := range []string{filepath.Join(root, name), filepath.Join(root, name, "init")} {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return fmt.Errorf("create cgroup: %w", err)
			}
			if err := inheritCpuset(dir); err != nil {
				return fmt.Errorf("fill cpuset of cgroup %s: %w", dir, err)
			}
		}
	}
	return nil
}

// inheritCpuset copies the parent's CPUs and memory nodes: a new cpuset group is
// empty, and an empty one takes no process. Other hierarchies have no such files.
func inheritCpuset(dir string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(filepath.Dir(dir), file))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, file), value, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// processes lists the pids in group name and in those below it, of every hierarchy.
func (h hierarchies) processes(name string) ([]int, error) {
	seen := map[int]bool{}
	for _, dir := range h.dirs(name) {
		err := eachGroup(dir, func(group string) error {
			return readPids(filepath.Join(group, "cgroup.procs"), seen)
		})
		if err != nil {
			return nil, fmt.Errorf("list processes of cgroup %s: %w", name, err)
		}
	}
	pids := make([]int, 0, len(seen))
	for pid := range seen {
		pids = append(pids, pid)
	}
	slices.Sort(pids)
	return pids, nil
}

// eachGroup visits dir's groups, children before parents. Groups come and go
// meanwhile: one that is gone is passed over.
func eachGroup(dir string, visit func(group string) error) error {
	entries, err := os.ReadDir(dir)
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := eachGroup(filepath.Join(dir, e.Name()), visit); err != nil {
				return err
			}
		}
	}
	return visit(dir)
}

func readPids(file string, into map[int]bool) error {
	raw, err := os.ReadFile(file)
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, field := range strings.Fields(string(raw)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			return fmt.Errorf("read %s: %w", file, err)
		}
		into[pid] = true
	}
	return nil
}

// freeze stops (or lets go on) every process of group name at once.
func (h hierarchies) freeze(name string, frozen bool) error {
	value := "THAWED"
	if frozen {
		value = "FROZEN"
	}
	for _, dir := range h.dirs(name) {
		file := filepath.Join(dir, "freezer.state")
		if _, err := os.Stat(file); err != nil {
			continue // another hierarchy
		}
		if err := os.WriteFile(file, []byte(value), 0); err != nil {
			return fmt.Errorf("set %s to %s: %w", file, value, err)
		}
	}
	return nil
}

// remove removes group name once its processes are gone; the kernel takes a
// moment after the last one.
func (h hierarchies) remove(ctx context.Context, name string) error {
	for {
		var last error
		for _, dir := range h.dirs(name) {
			last = errors.Join(last, eachGroup(dir, removeGroup))
		}
		if last == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("remove cgroup %s: %w", name, errors.Join(ctx.Err(), last))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func removeGroup(dir string) error {
	if err := os.Remove(dir); err != nil && !gone(err) {
		return err
	}
	return nil
}

//go:build unix

package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// throttle is the file of a cgroup of blkio that says how many writes a second a disk takes.
// It says so to the group's own processes, not to those of the groups below it.
const throttle = "blkio.throttle.write_iops_device"

// SlowDisk lets part's processes write no more than so many times a second to the node's disk;
// 0 lifts that. A container that is made anew has the disk's own speed again.
func (n *Node) SlowDisk(part Part, writes int) error {
	pids, err := n.processes(part)
	if err != nil {
		return err
	}
	if len(pids) == 0 {
		return fmt.Errorf("slow the disk of %s of %s: it is not running", part, n.Name)
	}
	disk, err := diskOf(n.Dir())
	if err != nil {
		return fmt.Errorf("slow the disk of %s of %s: %w", part, n.Name, err)
	}
	if err := n.cluster.hierarchies.throttle(n.Cgroup(), pids, fmt.Sprintf("%s %d", disk, writes)); err != nil {
		return fmt.Errorf("slow the disk of %s of %s: %w", part, n.Name, err)
	}
	return nil
}

// throttle writes limit in the groups below name that the processes are in.
func (h hierarchies) throttle(name string, pids []int, limit string) error {
	found := false
	for _, dir := range h.dirs(name) {
		err := eachGroup(dir, func(group string) error {
			file := filepath.Join(group, throttle)
			if _, err := os.Stat(file); err != nil {
				return nil // another hierarchy, or the group is gone
			}
			held := map[int]bool{}
			if err := readPids(filepath.Join(group, "cgroup.procs"), held); err != nil {
				return err
			}
			if !slices.ContainsFunc(pids, func(pid int) bool { return held[pid] }) {
				return nil
			}
			found = true
			return os.WriteFile(file, []byte(limit), 0)
		})
		if err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("%w: no cgroup of blkio has its processes", ErrUnsupported)
	}
	return nil
}

// diskOf is the number of the whole disk that path is on, "254:0".
func diskOf(path string) (string, error) {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return "", err
	}
	device := uint64(stat.Dev) // of 32 bits on some systems
	number := fmt.Sprintf("%d:%d", unix.Major(device), unix.Minor(device))
	known := "/sys/dev/block/" + number
	if _, err := os.Stat(known + "/partition"); err != nil {
		return number, nil
	}
	whole, err := os.ReadFile(known + "/../dev") // of the disk that the partition is of
	return strings.TrimSpace(string(whole)), err
}

//go:build unix

package restore

import "golang.org/x/sys/unix"

// freeSpace returns the bytes that are free for us at dir, and its device.
func freeSpace(dir string) (free int64, device uint64, err error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, 0, err
	}
	var info unix.Stat_t
	if err := unix.Stat(dir, &info); err != nil {
		return 0, 0, err
	}
	return int64(fs.Bavail) * int64(fs.Bsize), uint64(info.Dev), nil
}

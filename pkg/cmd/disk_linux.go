package cmd

import "golang.org/x/sys/unix"

// diskFree is what may still be written to the disk of dir, in bytes; nil: that is not known.
func diskFree(dir string) *int64 {
	var stat unix.Statfs_t
	if dir == "" || unix.Statfs(dir, &stat) != nil {
		return nil
	}
	free := int64(stat.Bavail) * int64(stat.Bsize)
	return &free
}

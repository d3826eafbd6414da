//go:build unix

package nameless

import (
	"os"

	"golang.org/x/sys/unix"
)

// Again is another handle of an open file, for what closes the one that it is given. They
// share their position.
func Again(file *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("dup", err)
	}
	return os.NewFile(uintptr(fd), file.Name()), nil
}

// Package nameless makes files for what is only needed on the way.
//
// Its one idea: such a file loses its name before anything is written into it, so that it is
// gone with the process, however that ends. Where an open file keeps its name (Windows, some
// network file systems) it goes when it is closed.
package nameless

import (
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// pattern is that of the names which they have for a moment.
const pattern = ".kubectl-etcd-*.part"

// Create makes a file in a folder that exists, for the owner only. Close ends it.
func Create(dir string) (*os.File, error) {
	file, err := os.CreateTemp(dir, pattern) // 0600
	if err == nil {
		unlink(file)
	}
	return file, err
}

// Adopt opens a file that is there and takes its name away.
func Adopt(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err == nil {
		unlink(file)
	}
	return file, err
}

// unlink takes the name of an open file away. Some network file systems refuse that: then
// Close does it.
func unlink(file *os.File) {
	if runtime.GOOS != "windows" { // where Again needs the name
		_ = os.Remove(file.Name())
	}
}

// Close ends a file of Create or Adopt, and with it what is in it.
func Close(file *os.File) error {
	err := file.Close()
	_ = os.Remove(file.Name()) // mostly it is gone
	return err
}

// Sweep removes what was left by a process that was killed before a file of its had lost its
// name: it is empty then.
func Sweep(dir string, now time.Time) {
	left, _ := filepath.Glob(filepath.Join(dir, pattern)) // the pattern is good
	for _, path := range left {
		if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() && info.Size() == 0 && now.Sub(info.ModTime()) > time.Hour {
			_ = os.Remove(path) // it may be somebody else's to remove
		}
	}
}
